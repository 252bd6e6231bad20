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
	"go.uber.org/zap"
)

// engine is an etcd member inside this process. It listens nowhere: the client
// calls it directly.
type engine struct {
	etcd  *embed.Etcd
	lock  *fileutil.LockedFile
	quota int64
}

// smallSegments shrinks the write-ahead log's preallocated files, of which
// there are always two, from 64 MB each. It is a variable of etcd's process.
var smallSegments = sync.OnceFunc(func() { wal.SegmentSizeBytes = 4 << 20 })

// startEngine locks the directory and starts the member; it returns when the
// member serves.
func startEngine(ctx context.Context, cfg *Config) (*engine, error) {
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	smallSegments()
	if err := beginFirstStart(cfg.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing %s: %w", cfg.Dir, err), lock.Close())
	}
	etcd, err := startMember(ctx, cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the embedded etcd in %s: %w", cfg.Dir, err), lock.Close())
	}
	if err := endFirstStart(cfg.Dir); err != nil {
		etcd.Close()
		return nil, errors.Join(fmt.Errorf("preparing %s: %w", cfg.Dir, err), lock.Close())
	}
	return &engine{etcd: etcd, lock: lock, quota: cfg.QuotaBytes}, nil
}

// startMember starts etcd. What is wrong with its files etcd tells by ending
// the process, or by a panic in a goroutine of its own; so it runs beside this
// one, and hook turns either into an error. What has run till then is left
// behind: the caller has nothing to do but to end.
func startMember(ctx context.Context, cfg *Config) (*embed.Etcd, error) {
	hook := newFailureHook()
	defer hook.started()
	config := engineConfig(cfg, hook)
	type outcome struct {
		etcd *embed.Etcd
		err  error
	}
	outcomes := make(chan outcome, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				hook.fail(fmt.Errorf("etcd panicked: %v", p))
			}
		}()
		etcd, err := embed.StartEtcd(config)
		outcomes <- outcome{etcd, err}
	}()
	var etcd *embed.Etcd
	select {
	case err := <-hook.failed:
		return nil, err
	case o := <-outcomes:
		if o.err != nil {
			return nil, o.err
		}
		etcd = o.etcd
	}
	var err error
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case err = <-hook.failed:
		return nil, err
	case err = <-etcd.Err():
	case <-etcd.Server.StopNotify():
		err = errors.New("it stopped")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	etcd.Close()
	return nil, err
}

// lockDir makes the directory private and takes its lock. The lock ends with
// the process, however that ends.
func lockDir(dir string) (*fileutil.LockedFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	if info, err := os.Stat(dir); err == nil && info.Mode()&os.ModeSticky != 0 {
		return nil, fmt.Errorf("the data directory %s is shared by many users; give the store a directory of its own", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory is entered
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
func engineConfig(cfg *Config, hook *failureHook) *embed.Config {
	c := embed.NewConfig()
	c.Name = "lanyard"
	c.Dir = cfg.Dir
	// The member elects itself: short ticks make it ready in tens of
	// milliseconds and can't cost it the leadership, as nobody contends. Five
	// ticks are the least that etcd takes for an election.
	c.TickMs = 10
	c.ElectionMs = 50
	// A member must have a peer address; a cluster of one never uses it.
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{{Scheme: "unix", Host: "lanyard"}}
	c.ListenClientUrls = nil
	c.AdvertiseClientUrls = nil
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.EnableGRPCGateway = false
	c.UnsafeNoFsync = cfg.Volatile
	c.QuotaBackendBytes = hardQuota(cfg.QuotaBytes)
	c.AutoCompactionRetention = "0" // maintain does it
	c.BootstrapDefragThresholdMegabytes = 64
	c.SnapshotCatchUpEntries = 100 // there are no followers to catch up
	c.WarningUnaryRequestDuration = time.Second
	c.WarningApplyDuration = time.Second
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(cfg.Logger).WithOptions(zap.WithFatalHook(hook), zap.WithPanicHook(hook)))
	return c
}

// client gives the in-process client.
func (e *engine) client() *clientv3.Client { return v3client.New(e.etcd.Server) }

// size is the database file's size in bytes, and how much of it is in use.
func (e *engine) size() (file, used int64) {
	backend := e.etcd.Server.Backend()
	return backend.Size(), backend.SizeInUse()
}

// hardQuota is etcd's own limit, on the size of the file. Beyond it etcd refuses
// every transaction that puts anything, which a delete does too (its marker), so
// it lies above the store's quota, which refuses puts alone.
func hardQuota(quota int64) int64 { return quota + quota/4 + 64<<20 }

// hasRoom tells whether a transaction that puts something may go on.
func (e *engine) hasRoom() bool {
	_, used := e.size()
	return used <= e.quota
}

func (e *engine) close() error {
	e.etcd.Close()
	return e.lock.Close()
}
