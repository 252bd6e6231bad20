package keyvault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const contentsPrefix = "keyvault/"

// secret is the record of a secret, live or deleted.
type secret struct {
	// Name is spelled as the secret was first set; Azure compares without case
	// and shows it so.
	Name string
	// Life names what lies below this record; see the package comment.
	Life string
	// Current is the version that a request without one means.
	Current version
	// Deleted is set while the secret is deleted.
	Deleted *deletion `json:",omitempty"`
}

// version is what is kept of a version beside its value.
type version struct {
	ID          string // 32 hexadecimal digits
	Enabled     bool
	NotBefore   *int64 `json:",omitempty"` // seconds since 1970, as all times here
	Expires     *int64 `json:",omitempty"`
	Created     int64
	Updated     int64
	ContentType string            `json:",omitempty"`
	Tags        map[string]string `json:",omitempty"`
}

// deletion says when a secret was deleted and when it is purged by itself.
type deletion struct {
	At, Purge int64
}

// due reports whether the secret's time to be recovered is over: from then on
// it counts as purged, whether its values have been removed yet or not.
func (s secret) due(now int64) bool { return s.Deleted != nil && s.Deleted.Purge <= now }

// newID gives 128 random bits in 32 hexadecimal digits.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// shelf is the place of one secret in the store.
type shelf struct {
	vault string // folded name and instance
	name  string // folded
}

func (r *request) shelf() shelf { return shelf{vault: r.vault.key(), name: azure.Fold(r.target.name)} }

func (s shelf) live() string    { return livePrefix(s.vault) + s.name }
func (s shelf) deleted() string { return deletedPrefix(s.vault) + s.name }

func (s shelf) versions(life string) string {
	return contentsPrefix + s.vault + "/versions/" + s.name + "/" + life + "/"
}

func (s shelf) values(life string) string {
	return contentsPrefix + s.vault + "/values/" + s.name + "/" + life + "/"
}

func livePrefix(vault string) string    { return contentsPrefix + vault + "/secrets/" }
func deletedPrefix(vault string) string { return contentsPrefix + vault + "/deletedsecrets/" }

// snapshot reads several keys as they were at one moment: that of its first
// read, which is linearizable. The others cost less for it.
type snapshot struct {
	store    *store.Store
	revision int64 // 0 before the first read
}

func (h *Handler) snapshot() *snapshot { return &snapshot{store: h.cfg.Store} }

func (s *snapshot) get(ctx context.Context, key string) (store.Entry, error) {
	// Of all keys that begin with key, it is the first.
	page, err := s.store.List(ctx, key, store.ListOptions{Limit: 1, Revision: s.revision})
	if err != nil {
		return store.Entry{}, err
	}
	s.revision = page.Revision
	if len(page.Entries) == 0 || page.Entries[0].Key != key {
		return store.Entry{}, fmt.Errorf("%w: %s", store.ErrNotFound, key)
	}
	return page.Entries[0], nil
}

// read gets and decodes a record.
func read[T any](ctx context.Context, at *snapshot, key string) (T, error) {
	var v T
	e, err := at.get(ctx, key)
	if err != nil {
		return v, err
	}
	return v, decode(e, &v)
}

func decode(e store.Entry, v any) error {
	if err := json.Unmarshal(e.Value, v); err != nil {
		return fmt.Errorf("decoding %s: %w", e.Key, err)
	}
	return nil
}

// find gives a live secret, or the 404 that names it.
func find(ctx context.Context, at *snapshot, r *request) (secret, error) {
	s, err := read[secret](ctx, at, r.shelf().live())
	if errors.Is(err, store.ErrNotFound) {
		return secret{}, secretNotFound(r.target.name)
	}
	return s, err
}

// findIn is find inside a transaction.
func findIn(tx *store.Tx, r *request) (secret, error) {
	s, _, err := store.GetJSON[secret](tx, r.shelf().live())
	if errors.Is(err, store.ErrNotFound) {
		return secret{}, secretNotFound(r.target.name)
	}
	return s, err
}

// findDeletedIn gives a deleted secret that can still be recovered, or the
// error given.
func findDeletedIn(tx *store.Tx, r *request, missing error) (secret, error) {
	s, _, err := store.GetJSON[secret](tx, r.shelf().deleted())
	if errors.Is(err, store.ErrNotFound) || err == nil && s.due(r.now.Unix()) {
		return secret{}, missing
	}
	return s, err
}

// value reads and opens the value of a version.
func (h *Handler) value(ctx context.Context, at *snapshot, key string) (secretValue, error) {
	e, err := at.get(ctx, key)
	if err != nil {
		return "", err
	}
	plain, err := h.cfg.Store.Unseal(e)
	if err != nil {
		return "", fmt.Errorf("opening %s: %w", key, err)
	}
	return secretValue(plain), nil
}
