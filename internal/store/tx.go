package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The limits of a transaction. They are etcd's defaults, so that what works
// with the embedded engine works with a cluster too.
const (
	// MaxOps is how many keys a transaction may write, and how many keys and
	// listings it may read. A listing counts as up to three, a delete as up to
	// two.
	MaxOps = 128
	// MaxBytes is how large a transaction may be: 1.5 MiB. Each key that it reads
	// or writes counts with its length, a value, and some tens of bytes.
	MaxBytes = 3 << 19
)

// Tx is a transaction inside Update. It is a snapshot: all its reads see the
// store at one revision, and its own writes. It must not be used by several
// goroutines, nor after f has returned.
type Tx struct {
	s   *Store
	ctx context.Context
	// rev is the snapshot's revision; 0 before the first read.
	rev    int64
	reads  map[string]Entry // Revision 0: absent
	lists  []string
	locks  []*Lock
	writes map[string]write
	pins   map[string]int64 // of all attempts of one Update: see Pin
	// err is the first error of a method that can't return it, or whose error f
	// swallowed though the transaction can't go on.
	err error
}

type write struct {
	value  []byte
	delete bool
}

func newTx(ctx context.Context, s *Store, pins map[string]int64) *Tx {
	return &Tx{s: s, ctx: ctx, reads: map[string]Entry{}, writes: map[string]write{}, pins: pins}
}

// note keeps the first error for Update.
func (tx *Tx) note(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

// fail is note for methods that return the error too.
func (tx *Tx) fail(err error) error {
	tx.note(err)
	return err
}

// Get reads a key. ErrNotFound is a reading too: the commit fails, and f runs
// again, when the key has appeared.
func (tx *Tx) Get(key string) (Entry, error) {
	if tx.err != nil {
		return Entry{}, tx.err
	}
	if w, ok := tx.writes[key]; ok {
		if w.delete {
			return Entry{}, fmt.Errorf("%w: %s", ErrNotFound, key)
		}
		return Entry{Key: key, Value: w.value}, nil
	}
	if e, ok := tx.reads[key]; ok {
		if e.Revision == 0 {
			return Entry{}, fmt.Errorf("%w: %s", ErrNotFound, key)
		}
		return e, nil
	}
	e, rev, err := tx.s.getAt(tx.ctx, key, tx.rev)
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
		tx.rev = rev
		tx.reads[key] = e
		return e, err
	default:
		return Entry{}, tx.fail(err)
	}
}

// List reads all keys under prefix in order; the commit fails, and f runs
// again, when one was added, changed or removed.
func (tx *Tx) List(prefix string) ([]Entry, error) {
	if tx.err != nil {
		return nil, tx.err
	}
	page, err := tx.s.listAt(tx.ctx, prefix, ListOptions{Revision: tx.rev})
	if err != nil {
		return nil, tx.fail(err)
	}
	tx.rev = page.Revision
	if !slices.Contains(tx.lists, prefix) {
		tx.lists = append(tx.lists, prefix)
	}
	return tx.overlay(prefix, page.Entries), nil
}

// overlay puts the transaction's own writes over a listing.
func (tx *Tx) overlay(prefix string, entries []Entry) []Entry {
	changed := false
	for key := range tx.writes {
		changed = changed || strings.HasPrefix(key, prefix)
	}
	if !changed {
		return entries
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool {
		_, written := tx.writes[e.Key]
		return written
	})
	for key, w := range tx.writes {
		if strings.HasPrefix(key, prefix) && !w.delete {
			entries = append(entries, Entry{Key: key, Value: w.value})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries
}

// Put writes a key. The value must not be modified afterwards. An empty key, or
// more than MaxBytes, makes Update fail.
func (tx *Tx) Put(key string, value []byte) {
	if key == "" {
		tx.note(errEmptyKey)
		return
	}
	if len(value) > MaxBytes {
		tx.note(fmt.Errorf("%w: the value of %s has %d bytes, at most %d are possible", ErrTooLarge, key, len(value), MaxBytes))
		return
	}
	if value == nil {
		value = []byte{}
	}
	tx.writes[key] = write{value: value}
}

// Create writes a key that must be absent: a guard. When it is present, Create
// gives exists (ErrExists when that is nil), and so does Update.
func (tx *Tx) Create(key string, value []byte, exists error) error {
	_, err := tx.Get(key)
	if err == nil {
		if exists == nil {
			exists = fmt.Errorf("%w: %s", ErrExists, key)
		}
		return tx.fail(exists)
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	tx.Put(key, value)
	return tx.err
}

// Delete removes a key, absent or not.
func (tx *Tx) Delete(key string) {
	if key == "" {
		tx.note(errEmptyKey)
		return
	}
	tx.writes[key] = write{delete: true}
}

// PutSealed seals plaintext with the key's name as associated data and writes it.
func (tx *Tx) PutSealed(key string, plaintext []byte) error {
	sealed, err := tx.s.cfg.Keyring.Seal(key, plaintext)
	if err != nil {
		return tx.fail(err)
	}
	tx.Put(key, sealed)
	return tx.err
}

// Reseal seals a key's value with the newest key of the keyring, and tells
// whether that was needed. A value that isn't sealed is left as it is.
func (tx *Tx) Reseal(key string) (bool, error) {
	e, err := tx.Get(key)
	if err != nil || !IsSealed(e.Value) {
		return false, err
	}
	sealed, changed, err := tx.s.cfg.Keyring.Reseal(key, e.Value)
	if err != nil || !changed {
		return false, err
	}
	tx.Put(key, sealed)
	return true, tx.err
}

// Require makes the commit depend on a lock: it fails with ErrLocked when the
// lock's lease has ended, so that a holder that was held up can't write any more.
func (tx *Tx) Require(l *Lock) error {
	if tx.err != nil {
		return tx.err
	}
	resp, err := tx.s.rangeAt(tx.ctx, l.key, tx.rev, clientv3.WithKeysOnly())
	if err != nil {
		return tx.fail(err)
	}
	if tx.rev == 0 {
		tx.rev = resp.Header.GetRevision()
	}
	if len(resp.Kvs) == 0 || resp.Kvs[0].CreateRevision != l.rev {
		return tx.fail(fmt.Errorf("%w: the lease of %s has ended", ErrLocked, l.name))
	}
	tx.locks = append(tx.locks, l)
	return nil
}

// GetJSON reads and decodes a key in a transaction.
func GetJSON[T any](tx *Tx, key string) (T, Entry, error) {
	var v T
	e, err := tx.Get(key)
	if err != nil {
		return v, e, err
	}
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return v, e, fmt.Errorf("decoding %s: %w", key, err)
	}
	return v, e, nil
}

// PutJSON encodes and writes a key in a transaction.
func PutJSON(tx *Tx, key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return tx.fail(fmt.Errorf("encoding %s: %w", key, err))
	}
	tx.Put(key, value)
	return tx.err
}

// CreateJSON encodes and creates a key that must be absent; see Tx.Create.
func CreateJSON(tx *Tx, key string, v any, exists error) error {
	value, err := json.Marshal(v)
	if err != nil {
		return tx.fail(fmt.Errorf("encoding %s: %w", key, err))
	}
	return tx.Create(key, value, exists)
}
