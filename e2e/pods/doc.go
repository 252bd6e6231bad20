// Package pods proves workload identity from where it counts: from pods of a real
// cluster (see kubetest), with the agent attached to it by "lanyard attach", a
// cloud beside it, and applications that have Azure's unmodified SDKs and nothing
// else.
package pods
