// Package store keeps versioned keys in etcd and is the only user of it.
//
// It owns: opening the embedded engine or dialling an outside cluster;
// linearizable reads; optimistic transactions with guard keys; the one watch
// that feeds every in-memory view in revision order; the proof that views are
// fresh; leased locks; sealing values; compaction and the quota.
//
// It must not know what a key means. It has no notion of tenants, resources or
// tokens, speaks no protocol, and gives plain errors, never a client's: the
// planes above decide what a client sees.
//
// DESIGN.md beside this file holds the invariants.
package store
