// Command lanyard-agent is what runs in a Kubernetes cluster, a role a
// subcommand:
//
//	lanyard-agent webhook    workload identity for pods: the admission webhook
//
// Flags, variables and names of resources equal the originals', so that a role
// drops in where the original ran. Each role runs outside a cluster too, with
// KUBECONFIG or --kubeconfig.
package main
