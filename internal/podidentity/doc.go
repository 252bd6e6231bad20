// Package podidentity says which identities a pod has by AAD pod identity, and why:
// from the pod's label, the AzureIdentityBindings that select it, their
// AzureIdentities, and the AzurePodIdentityExceptions of its namespace.
//
// The rules are those of Azure/aad-pod-identity v1.8.17, of its controller (MIC) and
// its node agent (NMI), in both of its modes. Where one of them passes something over
// in silence, a decision has the reason.
//
// Everything here is a pure function of its arguments, for both sides: the agent and
// the commands. The package must not know Kubernetes clients, HTTP, or how tokens are
// obtained.
package podidentity
