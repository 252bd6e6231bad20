package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// engine is an etcd member inside this process. It listens nowhere: the client
// calls it directly.
type engine struct {
	etcd *embed.Etcd
	lock *fileutil.LockedFile
}

// smallSegments shrinks the write-ahead log's preallocated files, of which
// there are always two, from 64 MB each. It is a variable of etcd's process.
var smallSegments = sync.OnceFunc(func() { wal.SegmentSizeBytes = 16 << 20 })

// startEngine locks the directory and starts the member; it returns when the
// member serves.
func startEngine(ctx context.Context, cfg *Config) (*engine, error) {
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	smallSegments()
	etcd, err := embed.StartEtcd(engineConfig(cfg))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the embedded etcd in %s: %w", cfg.Dir, err), lock.Close())
	}
	e := &engine{etcd: etcd, lock: lock}
	select {
	case <-etcd.Server.ReadyNotify():
		return e, nil
	case err = <-etcd.Err():
	case <-etcd.Server.StopNotify():
		err = errors.New("it stopped")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, errors.Join(fmt.Errorf("starting the embedded etcd in %s: %w", cfg.Dir, err), e.close())
}

// lockDir makes the directory private and takes its lock. The lock ends with
// the process, however that ends.
func lockDir(dir string) (*fileutil.LockedFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory private: %w", err)
	}
	path := filepath.Join(dir, "lock")
	lock, err := fileutil.TryLockFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, fmt.Errorf("%w: %s is open in another process; stop that one, or give this one a directory of its own", ErrInUse, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	return lock, nil
}

// engineConfig is a member that is its own cluster.
func engineConfig(cfg *Config) *embed.Config {
	c := embed.NewConfig()
	c.Name = "lanyard"
	c.Dir = cfg.Dir
	// The member elects itself: short ticks make it ready in tens of
	// milliseconds and can't cost it the leadership, as nobody contends.
	c.TickMs = 10
	c.ElectionMs = 100
	// A member must have a peer address; a cluster of one never uses it.
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{{Scheme: "unix", Host: "lanyard"}}
	c.ListenClientUrls = nil
	c.AdvertiseClientUrls = nil
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.EnableGRPCGateway = false
	c.QuotaBackendBytes = cfg.QuotaBytes
	c.AutoCompactionRetention = "0" // maintain does it
	c.BootstrapDefragThresholdMegabytes = 64
	c.SnapshotCatchUpEntries = 100 // there are no followers to catch up
	c.WarningUnaryRequestDuration = time.Second
	c.WarningApplyDuration = time.Second
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(cfg.Logger))
	return c
}

// client gives the in-process client.
func (e *engine) client() *clientv3.Client { return v3client.New(e.etcd.Server) }

// size is the database file's size in bytes.
func (e *engine) size() int64 { return e.etcd.Server.Backend().Size() }

func (e *engine) close() error {
	e.etcd.Close()
	return e.lock.Close()
}
