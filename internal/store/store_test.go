package store

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"
)

func testKeyring(t testing.TB) *Keyring {
	t.Helper()
	k, err := NewKeyring(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t testing.TB, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Dir: t.TempDir(), Keyring: testKeyring(t), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestBasics(t *testing.T) {
	start := time.Now()
	s := open(t)
	t.Log("open", time.Since(start))
	ctx := t.Context()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	got := map[string]string{}
	if err := s.Follow(ctx, "a", func(cs []Change, reset bool) {
		for _, c := range cs {
			got[c.Key] = string(c.Value)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		start = time.Now()
		rev, err := s.Update(ctx, func(tx *Tx) error { tx.Put("a", []byte("1")); return nil })
		t.Log("update", time.Since(start), rev, err)
	}
	start = time.Now()
	e, err := s.Get(ctx, "a")
	t.Log(time.Since(start), e, err, got, s.Fresh())
	start = time.Now()
	s.Close()
	t.Log("close", time.Since(start))
}
