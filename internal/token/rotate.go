package token

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanyard-id/lanyard/internal/store"
)

// Errors of [Keys.Rotate], told apart with errors.Is.
var (
	// ErrRotating means that a key is published which does not sign yet. A
	// second one beside it would make the order in which they sign, and so the
	// end of the keys before, depend on which lead ends first.
	ErrRotating = errors.New("token: a rotation is under way")
	// ErrTooManyKeys means that too many replaced keys still have valid tokens.
	ErrTooManyKeys = errors.New("token: too many keys are not retired yet")
)

// maxKeys bounds the published set. Clients read it whole, and some keep only
// the first hundred keys of an issuer.
const maxKeys = 16

// Rotate makes a new key: published at once, signing when lead has passed. The
// key that signs until then stays published and accepted until the last token
// that it can have signed is over: [MaxLifetime] and [ClockSkew] after the new
// key's SignsFrom. Keys whose time is over are removed from the store.
//
// A lead of 24 hours or more lets every client that refreshes keys daily know
// the new one before it meets a token of it; with a shorter lead clients rely on
// their refetch upon an unknown kid. A negative lead is an error.
//
// Other replicas publish and use the new key as soon as their watch has it.
func (k *Keys) Rotate(ctx context.Context, lead time.Duration) (Key, error) {
	if lead < 0 {
		return Key{}, fmt.Errorf("rotating signing keys: the lead of %s is negative", lead)
	}
	made, err := newRecord(k.now(), lead)
	if err != nil {
		return Key{}, fmt.Errorf("rotating signing keys: %w", err)
	}
	if _, err := k.st.Update(ctx, func(tx *store.Tx) error { return k.succeed(tx, made) }); err != nil {
		return Key{}, fmt.Errorf("rotating signing keys: %w", err)
	}
	return made.key(), nil
}

// succeed writes the new key, sets the end of the one that it follows, and
// removes those whose end has come.
func (k *Keys) succeed(tx *store.Tx, made *record) error {
	entries, err := tx.List(keyPrefix)
	if err != nil {
		return err
	}
	left := 0
	for _, e := range entries {
		r, err := readRecord(k.st, e)
		if err != nil {
			return fmt.Errorf("opening %s: %w", e.Key, err)
		}
		key := r.key()
		switch {
		case key.retired(made.Published):
			tx.Delete(e.Key)
			continue
		case key.SignsFrom.After(made.Published):
			return fmt.Errorf("%w: key %s signs from %s", ErrRotating, key.ID, key.SignsFrom.Format(time.RFC3339))
		case key.RetiresAt.IsZero():
			r.RetiresAt = made.SignsFrom.Add(MaxLifetime + ClockSkew)
			if err := r.put(tx); err != nil {
				return err
			}
		}
		left++
	}
	if left >= maxKeys {
		return fmt.Errorf("%w: %d", ErrTooManyKeys, left)
	}
	return made.put(tx)
}
