package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// storeDirName is where the embedded store lies in the data directory.
const storeDirName = "store"

// OpenStore opens the store of a configuration for a command, without a cloud:
// an embedded one while no cloud runs on it (else [store.ErrInUse]), an outside
// etcd cluster at any time. It makes nothing: where no cloud has been it fails.
func OpenStore(ctx context.Context, cfg Config) (*store.Store, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	if len(cfg.Store.Endpoints) == 0 {
		_, err := os.Stat(filepath.Join(cfg.DataDir, storeDirName))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s holds no cloud: name its data directory with --data, or its configuration with --config: %w", cfg.DataDir, err)
		}
		if err != nil {
			return nil, err
		}
	}
	ring, _, err := keyring(cfg, cfg.Logger)
	if err != nil {
		return nil, err
	}
	storeCfg, err := (&Server{cfg: cfg, log: cfg.Logger}).storeConfig(ring)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, storeCfg)
}

// BackupNotes gives the notes of a backup that is made without a cloud, from
// its store.
func BackupNotes(ctx context.Context, st *store.Store, version string) (map[string]string, error) {
	e, err := st.Get(ctx, bootstrapKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errors.New("the store holds no cloud: none has started on it yet")
	}
	if err != nil {
		return nil, err
	}
	var record bootstrapRecord
	if err := json.Unmarshal(e.Value, &record); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", bootstrapKey, err)
	}
	return backupNotes(azure.Cloud{Domain: record.Domain, Port: record.Port}, record, version), nil
}
