// Package serving is what the agent's servers in a cluster have in common: the
// HTTPS listener beside those for health and metrics, their start and ordered
// stop, and the certificate: one of files that someone else keeps, or one of its
// own, in a Secret that all replicas share, with its rotation and its authority
// made known to whoever is to trust it.
//
// What is served is the caller's: the package must not know webhooks, tokens or
// the cloud. Of Kubernetes it uses client-go's metadata and dynamic clients alone.
package serving
