package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Change is one change that a view applies.
type Change struct {
	// Key is the key without the store's prefix.
	Key string
	// Value is what was put, nil: deleted. It is shared and must not be modified.
	Value []byte
	// Revision is that of the change.
	Revision int64
}

// views follows the one watch of a store and feeds the followers. All
// followers, and all calls of their functions, belong to the goroutine of run.
type views struct {
	s     *Store
	calls chan func()   // what run shall do between two batches
	lost  chan error    // why the followers need the whole state anew
	ended chan struct{} // closed when run has returned

	followers []*follower
	cluster   atomic.Uint64 // the etcd cluster's identity

	mu      sync.Mutex
	applied int64         // every change up to this revision is in every view
	changed chan struct{} // closed, and replaced, when applied grows

	opened time.Time
	// proved is when the views were last known to be current, in nanoseconds
	// since opened; never when they are not to be trusted at all.
	proved atomic.Int64
}

const never = -1 << 62

type follower struct {
	prefix string
	f      func(changes []Change, reset bool)
	// since is the revision of the state that f was given; older changes are in it.
	since int64
	// loading: the state is being read; changes are kept in backlog meanwhile.
	loading bool
	backlog []batch
}

// batch is what one answer of the watch, or a re-reading, brought.
type batch struct {
	changes []Change
	reset   bool
	rev     int64 // of a reset
}

func newViews(ctx context.Context, s *Store) (*views, error) {
	cluster, rev, err := s.revision(ctx)
	if err != nil {
		return nil, err
	}
	v := &views{
		s:       s,
		calls:   make(chan func()),
		lost:    make(chan error, 1),
		ended:   make(chan struct{}),
		applied: rev,
		changed: make(chan struct{}),
		opened:  s.cfg.Now(),
	}
	v.cluster.Store(cluster)
	v.proved.Store(never)
	return v, nil
}

// Follow feeds f every present key under prefix, then every later change, in
// revision order; it returns when f has had the present state. ctx bounds that
// only: f is fed until the store closes. All followers of a store are fed from
// one goroutine.
//
// reset is true for the first call, and whenever the watch was lost past
// compaction or the cluster was restored: f must then forget all and take
// changes, which are in key order, as the whole state. The changes of one
// transaction come in one call. f must be quick, since Update waits for it, and
// must not call the store. It is not called when nothing under prefix changed.
func (s *Store) Follow(ctx context.Context, prefix string, f func(changes []Change, reset bool)) (err error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	defer s.metrics.observe(opFollow, time.Now(), &err)
	v := s.views
	fl := &follower{prefix: prefix, f: f}
	// Changes are kept from before the reading on, so that none falls between.
	if err := v.do(ctx, func() { v.admit(fl) }); err != nil {
		return err
	}
	page, err := s.listAt(ctx, prefix, ListOptions{})
	if err == nil {
		err = v.do(ctx, func() { fl.load(page) })
	}
	if err != nil {
		_ = v.do(s.ctx, func() { v.remove(fl) }) // fails only when the store closes
		return fmt.Errorf("following %s: %w", prefix, err)
	}
	return nil
}

// do has run call fn, and returns when it did.
func (v *views) do(ctx context.Context, fn func()) error {
	done := make(chan struct{})
	select {
	case v.calls <- func() { fn(); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-v.ended:
		return ErrClosed
	}
}

// admit makes fl keep changes until it is loaded.
func (v *views) admit(fl *follower) {
	fl.loading = true
	v.followers = append(v.followers, fl)
}

func (v *views) remove(fl *follower) {
	for i, other := range v.followers {
		if other == fl {
			v.followers = append(v.followers[:i], v.followers[i+1:]...)
			return
		}
	}
}

// load gives f the state that was read, then what happened meanwhile.
func (fl *follower) load(page Page) {
	changes := make([]Change, 0, len(page.Entries))
	for _, e := range page.Entries {
		changes = append(changes, Change{Key: e.Key, Value: nonNil(e.Value), Revision: e.Revision})
	}
	fl.loading = false
	fl.since = page.Revision
	fl.f(changes, true)
	for _, b := range fl.backlog {
		fl.feed(b)
	}
	fl.backlog = nil
}

// feed gives f what of a batch is new and under its prefix.
func (fl *follower) feed(b batch) {
	if fl.loading {
		fl.backlog = append(fl.backlog, b)
		return
	}
	if b.reset {
		fl.since = b.rev
		fl.f(under(b.changes, fl.prefix, 0), true)
		return
	}
	if changes := under(b.changes, fl.prefix, fl.since); len(changes) > 0 {
		fl.f(changes, false)
	}
}

// under gives the changes under prefix after a revision; it copies only when
// something is left out.
func under(changes []Change, prefix string, since int64) []Change {
	fits := func(c Change) bool { return c.Revision > since && strings.HasPrefix(c.Key, prefix) }
	n := 0
	for _, c := range changes {
		if fits(c) {
			n++
		}
	}
	if n == len(changes) || n == 0 {
		return changes[:n]
	}
	out := make([]Change, 0, n)
	for _, c := range changes {
		if fits(c) {
			out = append(out, c)
		}
	}
	return out
}

// run follows the watch until ctx ends.
func (v *views) run(ctx context.Context) {
	defer close(v.ended)
	for attempt := 0; ctx.Err() == nil; attempt++ {
		before := v.revision()
		err := v.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		if v.revision() != before {
			attempt = 0
		}
		v.s.metrics.watchLosses.Inc()
		v.s.log.Warn("the store's watch was lost", "error", err, "revision", v.revision())
		if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errRestored) || errors.Is(err, errRekeyed) {
			err = v.reset(ctx)
			if err == nil {
				continue
			}
			v.s.log.Warn("re-reading the store failed", "error", err)
		}
		v.idle(ctx, attempt)
	}
}

