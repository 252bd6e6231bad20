package store

import (
	"errors"
	"maps"
	"slices"
)

// Pin reads key and makes a concurrent change of it the end of Update: when
// another transaction has changed the key between this one's snapshot and its
// commit, Update gives changed, where it would otherwise run f again. It is for
// rules that refuse a concurrent writer rather than let it wait.
func (tx *Tx) Pin(key string, changed error) error {
	if _, err := tx.Get(key); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if tx.pins == nil {
		tx.pins = map[string]error{}
	}
	tx.pins[key] = changed
	return nil
}

// brokenPin gives the error of a pinned key that has changed, after a commit
// that failed.
func (tx *Tx) brokenPin() error {
	for _, key := range slices.Sorted(maps.Keys(tx.pins)) {
		e, _, err := tx.s.getAt(tx.ctx, key, 0)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if read, ok := tx.reads[key]; ok && e.Revision != read.Revision {
			return tx.pins[key]
		}
	}
	return nil
}
