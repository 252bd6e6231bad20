// Package controller is the part of the agent that speaks to a cluster's API
// server: the workload identity webhook's server.
//
// It owns the answer to admissions, where the certificate's authority is made
// known, the memory of service accounts, the detector of pods that were not
// mutated, and metrics. Before a Lanyard it also owns the check of the way that
// pods take to it, the config maps by which they come to trust it, and what is
// said over the channel.
//
// What a pod gets, and why, is package workloadidentity's; listeners, certificates
// and health are package serving's; the channel is package channel's; command
// lines and the process's environment are cmd/lanyard-agent's. It must know of the
// cloud no more than its token service's discovery document and the channel: with
// neither it is upstream's webhook before Azure.
//
// Of Kubernetes it uses client-go's metadata and dynamic clients, and a REST client
// for the one kind that it reads more of. Typed clients and their frameworks bring
// every type of the Kubernetes API with them, in memory and in the binary.
//
// Rights, by what needs them. Always: get, list and watch service accounts. For a
// certificate of its own: what package serving says, and get, list, watch and
// update of its webhook configuration. For the detector: list and watch pods,
// create events of events.k8s.io. Before a Lanyard: create config maps; get, list,
// watch and patch those named workloadidentity.TrustConfigMap. For identity bindings:
// get the config map of its own namespace that has the token proxy's authority. For
// the channel: get /.well-known/openid-configuration and /openid/v1/jwks, and list nodes, which it
// does without where it may not. Since admissions may make a config map, the
// webhook configuration says sideEffects: NoneOnDryRun.
package controller
