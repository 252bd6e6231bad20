package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// sealingKeyBytes is the size of a sealing key: AES-256.
const sealingKeyBytes = 32

// The sealed form is
//
//	magic (4 bytes) | key id (8 bytes) | nonce (12 bytes) | ciphertext | tag (16 bytes)
//
// The associated data is the sealed form's head and the storage key. The magic
// begins with a byte that no JSON document begins with.
const (
	sealedMagic = "\x00LS1"
	keyIDBytes  = 8
	headBytes   = len(sealedMagic) + keyIDBytes
)

// Keyring holds the sealing keys: the first seals, all open. It may be used,
// and its keys be replaced, from any goroutine.
type Keyring struct {
	keys atomic.Pointer[[]sealingKey]
	// refresh is asked once for newer keys where one is missing; nil: there are
	// none. missed tells that it had none either.
	refresh atomic.Pointer[func()]
	missed  atomic.Bool
}

type sealingKey struct {
	id   []byte
	aead cipher.AEAD
	mac  []byte // the key by which backups are authenticated
}

// NewKeyring takes 32-byte keys, the newest first. It fails on none, on one of
// another size, and on one given twice.
func NewKeyring(keys ...[]byte) (*Keyring, error) {
	ready, err := readyKeys(keys)
	if err != nil {
		return nil, err
	}
	k := &Keyring{}
	k.keys.Store(&ready)
	return k, nil
}

// Replace puts other keys in the place of those of the ring, under the rules of
// NewKeyring. What is sealed from then on is sealed under the first of them.
func (k *Keyring) Replace(keys ...[]byte) error {
	ready, err := readyKeys(keys)
	if err == nil {
		k.keys.Store(&ready)
	}
	return err
}

// RefreshBy has f called where a value is met whose key is not in the ring; f
// may Replace the ring's keys, and the value is then tried again. It is called
// from many goroutines, and must be quick.
func (k *Keyring) RefreshBy(f func()) { k.refresh.Store(&f) }

// IDs names the keys, that which seals first. A name tells nothing of its key.
func (k *Keyring) IDs() []string {
	var ids []string
	for _, key := range *k.keys.Load() {
		ids = append(ids, hex.EncodeToString(key.id))
	}
	return ids
}

func readyKeys(keys [][]byte) ([]sealingKey, error) {
	if len(keys) == 0 {
		return nil, errors.New("store: a keyring needs a sealing key")
	}
	var ready []sealingKey
	for i, key := range keys {
		if len(key) != sealingKeyBytes {
			return nil, fmt.Errorf("store: sealing key %d has %d bytes, not %d", i+1, len(key), sealingKeyBytes)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("store: sealing key %d: %w", i+1, err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("store: sealing key %d: %w", i+1, err)
		}
		id := keyID(key)
		if findKey(ready, id) != nil {
			return nil, fmt.Errorf("store: sealing key %d is given twice", i+1)
		}
		ready = append(ready, sealingKey{id: id, aead: aead, mac: derive(key, "lanyard backup authentication")})
	}
	return ready, nil
}

// keyID names a key in the sealed form without telling anything of it.
func keyID(key []byte) []byte { return derive(key, "lanyard sealing key id")[:keyIDBytes] }

// SealingKeyID is the name of a key, as [Keyring.IDs] gives it.
func SealingKeyID(key []byte) string { return hex.EncodeToString(keyID(key)) }

// derive makes of a sealing key a value for one other purpose.
func derive(key []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}

func findKey(keys []sealingKey, id []byte) *sealingKey {
	for i := range keys {
		if bytes.Equal(keys[i].id, id) {
			return &keys[i]
		}
	}
	return nil
}

// first is the key that seals.
func (k *Keyring) first() *sealingKey { return &(*k.keys.Load())[0] }

// find gives the key of an ID; nil where neither the ring nor whoever refreshes
// it has one.
func (k *Keyring) find(id []byte) *sealingKey {
	if key := findKey(*k.keys.Load(), id); key != nil {
		return key
	}
	if refresh := k.refresh.Load(); refresh != nil {
		(*refresh)()
	}
	key := findKey(*k.keys.Load(), id)
	if key == nil {
		k.missed.Store(true)
	}
	return key
}

// Seal encrypts plaintext with the first key under a random nonce. The sealed
// form opens only under the same storage key.
func (k *Keyring) Seal(storageKey string, plaintext []byte) ([]byte, error) {
	if storageKey == "" {
		return nil, errEmptyKey
	}
	key := k.first()
	out := make([]byte, 0, headBytes+key.aead.Overhead()+len(plaintext))
	out = append(out, sealedMagic...)
	out = append(out, key.id...)
	//nolint:gosec // the AEAD makes the nonce itself, at random
	return key.aead.Seal(out, nil, plaintext, associated(out, storageKey)), nil
}

// Open decrypts a sealed form. Its errors are ErrSealed; they name the storage
// key and never the value.
func (k *Keyring) Open(storageKey string, sealed []byte) ([]byte, error) {
	if !IsSealed(sealed) {
		return nil, fmt.Errorf("%w: %s holds no sealed value", ErrSealed, storageKey)
	}
	head, body := sealed[:headBytes], sealed[headBytes:]
	key := k.find(sealedBy(sealed))
	if key == nil {
		return nil, fmt.Errorf("%w: %s was sealed with a key that is not in the keyring", ErrSealed, storageKey)
	}
	plaintext, err := key.aead.Open(nil, nil, body, associated(head, storageKey))
	if err != nil {
		return nil, fmt.Errorf("%w: %s was altered, or moved from another key", ErrSealed, storageKey)
	}
	return plaintext, nil
}

// Reseal gives the sealed form under the first key, and whether it was under
// another one before.
func (k *Keyring) Reseal(storageKey string, sealed []byte) (out []byte, changed bool, err error) {
	plaintext, err := k.Open(storageKey, sealed)
	if err != nil {
		return nil, false, err
	}
	if bytes.Equal(sealedBy(sealed), k.first().id) {
		return sealed, false, nil
	}
	out, err = k.Seal(storageKey, plaintext)
	return out, err == nil, err
}

// IsSealed tells whether a value is in the sealed form.
func IsSealed(value []byte) bool {
	return len(value) >= headBytes && string(value[:len(sealedMagic)]) == sealedMagic
}

// sealedBy gives the ID of the key that a sealed form was made with.
func sealedBy(sealed []byte) []byte { return sealed[len(sealedMagic):headBytes] }

func associated(head []byte, storageKey string) []byte {
	out := make([]byte, 0, headBytes+len(storageKey))
	return append(append(out, head...), storageKey...)
}

// Unseal opens a sealed entry's value, in a transaction or outside.
func (s *Store) Unseal(e Entry) ([]byte, error) { return s.cfg.Keyring.Open(e.Key, e.Value) }

// NewSealingKey makes a random key in its text form, base64; ParseSealingKey
// reads it.
func NewSealingKey() string {
	key := make([]byte, sealingKeyBytes)
	rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// ParseSealingKey reads the text form; space around it is ignored. Its errors
// don't show the text.
func ParseSealingKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("store: the sealing key is not base64")
	}
	if len(key) != sealingKeyBytes {
		return nil, fmt.Errorf("store: the sealing key has %d bytes, not %d", len(key), sealingKeyBytes)
	}
	return key, nil
}
