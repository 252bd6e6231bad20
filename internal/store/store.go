// Package store keeps versioned keys in etcd: compare-and-swap transactions,
// guard keys, in-memory views that follow a watch, leases, sealed values. It
// opens the embedded engine or dials an outside cluster, and is the only user
// of etcd. It knows nothing of what the keys mean.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNotFound = errors.New("store: key not found")
	// ErrExists is what Tx.Create fails with when it is given no error of its own.
	ErrExists = errors.New("store: key exists")
	// ErrConflict: a transaction lost against others too often.
	ErrConflict = errors.New("store: too many concurrent changes")
	// ErrLocked: another holder has the lock.
	ErrLocked = errors.New("store: locked")
	// ErrStale: the views have made no progress for too long to be trusted.
	ErrStale = errors.New("store: views are stale")
	// ErrInUse: another process has the data directory.
	ErrInUse = errors.New("store: data directory in use")
)

// Config configures Open.
type Config struct {
	Dir        string   // embedded engine's directory; exclusive with Endpoints
	Endpoints  []string // outside etcd cluster
	TLS        *tls.Config
	Username   string
	Password   string
	Prefix     string        // key prefix in etcd, default "/lanyard/"
	Keyring    *Keyring      // seals values; required
	QuotaBytes int64         // default 2 GiB
	Retention  time.Duration // compaction, default 1 h
	StaleAfter time.Duration // default 10 s
	Logger     *slog.Logger
	Now        func() time.Time
}

// Store is an open store.
type Store struct{ _ int }

// Open opens the store; it returns when reads and writes work.
func Open(ctx context.Context, cfg Config) (*Store, error) { panic("unwritten") }

// Close stops views, locks and the embedded engine.
func (s *Store) Close() error { panic("unwritten") }

// Entry is one key at one revision.
type Entry struct {
	Key      string // without the store's prefix
	Value    []byte
	Revision int64 // of the last change (ETag)
	Created  int64
}

// Get reads linearizably. ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) (Entry, error) { panic("unwritten") }

// ListOptions narrows List.
type ListOptions struct {
	After    string // only keys greater than this one (paging)
	Limit    int    // 0: all
	KeysOnly bool
	Revision int64 // read at this revision, 0: now. Compacted -> error
}

// Page is a part of a listing.
type Page struct {
	Entries  []Entry
	Revision int64
	More     bool
}

// List gives the keys under prefix in order, linearizably.
func (s *Store) List(ctx context.Context, prefix string, opts ListOptions) (Page, error) {
	panic("unwritten")
}

// Update runs f in an optimistic transaction: what f read is compared when its
// writes are committed, and f runs again when it has changed. f must have no
// other effects. Update returns when this process's own views have the commit's
// revision. An error of f ends it and nothing is written.
func (s *Store) Update(ctx context.Context, f func(tx *Tx) error) (int64, error) {
	panic("unwritten")
}

// Tx is a transaction inside Update.
type Tx struct{ _ int }

// Get reads a key (its own writes too); ErrNotFound is compared as absence.
func (tx *Tx) Get(key string) (Entry, error) { panic("unwritten") }

// List reads all keys under prefix; commit fails (and f reruns) when one was added, changed or removed.
func (tx *Tx) List(prefix string) ([]Entry, error) { panic("unwritten") }

// Put writes a key.
func (tx *Tx) Put(key string, value []byte) { panic("unwritten") }

// Create writes a key that must be absent; else Update gives exists (ErrExists when nil). Guard keys.
func (tx *Tx) Create(key string, value []byte, exists error) error { panic("unwritten") }

// Delete removes a key, absent or not.
func (tx *Tx) Delete(key string) { panic("unwritten") }

// PutSealed seals plaintext under the key's name as associated data and writes it.
func (tx *Tx) PutSealed(key string, plaintext []byte) error { panic("unwritten") }

// Unseal opens a sealed entry's value. Also a method on Tx's entries: they are the same type.
func (s *Store) Unseal(e Entry) ([]byte, error) { panic("unwritten") }

// GetJSON reads and decodes a key in a transaction.
func GetJSON[T any](tx *Tx, key string) (T, Entry, error) { panic("unwritten") }

// PutJSON encodes and writes a key in a transaction.
func PutJSON(tx *Tx, key string, v any) error { panic("unwritten") }

// CreateJSON encodes and creates a key that must be absent.
func CreateJSON(tx *Tx, key string, v any, exists error) error { panic("unwritten") }

// Change is one change that a view applies.
type Change struct {
	Key      string
	Value    []byte // nil: deleted
	Revision int64
}

// Follow feeds f every present key under prefix, then every later change, in
// revision order, from one goroutine per store; it returns when the present
// state was applied. reset is true for the first call and whenever the watch
// was lost past compaction: f must then forget all and take changes as the whole state.
// f must be quick; Update waits for it.
func (s *Store) Follow(ctx context.Context, prefix string, f func(changes []Change, reset bool)) error {
	panic("unwritten")
}

// Fresh returns nil while views are at most StaleAfter old, else ErrStale. It reads memory only.
func (s *Store) Fresh() error { panic("unwritten") }

// Lock is a leased mutual exclusion between replicas.
type Lock struct{ _ int }

// TryLock takes the lock or gives ErrLocked. The lease ends ttl after the holder's death.
func (s *Store) TryLock(ctx context.Context, key string, ttl time.Duration) (*Lock, error) {
	panic("unwritten")
}

// Lost is closed when the lease has ended.
func (l *Lock) Lost() <-chan struct{} { panic("unwritten") }

// Unlock gives it back.
func (l *Lock) Unlock(ctx context.Context) error { panic("unwritten") }

// Keyring holds the sealing keys: the first seals, all open.
type Keyring struct{ _ int }

// NewKeyring takes 32-byte keys, the newest first.
func NewKeyring(keys ...[]byte) (*Keyring, error) { panic("unwritten") }

// NewSealingKey makes a random key in its text form (base64), ParseSealingKey reads it.
func NewSealingKey() string { panic("unwritten") }

// ParseSealingKey reads the text form.
func ParseSealingKey(text string) ([]byte, error) { panic("unwritten") }
