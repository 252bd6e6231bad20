// Package workloadidentity says what the workload identity webhook adds to a
// pod, and why: the environment variables, the projected token volume, its
// mounts and, on request, the token proxy's containers, by which Azure's SDKs in
// the pod become the identity that its service account names.
//
// It is a drop-in for azure-workload-identity v1.6.0: labels, annotations,
// variables, paths, defaults, validations and denials are that release's. Where
// it departs from it, docs/divergences.md says so. Above all, a patch only adds:
// it is built from the few fields read here and holds no other, so that a pod
// keeps every field this package has never heard of.
//
// Told of a Lanyard (Cloud), it points pods at that instead of Azure: by the
// authority host that SDKs accept, by host aliases where the cluster's DNS does not
// lead there, and by the cloud's authority in the forms that languages trust. A
// pod that would send its tokens elsewhere all the same is refused.
//
// Everything here is a pure function of its arguments. The package must not know
// Kubernetes clients, HTTP, clocks or the process's environment.
package workloadidentity
