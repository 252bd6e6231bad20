package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/lanyard-id/lanyard/internal/store"
)

// SealingKeyVariable is the environment variable that takes the place of the
// sealing key's file.
const SealingKeyVariable = "LANYARD_SEALING_KEY"

// sealingKeyFileName is where `lanyard up` keeps the key that it made.
const sealingKeyFileName = "sealing.key"

// keyring gives the sealing keys of the configuration, and the file that they
// come from: none where they are in the environment variable.
func keyring(cfg Config, log *slog.Logger) (ring *store.Keyring, file string, err error) {
	var keys [][]byte
	if text := os.Getenv(SealingKeyVariable); text != "" {
		keys, err = parseSealingKeys(text, SealingKeyVariable)
	} else if file, err = sealingKeyFile(cfg, log); err == nil {
		keys, err = readSealingKeys(file)
	}
	if err != nil {
		return nil, "", err
	}
	ring, err = store.NewKeyring(keys...)
	return ring, file, err
}

// readSealingKeys reads the keys of a file.
func readSealingKeys(file string) ([][]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the sealing key: %w", err)
	}
	return parseSealingKeys(string(b), file)
}

// parseSealingKeys reads keys of which one stands on each line; all of them
// together make a keyring.
func parseSealingKeys(text, source string) ([][]byte, error) {
	var keys [][]byte
	for line := range strings.FieldsSeq(text) {
		key, err := store.ParseSealingKey(line)
		if err != nil {
			return nil, fmt.Errorf("sealing key %d in %s: %w", len(keys)+1, source, err)
		}
		keys = append(keys, key)
	}
	if _, err := store.NewKeyring(keys...); err != nil {
		return nil, fmt.Errorf("sealing keys in %s: %w", source, err)
	}
	return keys, nil
}

// sealingKeyFile gives the file to read, which exists if it is the cloud's own.
func sealingKeyFile(cfg Config, log *slog.Logger) (string, error) {
	if cfg.SealingKeyFile == "" {
		path := filepath.Join(cfg.DataDir, sealingKeyFileName)
		return path, makeSealingKey(path)
	}
	inside, err := within(cfg.DataDir, cfg.SealingKeyFile)
	if err != nil {
		return "", fmt.Errorf("reading the sealing key: %w", err)
	}
	if inside {
		return "", fmt.Errorf("the sealing key %s lies in the data directory %s, so that a copy of the data would open itself: "+
			"move it out, or give it in %s", cfg.SealingKeyFile, cfg.DataDir, SealingKeyVariable)
	}
	if fi, err := os.Stat(cfg.SealingKeyFile); err == nil && fi.Mode().Perm()&0o007 != 0 {
		log.Warn("every user of this machine can read the sealing key: make it 0600", "file", cfg.SealingKeyFile)
	}
	return cfg.SealingKeyFile, nil
}

// makeSealingKey makes the key unless it is there. Of two processes that start
// at once, one makes it; the store's lock then stops the other.
func makeSealingKey(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the sealing key: %w", err)
	}
	_, err = f.WriteString(store.NewSealingKey() + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("making the sealing key: %w", err), os.Remove(path))
	}
	return nil
}

// within reports whether file lies in dir, symbolic links followed.
func within(dir, file string) (bool, error) {
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		return false, err
	}
	if file, err = filepath.Abs(file); err != nil {
		return false, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return false, err
	}
	rel, err := filepath.Rel(dir, file)
	return err == nil && filepath.IsLocal(rel), nil
}
