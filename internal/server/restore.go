package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
	"github.com/lanyard-id/lanyard/internal/store"
)

// Restore restores the backup in file into the empty store of a configuration.
// keyFile holds the sealing keys, which no backup does; it may be empty where
// the configuration has them. For `lanyard up` they are copied to the data
// directory, and the port is kept there that the cloud had, which its issuers
// and vault URIs carry.
//
// Nothing is made before the backup was read as a whole and found sound and
// opened by the keys. See [store.Restore] for the errors of that.
func Restore(ctx context.Context, cfg Config, file, keyFile string) (store.BackupInfo, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return store.BackupInfo{}, err
	}
	r := &restore{cfg: cfg}
	keys, err := r.keys(keyFile)
	if err != nil {
		return store.BackupInfo{}, err
	}
	ring, err := store.NewKeyring(keys...)
	if err != nil {
		return store.BackupInfo{}, err
	}
	backup, err := os.Open(file)
	if err != nil {
		return store.BackupInfo{}, err
	}
	defer backup.Close()
	info, err := store.ReadBackup(backup, ring, nil)
	if err != nil {
		return info, err
	}
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return info, err
	}
	storeCfg, err := (&Server{cfg: cfg, log: cfg.Logger}).storeConfig(ring)
	if err != nil {
		return info, err
	}
	if err := r.prepare(keyFile, info); err != nil {
		return info, errors.Join(err, r.undo())
	}
	if info, err = store.Restore(ctx, storeCfg, backup); errors.Is(err, store.ErrInUse) || errors.Is(err, store.ErrNotEmpty) {
		err = errors.Join(err, r.undo()) // there is a cloud, which is none of ours
	}
	return info, err
}

// restore is what a restore needs beside the store.
type restore struct {
	cfg  Config
	made []string // files
}

// ownKeyFile is where `lanyard up` keeps its sealing keys; empty for others.
func (r *restore) ownKeyFile() string {
	if !r.cfg.OwnSealingKey || os.Getenv(SealingKeyVariable) != "" {
		return ""
	}
	return filepath.Join(r.cfg.DataDir, sealingKeyFileName)
}

// keys gives the sealing keys, and makes none.
func (r *restore) keys(keyFile string) ([][]byte, error) {
	own := r.ownKeyFile()
	if keyFile != "" {
		keys, err := readSealingKeys(keyFile)
		if err != nil || own == "" {
			return keys, err
		}
		there, err := readSealingKeys(own)
		if err == nil && !slices.EqualFunc(there, keys, slices.Equal[[]byte]) {
			return nil, fmt.Errorf("%s is there and holds other keys than %s: restore into another directory", own, keyFile)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return keys, nil
	}
	if text := os.Getenv(SealingKeyVariable); text != "" {
		return parseSealingKeys(text, SealingKeyVariable)
	}
	if own == "" {
		return readSealingKeys(r.cfg.SealingKeyFile)
	}
	keys, err := readSealingKeys(own)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("a backup does not hold the sealing key, and there is none at %s: "+
			"name the file with the key of the cloud that was backed up with --sealing-key-file", own)
	}
	return keys, err
}

// prepare makes what `lanyard up` looks for in its data directory.
func (r *restore) prepare(keyFile string, info store.BackupInfo) error {
	if err := os.MkdirAll(r.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	if own := r.ownKeyFile(); own != "" && keyFile != "" {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			return err
		}
		if err := r.make(own, text); err != nil {
			return err
		}
	}
	// A backup without a port, or with none to keep, leaves it to the
	// configuration where the cloud listens; so does a configuration that says so.
	port, _ := strconv.ParseUint(info.Notes[notePort], 10, 16)
	if _, asked, _ := net.SplitHostPort(r.cfg.Listen); port == 0 || asked != "0" || r.cfg.PublicPort != 0 {
		return nil
	}
	return r.make(filepath.Join(r.cfg.DataDir, portFileName), []byte(strconv.FormatUint(port, 10)+"\n"))
}

// make writes a file unless it is there.
func (r *restore) make(file string, content []byte) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.made = append(r.made, file)
	return atomicfile.Write(file, content, 0o600)
}

// undo removes what was made.
func (r *restore) undo() error {
	var errs []error
	for _, file := range r.made {
		if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
