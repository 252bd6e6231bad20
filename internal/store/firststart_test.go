package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFirstStartCutShort: a first start that ended before the member could serve
// leaves nothing that a later one stumbles over, and a member that has served
// is kept.
func TestFirstStartCutShort(t *testing.T) {
	dir := t.TempDir()
	key, err := ParseSealingKey(NewSealingKey())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: dir, Keyring: ring}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if st, err := Open(ended, cfg); !errors.Is(err, context.Canceled) {
			if err == nil {
				st.Close()
			}
			t.Fatalf("Open in an ended context: %v", err)
		}
	}
	open := func() *Store {
		t.Helper()
		st, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatalf("Open after a start that was cut short: %v", err)
		}
		return st
	}
	st := open()
	if _, err := os.Stat(filepath.Join(dir, firstStartMark)); err == nil {
		t.Error("the mark of the first start outlived it")
	}
	if _, err := st.Update(t.Context(), func(tx *Tx) error { tx.Put("k", []byte("v")); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	// A later start that is cut short takes nothing along.
	if st, err := Open(ended, cfg); err == nil {
		st.Close()
	}
	st = open()
	defer st.Close()
	if e, err := st.Get(t.Context(), "k"); err != nil || string(e.Value) != "v" {
		t.Errorf("what was written before: %q, %v", e.Value, err)
	}
}
