// Package azure is the vocabulary that every other package shares: resource
// IDs and scopes, the error that a client may see, who the caller is, the
// names of the cloud's endpoints and the well-known identifiers.
//
// It knows nothing of storage, HTTP servers or any one protocol, and it
// imports no other package of this module.
package azure
