package store

import (
	"errors"
	"testing"
)

func TestPin(t *testing.T) {
	s := open(t)
	changed := errors.New("changed meanwhile")
	put := func(key, value string) {
		t.Helper()
		if _, err := s.Update(t.Context(), func(tx *Tx) error { tx.Put(key, []byte(value)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		key   string
		setup func()
		other func() // runs between the first run's reading and its commit
		want  error
		runs  int
	}{
		{"nothing else happens", "a", func() { put("a", "0") }, func() {}, nil, 1},
		{"the key is changed", "b", func() { put("b", "0") }, func() { put("b", "1") }, changed, 2},
		{"the key is written with the same value", "c", func() { put("c", "0") }, func() { put("c", "0") }, changed, 2},
		{"the key appears", "d", func() {}, func() { put("d", "1") }, changed, 2},
		{"the key goes", "e", func() { put("e", "0") }, func() {
			if _, err := s.Update(t.Context(), func(tx *Tx) error { tx.Delete("e"); return nil }); err != nil {
				t.Fatal(err)
			}
		}, changed, 2},
		{"another key that was read is changed", "f", func() { put("f", "0") }, func() { put("other", "1") }, nil, 2},
		{"a key that was not read is changed", "g", func() { put("g", "0") }, func() { put("stranger", "1") }, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.setup()
			runs := 0
			_, err := s.Update(t.Context(), func(tx *Tx) error {
				runs++
				if err := tx.Pin(tt.key, changed); err != nil {
					return err
				}
				if _, err := tx.Get("other"); err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
				if runs == 1 {
					tt.other()
				}
				tx.Put(tt.key, []byte("mine"))
				return nil
			})
			if !errors.Is(err, tt.want) || runs != tt.runs {
				t.Errorf("Update gives %v after %d runs, want %v after %d", err, runs, tt.want, tt.runs)
			}
			e, err := s.Get(t.Context(), tt.key)
			if tt.want == nil && (err != nil || string(e.Value) != "mine") {
				t.Errorf("the key has %q, %v", e.Value, err)
			}
			if tt.want != nil && string(e.Value) == "mine" {
				t.Error("the refused write was done")
			}
		})
	}
}
