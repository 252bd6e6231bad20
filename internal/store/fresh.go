package store

import (
	"context"
	"fmt"
	"time"
)

// Fresh returns nil while the views are at most StaleAfter behind the cluster,
// else ErrStale. It reads memory only.
//
// The views' age is counted from a proof: a linearizable reading of the
// cluster's revision, begun at some time, after which the views were seen to
// have that revision. A watch that has merely fallen silent proves nothing.
func (s *Store) Fresh() error {
	proved := s.views.proved.Load()
	if proved == never {
		return fmt.Errorf("%w: the store is closed", ErrStale)
	}
	if age := s.views.age(); age > s.cfg.StaleAfter {
		return ErrStale
	}
	return nil
}

// age is how long ago the last proof began; a clock that was set back gives 0.
func (v *views) age() time.Duration {
	return max(0, v.s.cfg.Now().Sub(v.opened)-time.Duration(v.proved.Load()))
}

// close makes Fresh fail.
func (v *views) close() { v.proved.Store(never) }

// heartbeat proves the views' freshness again and again.
func (v *views) heartbeat(ctx context.Context) {
	period := min(v.s.cfg.StaleAfter/8, time.Second)
	ticker := time.NewTicker(max(period, time.Millisecond))
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		// A proof that takes longer would not make the views fresh.
		limited, cancel := context.WithTimeout(ctx, v.s.cfg.StaleAfter)
		err := v.prove(limited)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			v.s.log.Warn("the store's views can't be proved fresh", "error", err, "age", v.age())
		case err == nil && failing:
			v.s.log.Info("the store's views are fresh again")
		}
		failing = err != nil
	}
}

// prove reads the cluster's revision and waits for the views to have it.
func (v *views) prove(ctx context.Context) error {
	began := v.s.cfg.Now().Sub(v.opened)
	before := v.revision()
	cluster, rev, err := v.s.revision(ctx)
	if err != nil {
		return err
	}
	if cluster != v.cluster.Load() || rev < before {
		// A watch from a revision that this cluster doesn't have would wait,
		// silently, until it does.
		select {
		case v.lost <- fmt.Errorf("%w: cluster %x at revision %d, was %x at %d", errRestored, cluster, rev, v.cluster.Load(), before):
		default:
		}
		return errRestored
	}
	for v.revision() < rev {
		if err := v.s.client.RequestProgress(watchContext(ctx)); err != nil {
			return err
		}
		if err := v.awaitChange(ctx, rev); err != nil {
			return err
		}
	}
	v.proved.Store(int64(began))
	return nil
}

// progressInterval is how long an answer to a request for progress is awaited
// before the next: a member that is catching up doesn't answer.
const progressInterval = 100 * time.Millisecond

// awaitChange returns when the views have rev, or it is time to ask again.
func (v *views) awaitChange(ctx context.Context, rev int64) error {
	t := time.NewTimer(progressInterval)
	defer t.Stop()
	for {
		v.mu.Lock()
		applied, changed := v.applied, v.changed
		v.mu.Unlock()
		if applied >= rev {
			return nil
		}
		select {
		case <-changed:
		case <-t.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
