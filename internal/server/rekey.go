package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/store"
)

// How the sealing keys are followed. Changing them goes on while the cloud
// runs: the file is read again when it has changed, and with a new first key
// every secret in the store is sealed anew.
const (
	sealingKeyPoll = 2 * time.Second
	// A store whose keyring has several keys is looked through again and again,
	// ever less often, since another replica may still seal with an old one.
	firstResealPause = 15 * time.Second
	maxResealPause   = time.Hour
	// resealLock is held by the replica that seals anew, which others need not do
	// at the same time.
	resealLock  = "server/reseal"
	resealLease = 10 * time.Second
)

// sealingFollower follows the sealing keys of one replica.
type sealingFollower struct {
	store *store.Store
	log   *slog.Logger
	file  string // empty: the keys are in the environment, and do not change
	poll  time.Duration

	mu    sync.Mutex
	stamp os.FileInfo // of the file as it was last read, or failed to be
}

// followSealingKeys has the store's keyring follow the file.
func (s *Server) followSealingKeys(ring *store.Keyring, file string) {
	f := &sealingFollower{store: s.store, log: s.log, file: file, poll: sealingKeyPoll}
	if file != "" {
		f.stamp, _ = os.Stat(file) // it has just been read
		ring.RefreshBy(f.refresh)
	}
	s.background = append(s.background, f.run)
}

// run reads the file again when it has changed, and seals the store's secrets
// anew when they are not all under the first key, until ctx ends.
func (f *sealingFollower) run(ctx context.Context) {
	var sealed []string // the keyring under which everything was last looked through
	pause, next := time.Duration(0), time.Now()
	ticker := time.NewTicker(f.poll)
	defer ticker.Stop()
	for ctx.Err() == nil {
		f.refresh()
		ids := f.store.KeyIDs()
		if !slices.Equal(ids, sealed) {
			pause, next = 0, time.Now()
		}
		if len(ids) > 1 && !time.Now().Before(next) {
			if f.reseal(ctx, ids[0]) {
				sealed = ids
				pause = min(max(2*pause, firstResealPause), maxResealPause)
				next = time.Now().Add(pause)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// refresh replaces the keyring when the file has changed. While the file cannot
// be used, as in the middle of a change, the former keys stay.
func (f *sealingFollower) refresh() {
	if f.file == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := os.Stat(f.file)
	if err != nil || f.stamp != nil && os.SameFile(now, f.stamp) && now.ModTime().Equal(f.stamp.ModTime()) && now.Size() == f.stamp.Size() {
		return
	}
	f.stamp = now
	keys, err := readSealingKeys(f.file)
	if err == nil {
		err = f.store.ReplaceKeys(keys...)
	}
	if err != nil {
		f.log.Error("the changed sealing keys cannot be used; the former ones stay", "error", err)
		return
	}
	f.log.Info("the sealing keys were read again", "keys", f.store.KeyIDs())
}

// reseal seals anew what is not under the first key, and reports whether it got
// to the end. What a crash leaves is done by the next start.
func (f *sealingFollower) reseal(ctx context.Context, first string) bool {
	lock, err := f.store.TryLock(ctx, resealLock, resealLease)
	if err != nil {
		if !errors.Is(err, store.ErrLocked) && ctx.Err() == nil {
			f.log.Error("secrets cannot be sealed anew", "error", err)
		}
		return false
	}
	defer func() {
		if err := lock.Unlock(context.WithoutCancel(ctx)); err != nil {
			f.log.Warn("giving back the lease on sealing anew", "error", err)
		}
	}()
	n, err := f.store.Reseal(ctx)
	if err != nil {
		if ctx.Err() == nil {
			f.log.Error("secrets cannot be sealed anew; it will be tried again", "sealed", n, "error", err)
		}
		return false
	}
	if n > 0 {
		f.log.Info("every secret is sealed under the first sealing key: the store needs the others no more", "key", first, "sealed", n)
	}
	return true
}
