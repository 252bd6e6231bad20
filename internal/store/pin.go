package store

import "errors"

// Pin reads key and makes a concurrent change of it the end of Update: when
// another transaction has changed the key between the first run of f and the
// commit, Update gives changed, where it would otherwise run f again and let it
// see the change. It is for rules that refuse a concurrent writer rather than
// let it wait. It comes before f's own writes of key.
func (tx *Tx) Pin(key string, changed error) error {
	e, err := tx.Get(key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	first, again := tx.pins[key]
	if !again {
		tx.pins[key] = e.Revision // 0: absent
		return nil
	}
	if e.Revision != first {
		return tx.fail(changed)
	}
	return nil
}
