// Package controller is the part of the agent that speaks to a cluster's API
// server: so far the workload identity webhook's server.
//
// It owns the answer to admissions, where the certificate's authority is made
// known, the memory of service accounts, and metrics. What a pod gets, and why, is
// package workloadidentity's; listeners, certificates and health are package
// serving's; command lines and the process's environment are cmd/lanyard-agent's. It must not know anything of the cloud: it works the same
// before Azure and before Lanyard.
//
// Of Kubernetes it uses client-go's metadata and dynamic clients alone. Typed
// clients and their frameworks bring every type of the Kubernetes API with them,
// in memory and in the binary, and the webhook needs three annotations of one.
package controller
