// Package token owns the cloud's signing keys with their rotation and
// publication, the claims of access tokens, and their minting and verifying. It
// also verifies the signatures of assertions: by foreign issuers with the keys
// that those publish, by clients with the key of a certificate that the caller
// knows to be theirs. It reads and writes key files and key sets of Kubernetes
// API servers, says what an issuer publishes, and takes bearer tokens out of
// requests.
//
// The forms are Microsoft Entra's: RS256 alone, a kid that is the SHA-1
// thumbprint of a self-signed certificate of the key, the claims of version 1.0
// and 2.0 access tokens. What is decided here and not there:
//
//   - A token is accepted for one protected resource only. There is one
//     [Verifier] a resource, and it has no switch that skips a check.
//   - No token is longer than 16 KiB, and none lives longer than [MaxLifetime],
//     so that a key can be retired for good at a known time.
//   - A foreign issuer is reached over https alone, at public addresses alone
//     unless the operator allows others, within limits of time and size.
//
// Minting and verifying read memory only: the keys follow the store's watch.
//
// The package must not know who may have a token. Whether a client, an
// identity, a federated credential or a resource exists, what its tokens live
// for, and which protocol error a refusal becomes, is its callers' business. It
// alone uses go-jose.
package token
