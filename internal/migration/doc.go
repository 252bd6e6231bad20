// Package migration plans how the workloads of a cluster move from AAD pod identity
// to workload identity: for each workload whose pods have the label, which identity it
// has and why, whether it can be moved, and the manifests and credentials by which it
// is. What cannot be moved is said with what to do about it; nothing is guessed.
//
// A plan is a pure function of what was read of the cluster. The package must not know
// Kubernetes clients, files, or the cloud.
package migration
