package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func keyring(t rapid.TB, bytewise ...byte) *Keyring {
	t.Helper()
	var keys [][]byte
	for _, b := range bytewise {
		keys = append(keys, bytes.Repeat([]byte{b}, sealingKeyBytes))
	}
	k, err := NewKeyring(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewKeyringRefuses(t *testing.T) {
	key := bytes.Repeat([]byte{1}, 32)
	for name, keys := range map[string][][]byte{
		"none":       nil,
		"empty":      {nil},
		"short":      {key[:31]},
		"long":       {append(bytes.Clone(key), 1)},
		"AES-128":    {key[:16]},
		"one twice":  {key, bytes.Repeat([]byte{2}, 32), key},
		"second bad": {key, key[:5]},
	} {
		if _, err := NewKeyring(keys...); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// What is sealed opens under its own storage key, and is not found in the
// sealed form.
func TestSealOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := keyring(t, 1, 2)
		name := rapid.StringN(1, 20, -1).Draw(t, "key")
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext")
		sealed, err := k.Seal(name, plain)
		if err != nil {
			t.Fatal(err)
		}
		again, err := k.Seal(name, plain)
		if err != nil || bytes.Equal(sealed, again) {
			t.Fatal("the same sealed form twice", err)
		}
		if len(plain) > 4 && bytes.Contains(sealed, plain) {
			t.Fatal("the sealed form shows the plaintext")
		}
		got, err := k.Open(name, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatal(got, err)
		}
		other := rapid.StringN(1, 20, -1).Filter(func(s string) bool { return s != name }).Draw(t, "other key")
		if _, err := k.Open(other, sealed); !errors.Is(err, ErrSealed) {
			t.Fatal("moved to another key, it opens:", err)
		}
		i := rapid.IntRange(0, len(sealed)-1).Draw(t, "place")
		sealed[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "change"))
		if _, err := k.Open(name, sealed); !errors.Is(err, ErrSealed) {
			t.Fatal("altered, it opens:", err)
		}
		if _, err := k.Open(name, sealed[:i]); !errors.Is(err, ErrSealed) {
			t.Fatal("cut, it opens:", err)
		}
	})
}

func TestKeyRotation(t *testing.T) {
	old := keyring(t, 1)
	both := keyring(t, 2, 1)
	fresh := keyring(t, 2)
	sealed, err := old.Seal("k", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := both.Open("k", sealed); err != nil || string(got) != "secret" {
		t.Error(got, err)
	}
	if _, err := fresh.Open("k", sealed); !errors.Is(err, ErrSealed) || strings.Contains(err.Error(), "altered") {
		t.Error(err)
	}
	if _, _, err := fresh.Reseal("k", sealed); !errors.Is(err, ErrSealed) {
		t.Error(err)
	}
	resealed, changed, err := both.Reseal("k", sealed)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	if got, err := fresh.Open("k", resealed); err != nil || string(got) != "secret" {
		t.Error(got, err)
	}
	same, changed, err := both.Reseal("k", resealed)
	if err != nil || changed || !bytes.Equal(same, resealed) {
		t.Error(changed, err)
	}
	// Sealing one key's id onto another key's ciphertext opens nothing.
	forged := append(bytes.Clone(resealed[:headBytes]), sealed[headBytes:]...)
	if _, err := both.Open("k", forged); !errors.Is(err, ErrSealed) {
		t.Error(err)
	}
}

func TestSealingKeyText(t *testing.T) {
	text := NewSealingKey()
	key, err := ParseSealingKey(" \t" + text + "\r\n")
	if err != nil || len(key) != sealingKeyBytes {
		t.Fatal(key, err)
	}
	if NewSealingKey() == text {
		t.Error("the same key twice")
	}
	for _, bad := range []string{"", "x", text[:40], text + text, strings.TrimRight(text, "="), "*" + text[1:], text[:20] + "\x00" + text[21:]} {
		_, err := ParseSealingKey(bad)
		if err == nil {
			t.Errorf("%q is taken", bad)
		} else if len(bad) > 3 && strings.Contains(err.Error(), bad) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	k := keyring(f, 1)
	sealed, err := k.Seal("k", []byte("secret"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{nil, sealed, sealed[:headBytes], sealed[:headBytes+5], []byte(sealedMagic)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// Other processes of one fuzzing run have sealed with other nonces.
		if got, err := k.Open("k", b); err == nil && string(got) != "secret" {
			t.Errorf("%x opens to %q", b, got)
		}
	})
}

func TestSealedInTheStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, inDir(dir), func(c *Config) { c.Keyring = keyring(t, 1) })
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		tx.Put("plain", []byte("{}"))
		if err := tx.PutSealed("a", []byte("secret")); err != nil {
			return err
		}
		e, err := tx.Get("a") // its own write, sealed like any other
		if err != nil {
			return err
		}
		if got, err := s.Unseal(e); err != nil || string(got) != "secret" {
			t.Error(got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if !IsSealed(e.Value) || bytes.Contains(e.Value, []byte("secret")) {
		t.Errorf("%q", e.Value)
	}
	if got, err := s.Unseal(e); err != nil || string(got) != "secret" {
		t.Error(got, err)
	}
	// Whoever can write to etcd can't give one key's value to another.
	if _, err := s.client.Put(t.Context(), s.keys.data("b"), string(e.Value)); err != nil {
		t.Fatal(err)
	}
	moved, err := s.Get(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unseal(moved); !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), " b ") {
		t.Error(err)
	}
	plain, err := s.Get(t.Context(), "plain")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unseal(plain); !errors.Is(err, ErrSealed) {
		t.Error(err)
	}
	if _, err := s.Update(t.Context(), func(tx *Tx) error { return tx.PutSealed("", nil) }); err == nil {
		t.Error("an empty key was sealed")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, inDir(dir), func(c *Config) { c.Keyring = keyring(t, 2, 1) })
	for key, want := range map[string]bool{"a": true, "plain": false} {
		var did bool
		if _, err := s.Update(t.Context(), func(tx *Tx) (err error) { did, err = tx.Reseal(key); return err }); err != nil || did != want {
			t.Errorf("%s: %v %v", key, did, err)
		}
	}
	if _, err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.Reseal("b"); return err }); !errors.Is(err, ErrSealed) {
		t.Error(err)
	}
	if e, err = s.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got, err := keyring(t, 2).Open("a", e.Value); err != nil || string(got) != "secret" {
		t.Error(got, err)
	}
}
