// Package exchange turns a Kubernetes service account's token into an identity's
// token: the client credentials grant with a client assertion, at Entra's token
// endpoint or at a token proxy in the cluster that takes its place.
//
// It owns the token file, which it reads anew for every request since the kubelet
// rotates it, the one request there is, its retries, and what an answer says. It
// asks nothing else: there is no discovery, and it follows no redirect, so that
// an assertion reaches the endpoint that was configured and no other. It must not
// know who asks for the token, nor by which protocol.
package exchange
