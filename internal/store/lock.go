package store

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Lock is a leased mutual exclusion between replicas. It is kept until Unlock,
// the store's close, or its loss.
type Lock struct {
	s       *Store
	name    string
	key     string // in etcd
	rev     int64  // at which the key was created: what Tx.Require compares
	lease   clientv3.LeaseID
	ttl     time.Duration
	lost    chan struct{}
	release context.CancelFunc
}

// TryLock takes the lock or gives ErrLocked. The lease ends ttl, rounded up to
// seconds, after the holder's death; with the embedded engine, whose restart
// proves the death, at once. key is in a space of its own, apart from the keys
// of transactions. ctx bounds the taking only.
func (s *Store) TryLock(ctx context.Context, key string, ttl time.Duration) (_ *Lock, err error) {
	if key == "" {
		return nil, errEmptyKey
	}
	if ttl <= 0 {
		return nil, fmt.Errorf("store: a lock can't be held for %s", ttl)
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	defer s.metrics.observe(opLock, time.Now(), &err)
	seconds := int64((ttl + time.Second - 1) / time.Second)
	l := &Lock{s: s, name: key, key: s.keys.lock(key), lost: make(chan struct{})}
	granted := time.Now()
	lease, err := s.client.Grant(ctx, seconds)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", key, s.wrap(ctx, err))
	}
	l.lease, l.ttl = lease.ID, time.Duration(lease.TTL)*time.Second
	resp, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(l.key), "=", 0)).
		Then(clientv3.OpPut(l.key, "", clientv3.WithLease(l.lease))).
		Commit()
	if err != nil || !resp.Succeeded {
		l.revoke()
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", key, s.wrap(ctx, err))
		}
		return nil, fmt.Errorf("%w: %s", ErrLocked, key)
	}
	l.rev = resp.Header.GetRevision()
	var held context.Context
	held, l.release = context.WithCancel(s.ctx)
	// The call is still counted, so Close can't have begun to wait.
	s.tasks.Go(func() { l.keep(held, granted.Add(l.ttl)) })
	return l, nil
}

// keep renews the lease until the lock is released or the lease can't be
// renewed in time. Its end is reckoned from before each request, so it is never
// later here than in the cluster.
func (l *Lock) keep(held context.Context, ends time.Time) {
	defer close(l.lost)
	defer l.release()
	ticker := time.NewTicker(l.ttl / 3)
	defer ticker.Stop()
	for {
		timeout := time.NewTimer(time.Until(ends))
		select {
		case <-held.Done():
			timeout.Stop()
			l.revoke()
			return
		case <-timeout.C:
			return
		case <-ticker.C:
			timeout.Stop()
		}
		asked := time.Now()
		ctx, cancel := context.WithDeadline(held, ends)
		resp, err := l.s.client.KeepAliveOnce(ctx, l.lease)
		cancel()
		switch {
		case err == nil && resp.TTL > 0:
			ends = asked.Add(time.Duration(resp.TTL) * time.Second)
		case isGone(err):
			l.s.log.Warn("a lock's lease has ended", "lock", l.name)
			return
		case held.Err() == nil:
			l.s.log.Warn("renewing a lock failed", "lock", l.name, "error", err)
		}
	}
}

// revoke ends the lease, best effort: it ends by itself too.
func (l *Lock) revoke() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := l.s.client.Revoke(ctx, l.lease); err != nil && !isGone(err) {
		l.s.log.Warn("giving back a lock failed; its lease will end by itself", "lock", l.name, "error", err)
	}
}

// Lost is closed when the lease has ended, or the lock was given back, and no
// later. Writes that depend on the lock still should use Tx.Require.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Unlock gives the lock back; again is harmless.
func (l *Lock) Unlock(ctx context.Context) error {
	l.release()
	select {
	case <-l.lost:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
