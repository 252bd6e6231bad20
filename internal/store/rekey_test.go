package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rawKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func replaceKeys(t *testing.T, s *Store, bytewise ...byte) {
	t.Helper()
	var keys [][]byte
	for _, b := range bytewise {
		keys = append(keys, rawKey(b))
	}
	if err := s.ReplaceKeys(keys...); err != nil {
		t.Fatal(err)
	}
}

// with configures a store's keyring.
func with(t *testing.T, bytewise ...byte) func(*Config) {
	t.Helper()
	return func(c *Config) { c.Keyring = keyring(t, bytewise...) }
}

// After a rotation the new key alone opens everything, and the old one nothing.
func TestReseal(t *testing.T) {
	s := open(t, with(t, 1))
	plain := map[string]string{}
	for i := range 2*resealPage + 10 {
		name, value := fmt.Sprintf("k/%04d", i), strings.Repeat("s", i)
		plain[name] = value
		sealIn(t, s, name, value)
	}
	sealIn(t, s, "large", strings.Repeat("x", resealBytes+1))
	sealIn(t, s, "larger", strings.Repeat("x", MaxBytes-1000))
	put(t, s, "open", "not sealed")
	open := everything(t, s)["open"]

	replaceKeys(t, s, 2, 1)
	sealIn(t, s, "new", "n")
	n, err := s.Reseal(t.Context())
	if err != nil || n != len(plain)+2 {
		t.Fatalf("%d were sealed anew, %v; want %d", n, err, len(plain)+2)
	}
	if n, err := s.Reseal(t.Context()); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	counts, err := s.SealedBy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{SealingKeyID(rawKey(2)): len(plain) + 3, SealingKeyID(rawKey(1)): 0}, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	now := everything(t, s)
	if now["open"] != open {
		t.Error("a value that is not sealed was changed")
	}
	for name, value := range plain {
		e := Entry{Key: name, Value: []byte(now[name])}
		if got, err := keyring(t, 2).Open(e.Key, e.Value); err != nil || string(got) != value {
			t.Fatalf("%s by the new key: %v", name, err)
		}
		if _, err := keyring(t, 1).Open(e.Key, e.Value); !errors.Is(err, ErrSealed) {
			t.Fatalf("%s by the old key: %v", name, err)
		}
	}
}

// A replica that still seals with the old key, while another seals anew, leaves
// nothing behind: neither its writes are lost nor what it wrote stays.
func TestResealAmongReplicas(t *testing.T) {
	srv := startServer(t)
	a, b := open(t, srv.at, with(t, 2, 1)), open(t, srv.at, with(t, 1, 2))
	const n = 100
	for i := range n {
		sealIn(t, b, fmt.Sprintf("k/%03d", i), "0")
	}
	done := make(chan error, 1)
	go func() {
		for i := range n {
			_, err := b.Update(t.Context(), func(tx *Tx) error { return tx.PutSealed(fmt.Sprintf("k/%03d", i), []byte("1")) })
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	if _, err := a.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	replaceKeys(t, b, 2, 1)
	if _, err := b.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, value := range everything(t, a) {
		if got, err := keyring(t, 2).Open(key, []byte(value)); err != nil || string(got) != "1" {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
}

// What a transaction changes while its value is sealed anew stays as changed.
func TestResealYields(t *testing.T) {
	s := open(t, with(t, 1))
	sealIn(t, s, "k", "old", "gone", "1")
	replaceKeys(t, s, 2, 1)
	del(t, s, "gone")
	if n, err := s.resealSome(t.Context(), []string{"k", "gone", "never"}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, there := everything(t, s)["gone"]; there {
		t.Error("a deleted value is back")
	}
}

func TestResealFailsAtAnUnknownKey(t *testing.T) {
	s := open(t, with(t, 1))
	sealIn(t, s, "k", "v")
	replaceKeys(t, s, 2)
	if _, err := s.Reseal(t.Context()); !errors.Is(err, ErrSealed) {
		t.Errorf("%v", err)
	}
	counts, err := s.SealedBy(t.Context())
	if err != nil || counts[SealingKeyID(rawKey(1))] != 1 {
		t.Errorf("%v, %v", counts, err)
	}
}

// A replica that lacks a key asks for it where it first needs it; when it comes
// later, the views are told what they could not read.
func TestKeysThatComeLate(t *testing.T) {
	srv := startServer(t)
	a, b := open(t, srv.at, with(t, 1)), open(t, srv.at, with(t, 1))
	var asked atomic.Int32
	var have atomic.Bool
	b.cfg.Keyring.RefreshBy(func() {
		asked.Add(1)
		if have.Load() {
			replaceKeys(t, b, 1, 2, 3)
		}
	})
	var opened, resets atomic.Int32
	err := b.Follow(t.Context(), "k/", func(changes []Change, reset bool) {
		if reset {
			resets.Add(1)
			opened.Store(0)
		}
		for _, c := range changes {
			if _, err := b.Unseal(Entry{Key: c.Key, Value: c.Value}); err == nil {
				opened.Add(1)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	replaceKeys(t, a, 2, 1)
	sealIn(t, a, "k/1", "v")
	eventually(t, "the value that b can't open", func() bool { return asked.Load() == 1 })
	replaceKeys(t, b, 1, 2)
	eventually(t, "the value, once the key is there", func() bool { return opened.Load() == 1 && resets.Load() == 2 })

	have.Store(true)
	replaceKeys(t, a, 3, 2, 1)
	sealIn(t, a, "k/2", "v")
	eventually(t, "a value whose key is there when it is needed", func() bool { return opened.Load() == 2 && resets.Load() == 2 })
	if err := b.ReplaceKeys(); err == nil {
		t.Error("no keys at all were taken")
	}
	put(t, b, "x", "1")
}
