// Package actas gets tokens of managed identities for a principal that may
// assign them: what "lanyard exec" and the development cloud's metadata service
// stand on. It asks the cloud as any client would, by its token exchange; the
// cloud decides (Microsoft.ManagedIdentity/userAssignedIdentities/assign/action
// on the identity), and refuses whoever lacks that right.
//
// It must not know how the cloud decides, nor read the cloud's storage.
package actas
