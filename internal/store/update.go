package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// maxAttempts bounds how often f runs.
	maxAttempts = 64
	// politeAttempts is after how many losses a transaction queues behind the
	// other losers of its process.
	politeAttempts = 3
	// maxBackoff bounds the pause between attempts.
	maxBackoff = 50 * time.Millisecond
)

// Update runs f in an optimistic transaction: what f read is compared when its
// writes are committed, and f runs again when it has changed. f must have no
// other effects, and must not call the store but through tx. Update gives the
// commit's revision, and returns when this process's own views have it. A
// transaction without writes gives the revision that it read.
//
// An error of f ends it and nothing is written. After any other error the
// outcome may be open: the cluster may have committed without being able to
// say so. When the commit is known and the views don't follow in time, Update
// gives the revision and an error that is ErrStale, or the context's.
func (s *Store) Update(ctx context.Context, f func(tx *Tx) error) (_ int64, err error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	defer s.metrics.observe(opUpdate, time.Now(), &err)
	ctx, span := s.cfg.Tracer.Start(ctx, "transaction")
	defer span.End()
	pins := map[string]int64{}
	for attempt := range maxAttempts {
		if attempt == politeAttempts {
			select {
			case s.contended <- struct{}{}:
				defer func() { <-s.contended }()
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
		tx := newTx(ctx, s, pins)
		err := f(tx)
		if errors.Is(tx.err, ErrCompacted) { // f took longer than the retention
			continue
		}
		if err == nil {
			err = tx.err
		}
		if err != nil {
			return 0, err
		}
		rev, committed, err := tx.commit()
		if err != nil {
			return 0, err
		}
		if committed {
			span.SetInt("lanyard.store.revision", rev)
			span.SetInt("lanyard.store.attempts", int64(attempt+1))
			return rev, s.views.wait(ctx, rev)
		}
		s.metrics.conflicts.Inc()
		if err := pause(ctx, attempt); err != nil {
			return 0, err
		}
	}
	return 0, ErrConflict
}

// Wait returns when this process's own views have a revision that a reading or
// another process's commit gave; at once for one that they have. It fails with
// ErrStale when they don't get there in StaleAfter.
func (s *Store) Wait(ctx context.Context, revision int64) error {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.views.wait(ctx, revision)
}

// pause waits a random time that grows with the attempts.
func pause(ctx context.Context, attempt int) error {
	limit := min(time.Millisecond<<min(attempt, 10), maxBackoff)
	t := time.NewTimer(rand.N(limit)) //nolint:gosec // nobody gains by guessing it
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// commit compares and writes; false: something that f read has changed.
func (tx *Tx) commit() (rev int64, committed bool, err error) {
	if len(tx.writes) == 0 {
		return tx.rev, true, nil // all reads were of one snapshot
	}
	compares, ops := tx.compares(), tx.ops()
	if size := requestSize(compares, ops); size > MaxBytes {
		return 0, false, fmt.Errorf("%w: the transaction has %d bytes, at most %d are possible", ErrTooLarge, size, MaxBytes)
	}
	if len(ops) > MaxOps || len(compares) > MaxOps {
		return 0, false, fmt.Errorf("%w: the transaction has %d writes and %d comparisons, at most %d of each are possible", ErrTooLarge, len(ops), len(compares), MaxOps)
	}
	puts := func(w write) bool { return !w.delete }
	if e := tx.s.engine; e != nil && slices.ContainsFunc(slices.Collect(maps.Values(tx.writes)), puts) && !e.hasRoom() {
		return 0, false, tx.s.errFull()
	}
	if tx.ctx.Err() != nil { // f took long: nothing is written for who has gone
		return 0, false, context.Cause(tx.ctx)
	}
	resp, err := tx.s.client.Txn(tx.ctx).If(compares...).Then(ops...).Commit()
	if err != nil {
		return 0, false, fmt.Errorf("committing: %w", tx.s.wrap(tx.ctx, err))
	}
	return resp.Header.GetRevision(), resp.Succeeded, nil
}

// requestSize is at least the size of the request that etcd will see.
func requestSize(compares []clientv3.Cmp, ops []clientv3.Op) int {
	const each = 64 // the framing of a comparison or a write, and its numbers
	size := each * (1 + len(compares) + len(ops))
	for i := range compares {
		size += 2 * len(compares[i].KeyBytes()) // the end of a range is as long
	}
	for i := range ops {
		size += len(ops[i].KeyBytes()) + len(ops[i].ValueBytes())
	}
	return size
}

// compares are the conditions under which all that f read still holds.
func (tx *Tx) compares() []clientv3.Cmp {
	var out []clientv3.Cmp
	for key, e := range tx.reads {
		listed := func(prefix string) bool { return strings.HasPrefix(key, prefix) }
		if !slices.ContainsFunc(tx.lists, listed) {
			out = append(out, clientv3.Compare(clientv3.ModRevision(tx.s.keys.data(key)), "=", e.Revision))
		}
	}
	unchanged := func(etcdKey string) clientv3.Cmp {
		return clientv3.Compare(clientv3.ModRevision(etcdKey), "<", tx.rev+1)
	}
	for _, prefix := range tx.lists {
		exact, below := markersOf(prefix)
		out = append(out,
			unchanged(tx.s.keys.data(prefix)).WithPrefix(),
			unchanged(tx.s.keys.removed(exact)))
		if below {
			out = append(out, unchanged(tx.s.keys.removed(prefix)).WithPrefix())
		}
	}
	for _, l := range tx.locks {
		out = append(out, clientv3.Compare(clientv3.CreateRevision(l.key), "=", l.rev))
	}
	return out
}

// ops are the writes in key order, and a marker for each directory in which
// something is deleted.
func (tx *Tx) ops() []clientv3.Op {
	var out []clientv3.Op
	markers := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(tx.writes)) {
		w := tx.writes[key]
		if !w.delete {
			out = append(out, clientv3.OpPut(tx.s.keys.data(key), string(w.value)))
			continue
		}
		out = append(out, clientv3.OpDelete(tx.s.keys.data(key)))
		if dir := marker(key); !markers[dir] {
			markers[dir] = true
			out = append(out, clientv3.OpPut(tx.s.keys.removed(dir), ""))
		}
	}
	return out
}