// errRestored: the cluster is another one, or has gone back in time.
var errRestored = errors.New("the cluster was restored")

// errRekeyed: values that could not be opened may be opened now.
var errRekeyed = errors.New("the sealing keys were replaced")

// watch feeds followers until the watch ends.
func (v *views) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(watchContext(ctx))
	defer cancel()
	answers := v.s.client.Watch(ctx, v.s.keys.prefix, clientv3.WithPrefix(), clientv3.WithRev(v.revision()+1))
	for {
		select {
		case answer, ok := <-answers:
			if !ok {
				return errors.New("the watch ended")
			}
			if err := answer.Err(); err != nil {
				return err
			}
			v.apply(answer)
		case call := <-v.calls:
			call()
		case why := <-v.lost:
			return why
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watchContext marks the stream of the watch: a member that is cut off from
// the leader then ends it rather than falling silent.
func watchContext(ctx context.Context) context.Context { return clientv3.WithRequireLeader(ctx) }

// apply feeds one answer of the watch. An answer holds whole transactions only.
func (v *views) apply(answer clientv3.WatchResponse) {
	if answer.IsProgressNotify() {
		v.advance(answer.Header.GetRevision())
		return
	}
	if len(answer.Events) == 0 {
		return
	}
	changes := make([]Change, 0, len(answer.Events))
	for _, event := range answer.Events {
		key, ok := v.s.keys.key(event.Kv.Key)
		if !ok {
			continue
		}
		c := Change{Key: key, Revision: event.Kv.ModRevision}
		if event.Type == mvccpb.Event_PUT {
			c.Value = nonNil(event.Kv.Value)
		}
		changes = append(changes, c)
	}
	if len(changes) > 0 {
		v.feed(batch{changes: changes})
	}
	// The header may be ahead of the events, so the last of these counts.
	v.advance(answer.Events[len(answer.Events)-1].Kv.ModRevision)
}

func (v *views) feed(b batch) {
	for _, fl := range v.followers {
		fl.feed(b)
	}
}

// nonNil: only a deletion has a nil value.
func nonNil(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// reset gives every follower the whole state anew.
func (v *views) reset(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	cluster, _, err := v.s.revision(ctx)
	if err != nil {
		return err
	}
	page, err := v.s.listAt(ctx, "", ListOptions{})
	if err != nil {
		return err
	}
	changes := make([]Change, 0, len(page.Entries))
	for _, e := range page.Entries {
		changes = append(changes, Change{Key: e.Key, Value: nonNil(e.Value), Revision: e.Revision})
	}
	v.feed(batch{changes: changes, reset: true, rev: page.Revision})
	v.cluster.Store(cluster)
	v.mu.Lock()
	v.applied = page.Revision // may be less than before: the cluster was restored
	close(v.changed)
	v.changed = make(chan struct{})
	v.mu.Unlock()
	v.s.metrics.resets.Inc()
	return nil
}

// idle waits before the next attempt, and goes on serving calls.
func (v *views) idle(ctx context.Context, attempt int) {
	t := time.NewTimer(min(10*time.Millisecond<<min(attempt, 10), time.Second))
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case call := <-v.calls:
			call()
		case <-ctx.Done():
			return
		}
	}
}

func (v *views) revision() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.applied
}

// advance notes that all changes up to rev have been fed.
func (v *views) advance(rev int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if rev > v.applied {
		v.applied = rev
		close(v.changed)
		v.changed = make(chan struct{})
	}
}

// wait returns when the views have the revision, or with ErrStale when they
// don't get there in time.
func (v *views) wait(ctx context.Context, rev int64) error {
	start := time.Now()
	var timeout *time.Timer
	for {
		v.mu.Lock()
		applied, changed := v.applied, v.changed
		v.mu.Unlock()
		if applied >= rev {
			v.s.metrics.viewLag.Observe(time.Since(start).Seconds())
			return nil
		}
		if timeout == nil {
			timeout = time.NewTimer(v.s.cfg.StaleAfter)
			defer timeout.Stop()
		}
		select {
		case <-changed:
		case <-timeout.C:
			return fmt.Errorf("%w: revision %d is committed, but this process's views are at %d", ErrStale, rev, applied)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
