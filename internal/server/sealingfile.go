package server

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
	"github.com/lanyard-id/lanyard/internal/store"
)

// SealingKeys are the sealing keys of a file, for the commands that change
// them: the first seals, all open. A running cloud reads the file again when it
// has changed.
type SealingKeys struct {
	file string
	keys [][]byte
}

// SealingKeyPath is the file that holds the configuration's sealing keys. It
// fails where they come from the environment, which no command can change.
func (c Config) SealingKeyPath() (string, error) {
	switch {
	case os.Getenv(SealingKeyVariable) != "":
		return "", fmt.Errorf("the sealing keys come from %s, which only you can change: see docs/operating.md", SealingKeyVariable)
	case c.SealingKeyFile != "":
		return filepath.Abs(c.SealingKeyFile)
	case c.OwnSealingKey:
		return filepath.Join(c.DataDir, sealingKeyFileName), nil
	}
	return "", errors.New("the configuration names no sealingKeyFile")
}

// LoadSealingKeys reads a file of sealing keys.
func LoadSealingKeys(file string) (*SealingKeys, error) {
	keys, err := readSealingKeys(file)
	if err != nil {
		return nil, err
	}
	return &SealingKeys{file: file, keys: keys}, nil
}

// File is the file that the keys were read from.
func (k *SealingKeys) File() string { return k.file }

// IDs names the keys in their order, as the cloud does; a name tells nothing of
// its key.
func (k *SealingKeys) IDs() []string {
	var ids []string
	for _, key := range k.keys {
		ids = append(ids, store.SealingKeyID(key))
	}
	return ids
}

// Add makes a new key, which only opens at first, and gives its name.
func (k *SealingKeys) Add() (string, error) {
	key, err := store.ParseSealingKey(store.NewSealingKey())
	if err != nil {
		return "", err
	}
	k.keys = append(k.keys, key)
	return store.SealingKeyID(key), k.write()
}

// Rotate makes a new key that seals from now on, and gives its name. It is for a
// cloud of one process: other replicas could not open what this one seals before
// they have the key.
func (k *SealingKeys) Rotate() (string, error) {
	key, err := store.ParseSealingKey(store.NewSealingKey())
	if err != nil {
		return "", err
	}
	k.keys = append([][]byte{key}, k.keys...)
	return store.SealingKeyID(key), k.write()
}

// Apply replaces the keys of an open store.
func (k *SealingKeys) Apply(st *store.Store) error { return st.ReplaceKeys(k.keys...) }

// Promote puts the last key first, so that it seals, and gives its name.
func (k *SealingKeys) Promote() (string, error) {
	if len(k.keys) < 2 {
		return "", fmt.Errorf("%s holds one key alone: add another one first", k.file)
	}
	last := len(k.keys) - 1
	k.keys = append([][]byte{k.keys[last]}, k.keys[:last]...)
	return store.SealingKeyID(k.keys[0]), k.write()
}

// Drop removes all keys but the first, and gives the names of those removed.
// That nothing needs them any more is the caller's to see.
func (k *SealingKeys) Drop() ([]string, error) {
	dropped := k.IDs()[1:]
	k.keys = slices.Clip(k.keys[:1])
	return dropped, k.write()
}

// write replaces the file at once, with the owner and the mode that it had.
func (k *SealingKeys) write() error {
	var text strings.Builder
	for _, key := range k.keys {
		text.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	}
	// What a link leads to is changed, not the link.
	file, err := filepath.EvalSymlinks(k.file)
	if err != nil {
		return fmt.Errorf("writing the sealing keys: %w", err)
	}
	fi, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("writing the sealing keys: %w", err)
	}
	owner, ok := fi.Sys().(*syscall.Stat_t)
	if ok && os.Geteuid() != 0 && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("writing the sealing keys: %s belongs to another user, whose cloud could not read it afterwards: run this as that user", file)
	}
	return atomicfile.Replace(file, func(f *os.File) error {
		if ok && os.Geteuid() == 0 {
			if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
		if err := f.Chmod(fi.Mode().Perm()); err != nil {
			return err
		}
		_, err := f.WriteString(text.String())
		return err
	})
}

// LoadKeyring reads a file of sealing keys into a keyring.
func LoadKeyring(file string) (*store.Keyring, error) {
	keys, err := readSealingKeys(file)
	if err != nil {
		return nil, err
	}
	return store.NewKeyring(keys...)
}
