// Package sidecar is the token proxy in a pod: it makes unchanged programs that
// only know the instance metadata service get tokens by workload identity.
//
// It owns both halves: the redirect of the pod's requests for 169.254.169.254:80
// to the proxy, which an init container installs, and the proxy, which answers
// them from the pod's service account token. It is a drop-in for the proxy and
// proxy-init images of azure-workload-identity v1.6.0, whose flags, variables,
// port and user it has; docs/divergences.md says where it departs from them.
// Nothing is passed on to another metadata service.
//
// How IMDS speaks is package imds's, how a token is exchanged package exchange's.
package sidecar
