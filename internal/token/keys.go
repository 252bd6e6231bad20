package token

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyard-id/lanyard/internal/store"
)

// keyPrefix is where the keys lie in the store, one sealed record each, named
// by key ID. The times of a key and its certificate are inside the seal too: who
// can write to the store but lacks the sealing key cannot publish a key, nor
// lengthen the life of one.
const keyPrefix = "token/keys/"

// MaxLifetime is the longest that a token may live: that of Entra's long-lived
// tokens for clients that handle claims challenges (20 to 28 hours; a managed
// identity's tokens live 24 hours and 5 minutes). [Keys.Mint] refuses more,
// since the retirement of keys relies on it.
const MaxLifetime = 28 * time.Hour

// ClockSkew is by how much the clocks of replicas may differ. A token's nbf may
// lie so far ahead of the verifier's clock, and a replaced key is kept so much
// longer than the last token that it signed.
const ClockSkew = 5 * time.Minute

// ErrNoKey means that no key may sign at present. It happens only when the
// store's content was removed under a running cloud.
var ErrNoKey = errors.New("token: no signing key")

// Key describes a signing key.
type Key struct {
	// ID is the kid: the base64url SHA-1 thumbprint of the key's certificate.
	ID string
	// Published is when the key was made and entered the published set.
	Published time.Time
	// SignsFrom is when the key becomes the one that signs, until a newer one
	// does.
	SignsFrom time.Time
	// RetiresAt is when the key leaves the published set and its tokens are no
	// longer accepted. It is zero while the key has no successor.
	RetiresAt time.Time
}

// retired reports whether the key's time is over.
func (k Key) retired(now time.Time) bool {
	return !k.RetiresAt.IsZero() && !now.Before(k.RetiresAt)
}

// Keys is the cloud's set of signing keys, one for all tenants. It is safe for
// concurrent use.
type Keys struct {
	st  *store.Store
	now func() time.Time
	log *slog.Logger

	set atomic.Pointer[keySet]

	mu         sync.Mutex // held by apply; guards what follows
	byID       map[string]*signingKey
	unreadable map[string]error // by key ID: records that could not be opened

	signable     chan struct{} // closed once there is a key
	signableOnce sync.Once
}

// OpenKeys loads the signing keys and follows their changes until the store is
// closed; ctx bounds the opening only. On first start it makes the first key, an
// RSA key of 2048 bits, which takes some tens of milliseconds of CPU; of several
// replicas one wins, and all return with the same key.
//
// It fails when a key in the store cannot be opened, which means that the
// sealing key is not the one it was sealed with: a new signing key in its place
// would end every token that is out.
//
// now is the clock; nil is time.Now. log may be nil.
func OpenKeys(ctx context.Context, st *store.Store, now func() time.Time, log *slog.Logger, opts ...KeysOption) (*Keys, error) {
	var options keysOptions
	for _, o := range opts {
		o(&options)
	}
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k := &Keys{
		st: st, now: now, log: log,
		byID:       map[string]*signingKey{},
		unreadable: map[string]error{},
		signable:   make(chan struct{}),
	}
	k.set.Store(newKeySet(nil))
	if err := st.Follow(ctx, keyPrefix, k.apply); err != nil {
		return nil, fmt.Errorf("following the signing keys: %w", err)
	}
	if err := k.readable(); err != nil {
		return nil, err
	}
	if len(k.set.Load().keys) == 0 {
		if options.first == nil {
			options.first = MakeFirstKey(now)
			defer options.first.Wait()
		}
		if err := k.createFirst(ctx, options.first); err != nil {
			return nil, fmt.Errorf("making the first signing key: %w", err)
		}
	}
	return k, nil
}

