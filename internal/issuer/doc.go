// Package issuer is about the issuers of self-managed Kubernetes clusters, those
// whose keys and documents their operator keeps:
//
//   - the two documents that an issuer publishes, made from public keys, written
//     to a folder or served ([Documents], [Handler]);
//   - a directory of signing keys and their rotation, by steps of which none can
//     be taken out of turn or too early ([Directory], [State]);
//   - what is wrong with an issuer, anybody's, and how it is mended ([Judge]).
//
// The documents are those that a Kubernetes API server publishes. A key that may
// have signed a token that is still good is published and verified: that is what
// every rule here is for.
//
// The package must know neither the cloud nor Kubernetes' API: what a cluster
// says comes in as values. How keys are read and judged is package token's.
package issuer
