package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
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

// Keyring holds the sealing keys: the first seals, all open.
type Keyring struct{ keys []sealingKey }

type sealingKey struct {
	id   []byte
	aead cipher.AEAD
}

// NewKeyring takes 32-byte keys, the newest first. It fails on none, on one of
// another size, and on one given twice.
func NewKeyring(keys ...[]byte) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("store: a keyring needs a sealing key")
	}
	k := &Keyring{}
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
		if k.find(id) != nil {
			return nil, fmt.Errorf("store: sealing key %d is given twice", i+1)
		}
		k.keys = append(k.keys, sealingKey{id: id, aead: aead})
	}
	return k, nil
}

// keyID names a key in the sealed form without telling anything of it.
func keyID(key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("lanyard sealing key id"))
	return mac.Sum(nil)[:keyIDBytes]
}

func (k *Keyring) find(id []byte) *sealingKey {
	for i := range k.keys {
		if bytes.Equal(k.keys[i].id, id) {
			return &k.keys[i]
		}
	}
	return nil
}

// Seal encrypts plaintext with the first key under a random nonce. The sealed
// form opens only under the same storage key.
func (k *Keyring) Seal(storageKey string, plaintext []byte) ([]byte, error) {
	if storageKey == "" {
		return nil, errEmptyKey
	}
	key := k.keys[0]
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
	key := k.find(head[len(sealedMagic):])
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
	if bytes.Equal(sealed[len(sealedMagic):headBytes], k.keys[0].id) {
		return sealed, false, nil
	}
	out, err = k.Seal(storageKey, plaintext)
	return out, err == nil, err
}

// IsSealed tells whether a value is in the sealed form.
func IsSealed(value []byte) bool {
	return len(value) >= headBytes && string(value[:len(sealedMagic)]) == sealedMagic
}

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
