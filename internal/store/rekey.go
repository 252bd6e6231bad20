package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
)

// ReplaceKeys replaces the keys of the store's keyring, under the rules of
// [NewKeyring], while the store is in use. Followers that met a value whose key
// was missing are given the whole state anew.
func (s *Store) ReplaceKeys(keys ...[]byte) error {
	ring := s.cfg.Keyring
	if err := ring.Replace(keys...); err != nil {
		return err
	}
	if ring.missed.Swap(false) {
		select {
		case s.views.lost <- errRekeyed:
		default: // the state is about to be read anew as it is
		}
	}
	return nil
}

// KeyIDs names the keys of the store's keyring, that which seals first.
func (s *Store) KeyIDs() []string { return s.cfg.Keyring.IDs() }

// What one transaction of Reseal takes.
const (
	resealKeys  = 32
	resealBytes = 512 << 10
	resealPage  = 256 // keys that are read at once
)

// Reseal brings every sealed value under the first key of the keyring, and
// tells how many were not. It goes through the store again until it finds none,
// since whoever has another first key may have written meanwhile; it needs no
// memory of how far it got, for what is left shows in the values themselves.
// Values that change meanwhile stay as they were changed. It fails with
// ErrSealed at a value that none of the keys opens.
func (s *Store) Reseal(ctx context.Context) (int, error) {
	total := 0
	for {
		n, err := s.resealOnce(ctx)
		total += n
		if err != nil {
			return total, fmt.Errorf("sealing anew: %w", err)
		}
		if n == 0 {
			return total, nil
		}
	}
}

// resealOnce goes through the store once.
func (s *Store) resealOnce(ctx context.Context) (total int, err error) {
	var keys []string
	size := 0
	flush := func() error {
		n, err := s.resealSome(ctx, keys)
		total += n
		keys, size = nil, 0
		return err
	}
	err = s.eachSealed(ctx, func(e Entry) error {
		if bytes.Equal(sealedBy(e.Value), s.cfg.Keyring.first().id) {
			return nil
		}
		if len(keys) == resealKeys || len(keys) > 0 && size+len(e.Value) > resealBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		keys, size = append(keys, e.Key), size+len(e.Value)
		return nil
	})
	if err == nil && len(keys) > 0 {
		err = flush()
	}
	return total, err
}

// resealSome seals the values of some keys anew in one transaction.
func (s *Store) resealSome(ctx context.Context, keys []string) (n int, err error) {
	_, err = s.Update(ctx, func(tx *Tx) error {
		n = 0
		for _, key := range keys {
			changed, err := tx.Reseal(key)
			if errors.Is(err, ErrNotFound) {
				continue // it was deleted meanwhile
			}
			if err != nil {
				return err
			}
			if changed {
				n++
			}
		}
		return nil
	})
	return n, err
}

// SealedBy tells how many values are sealed under each key, by the keys' names
// as [Keyring.IDs] gives them, also those that are not in the ring. Keys of the
// ring under which nothing is sealed are there with 0.
func (s *Store) SealedBy(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	for _, id := range s.KeyIDs() {
		counts[id] = 0
	}
	err := s.eachSealed(ctx, func(e Entry) error {
		counts[hex.EncodeToString(sealedBy(e.Value))]++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("counting sealed values: %w", err)
	}
	return counts, nil
}

// eachSealed gives f every sealed value, as each page of keys has it when it is
// read.
func (s *Store) eachSealed(ctx context.Context, f func(Entry) error) error {
	after := ""
	for {
		page, err := s.List(ctx, "", ListOptions{After: after, Limit: resealPage})
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			after = e.Key
			if !IsSealed(e.Value) {
				continue
			}
			if err := f(e); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
	}
}