// createFirst makes the first key, unless another replica does so before.
func (k *Keys) createFirst(ctx context.Context, first *FirstKey) error {
	made, err := first.take(ctx)
	if err != nil {
		return err
	}
	_, err = k.st.Update(ctx, func(tx *store.Tx) error {
		present, err := tx.List(keyPrefix)
		if err != nil || len(present) > 0 {
			return err
		}
		return made.put(tx)
	})
	if err != nil {
		return err
	}
	// The winner may be another replica, whose write the view has yet to see.
	select {
	case <-k.signable:
		return k.readable()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readable gives the error of a key that could not be opened, if there is one.
func (k *Keys) readable() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, err := range k.unreadable {
		return fmt.Errorf("opening signing key %s (is the sealing key the one it was sealed with?): %w", id, err)
	}
	return nil
}

// apply brings changes of the store into the set. A record that cannot be
// opened is left out and logged; the other keys work on.
func (k *Keys) apply(changes []store.Change, reset bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.byID
	if reset {
		k.byID = map[string]*signingKey{}
		clear(k.unreadable)
	}
	for _, c := range changes {
		id := strings.TrimPrefix(c.Key, keyPrefix)
		delete(k.unreadable, id)
		if c.Value == nil {
			delete(k.byID, id)
			continue
		}
		key, err := k.open(store.Entry{Key: c.Key, Value: c.Value, Revision: c.Revision}, old[id])
		if err != nil {
			delete(k.byID, id)
			k.unreadable[id] = err
			k.log.Error("a signing key cannot be opened", "kid", id, "error", err)
			continue
		}
		k.byID[id] = key
	}
	keys := make([]*signingKey, 0, len(k.byID))
	for _, key := range k.byID {
		keys = append(keys, key)
	}
	k.set.Store(newKeySet(keys))
	if len(keys) > 0 || len(k.unreadable) > 0 {
		k.signableOnce.Do(func() { close(k.signable) })
	}
}

// open unseals a record. A key that is known already only has its times
// renewed: parsing a private key is slow, and the store waits for apply.
func (k *Keys) open(e store.Entry, known *signingKey) (*signingKey, error) {
	r, err := readRecord(k.st, e)
	if err != nil {
		return nil, err
	}
	if known != nil {
		again := *known
		again.Key = r.key()
		return &again, nil
	}
	return r.parse()
}

// List describes the keys that are not retired, the newest first.
func (k *Keys) List() []Key {
	now := k.now()
	var list []Key
	for _, key := range k.set.Load().keys {
		if !key.retired(now) {
			list = append(list, key.Key)
		}
	}
	return list
}

// keySet is one state of the keys; it does not change, but for what it caches.
type keySet struct {
	keys []*signingKey // newest SignsFrom first
	byID map[string]*signingKey
	jwks jwksCache
}

func newKeySet(keys []*signingKey) *keySet {
	slices.SortFunc(keys, func(a, b *signingKey) int {
		return cmp.Or(
			b.SignsFrom.Compare(a.SignsFrom),
			// Of keys that sign from one moment the newest is the one that has
			// no successor.
			compareEnd(b.RetiresAt, a.RetiresAt),
			cmp.Compare(a.ID, b.ID),
		)
	})
	s := &keySet{keys: keys, byID: make(map[string]*signingKey, len(keys))}
	for _, key := range keys {
		s.byID[key.ID] = key
	}
	return s
}

// compareEnd orders the ends of keys; none, which is the zero time, is last.
func compareEnd(a, b time.Time) int {
	if a.IsZero() != b.IsZero() {
		if a.IsZero() {
			return 1
		}
		return -1
	}
	return a.Compare(b)
}

// signer gives the newest key whose time to sign has come. When none has, which
// a replica with a slow clock may find just after the first start, the one that
// comes first signs: it is published as well as any.
func (s *keySet) signer(now time.Time) *signingKey {
	var next *signingKey
	for _, key := range s.keys {
		if key.retired(now) {
			continue
		}
		if !key.SignsFrom.After(now) {
			return key
		}
		next = key
	}
	return next
}

// verifier gives the key of an ID while its tokens are accepted, else nil.
func (s *keySet) verifier(id string, now time.Time) *signingKey {
	key := s.byID[id]
	if key == nil || key.retired(now) {
		return nil
	}
	return key
}
