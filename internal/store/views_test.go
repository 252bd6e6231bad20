package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mirror is a follower that keeps what it was fed. It fails the test when
// changes come out of order or a transaction comes in pieces.
type mirror struct {
	t  testing.TB
	mu sync.Mutex

	state  map[string]string
	resets int
	calls  int
	last   int64
}

func follow(tb testing.TB, s *Store, prefix string) *mirror {
	tb.Helper()
	m := &mirror{t: tb, state: map[string]string{}}
	if err := s.Follow(tb.Context(), prefix, m.apply); err != nil {
		tb.Fatal(err)
	}
	return m
}

func (m *mirror) apply(changes []Change, reset bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if reset {
		clear(m.state)
		m.resets++
		m.last = 0
	}
	for i, c := range changes {
		if !reset {
			if i == 0 && c.Revision <= m.last {
				m.t.Errorf("revision %d is fed after %d", c.Revision, m.last)
			}
			if c.Revision < m.last {
				m.t.Errorf("revision %d is fed after %d", c.Revision, m.last)
			}
		}
		m.last = max(m.last, c.Revision)
		if c.Value == nil {
			delete(m.state, c.Key)
		} else {
			m.state[c.Key] = string(c.Value)
		}
	}
}

// now gives a copy of the state.
func (m *mirror) now() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.state)
}

func (m *mirror) expect(tb testing.TB, want map[string]string) {
	tb.Helper()
	if diff := cmp.Diff(want, m.now()); diff != "" {
		tb.Error(diff)
	}
}

func TestFollow(t *testing.T) {
	s := open(t)
	put(t, s, "a/1", "1", "a/2", "", "b/1", "x")
	all, a, b, none := follow(t, s, ""), follow(t, s, "a/"), follow(t, s, "b"), follow(t, s, "c")
	a.expect(t, map[string]string{"a/1": "1", "a/2": ""})
	none.expect(t, map[string]string{})
	calls := b.calls
	// What Update wrote is in the views when it returns.
	put(t, s, "a/3", "3")
	a.expect(t, map[string]string{"a/1": "1", "a/2": "", "a/3": "3"})
	del(t, s, "a/1", "absent")
	a.expect(t, map[string]string{"a/2": "", "a/3": "3"})
	if b.calls != calls {
		t.Error("a follower is told of what it doesn't follow")
	}
	put(t, s, "b/1", "y", "a/2", "2")
	all.expect(t, map[string]string{"a/2": "2", "a/3": "3", "b/1": "y"})
	a.expect(t, map[string]string{"a/2": "2", "a/3": "3"})
	b.expect(t, map[string]string{"b/1": "y"})
	none.expect(t, map[string]string{})
	for _, m := range []*mirror{all, a, b, none} {
		if m.resets != 1 {
			t.Errorf("%d resets", m.resets)
		}
	}
}

// Deleting what is absent changes nothing that a view sees; Update returns all
// the same.
func TestUpdateWithoutEffect(t *testing.T) {
	s := open(t)
	m := follow(t, s, "")
	calls := m.calls
	del(t, s, "absent")
	if m.calls != calls {
		t.Error("the view was told")
	}
}

// A follower that comes while others write misses nothing and sees nothing twice.
func TestFollowWhileWriting(t *testing.T) {
	s := open(t)
	const writers, each = 4, 60
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprintf("k/%d/%d", w, i%7)
				if i%5 == 4 {
					del(t, s, key)
				} else {
					put(t, s, key, fmt.Sprint(i))
				}
			}
		})
	}
	var mirrors []*mirror
	for range 20 {
		mirrors = append(mirrors, follow(t, s, "k/"))
	}
	wg.Wait()
	page, err := s.List(t.Context(), "k/", ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, e := range page.Entries {
		want[e.Key] = string(e.Value)
	}
	for _, m := range mirrors {
		m.expect(t, want)
	}
}

// What is written while a follower's state is read, before or after it was read,
// is not lost.
func TestChangesWhileLoading(t *testing.T) {
	s := open(t)
	put(t, s, "a", "1", "b", "1", "c", "1")
	m := &mirror{t: t, state: map[string]string{}}
	fl := &follower{f: m.apply}
	if err := s.views.do(t.Context(), func() { s.views.admit(fl) }); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", "2")
	page, err := s.listAt(t.Context(), "", ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "b", "2")
	del(t, s, "c")
	if m.calls != 0 {
		t.Error("fed before it was loaded")
	}
	if err := s.views.do(t.Context(), func() { fl.load(page) }); err != nil {
		t.Fatal(err)
	}
	m.expect(t, map[string]string{"a": "2", "b": "2"})
	put(t, s, "c", "3")
	m.expect(t, map[string]string{"a": "2", "b": "2", "c": "3"})
}

// All changes of a transaction come in one call.
func TestTransactionComesWhole(t *testing.T) {
	s := open(t)
	sizes := map[int64]int{}
	err := s.Follow(t.Context(), "", func(changes []Change, reset bool) {
		seen := map[int64]int{}
		for _, c := range changes {
			seen[c.Revision]++
		}
		for rev, n := range seen {
			if sizes[rev] != 0 {
				t.Errorf("revision %d comes in pieces", rev)
			}
			sizes[rev] = n
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		rev, err := s.Update(t.Context(), func(tx *Tx) error {
			for i := range MaxOps {
				tx.Put(fmt.Sprint("k", i), []byte(strings.Repeat("x", 10_000)))
			}
			return nil
		})
		if err != nil || sizes[rev] != MaxOps {
			t.Errorf("%d changes of revision %d, %v", sizes[rev], rev, err)
		}
	}
}

// A view that falls behind what is kept is told the whole state anew.
func TestResetAfterCompaction(t *testing.T) {
	s := open(t)
	rev := put(t, s, "a/gone", "1", "a/kept", "1", "b", "1")
	del(t, s, "a/gone")
	put(t, s, "a/new", "1")
	put(t, s, "a/kept", "2")
	if _, err := s.client.Compact(t.Context(), s.views.revision()); err != nil {
		t.Fatal(err)
	}
	// Views of this store that stand at an old revision, as after a long
	// separation.
	v, err := newViews(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	v.applied = rev
	a, b := &mirror{t: t, state: map[string]string{"a/gone": "1", "a/kept": "1"}}, &mirror{t: t, state: map[string]string{"b": "1"}}
	v.followers = []*follower{{prefix: "a/", f: a.apply, since: rev}, {prefix: "b", f: b.apply, since: rev}}
	s.tasks.Go(func() { v.run(s.ctx) })
	if err := v.wait(t.Context(), s.views.revision()); err != nil {
		t.Fatal(err)
	}
	a.expect(t, map[string]string{"a/new": "1", "a/kept": "2"})
	b.expect(t, map[string]string{"b": "1"})
	if a.resets != 1 || b.resets != 1 {
		t.Errorf("%d and %d resets", a.resets, b.resets)
	}
	// The watch goes on from there.
	last := put(t, s, "a/new", "2")
	if err := v.wait(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	a.expect(t, map[string]string{"a/new": "2", "a/kept": "2"})
}

// A reset that comes while a follower is being loaded is not lost, whichever of
// the two states is the later.
func TestResetWhileLoading(t *testing.T) {
	entry := func(key string, rev int64) Entry { return Entry{Key: key, Value: []byte("v"), Revision: rev} }
	change := func(key string, rev int64) Change { return Change{Key: key, Value: []byte("v"), Revision: rev} }
	for _, tt := range []struct {
		name    string
		loaded  Page
		backlog []batch
		want    []string
	}{
		{"nothing meanwhile", Page{Revision: 5, Entries: []Entry{entry("a", 3)}}, nil, []string{"a"}},
		{"older and newer changes", Page{Revision: 5, Entries: []Entry{entry("a", 3)}},
			[]batch{{changes: []Change{{Key: "a", Revision: 2}, change("old", 4)}}, {changes: []Change{change("b", 6)}}},
			[]string{"a", "b"}},
		{"reset after the reading", Page{Revision: 5, Entries: []Entry{entry("a", 3)}},
			[]batch{{changes: []Change{change("r", 7)}, reset: true, rev: 8}, {changes: []Change{change("s", 9)}}},
			[]string{"r", "s"}},
		{"reset before the reading", Page{Revision: 9, Entries: []Entry{entry("r", 7), entry("s", 9)}},
			[]batch{{changes: []Change{change("r", 7)}, reset: true, rev: 8}, {changes: []Change{change("s", 9)}}},
			[]string{"r", "s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &mirror{t: t, state: map[string]string{}}
			fl := &follower{f: m.apply, loading: true}
			for _, b := range tt.backlog {
				fl.feed(b)
			}
			fl.load(tt.loaded)
			if diff := cmp.Diff(tt.want, slices.Sorted(maps.Keys(m.state))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// blocked is a follower that doesn't return until the test lets it.
func blocked(t *testing.T, s *Store) (release func()) {
	t.Helper()
	gate := make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	entered := make(chan struct{})
	var once sync.Once
	err := s.Follow(t.Context(), "block", func(_ []Change, reset bool) {
		if !reset {
			once.Do(func() { close(entered) })
			<-gate
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Put(t.Context(), s.keys.data("block"), ""); err != nil {
		t.Fatal(err)
	}
	<-entered
	return release
}

// Update doesn't wait for ever for views that don't move: it tells that the
// commit is done, and what is wrong.
func TestUpdateWithStuckViews(t *testing.T) {
	s := open(t, func(c *Config) { c.StaleAfter = 50 * time.Millisecond })
	release := blocked(t, s)
	rev, err := s.Update(t.Context(), func(tx *Tx) error { tx.Put("a", nil); return nil })
	if !errors.Is(err, ErrStale) || rev == 0 {
		t.Errorf("revision %d, %v", rev, err)
	}
	if _, err := s.Get(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	release()
	eventually(t, "views that follow", func() bool {
		_, err := s.Update(t.Context(), func(tx *Tx) error { tx.Put("c", nil); return nil })
		return err == nil
	})
}

// Nor longer than its caller.
func TestUpdateGivenUp(t *testing.T) {
	s := open(t)
	release := blocked(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	result := make(chan error)
	go func() {
		_, err := s.Update(ctx, func(tx *Tx) error { tx.Put("b", nil); return nil })
		result <- err
	}()
	eventually(t, "the commit", func() bool { _, err := s.Get(t.Context(), "b"); return err == nil })
	cancel(gone)
	if err := <-result; !errors.Is(err, gone) {
		t.Error(err)
	}
	release()
	put(t, s, "c", "")
}

// A follower whose loading fails is not fed.
func TestFollowFails(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	release := blocked(t, s)
	result := make(chan error)
	go func() {
		result <- s.Follow(ctx, "", func([]Change, bool) { t.Error("fed") })
	}()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	release()
	put(t, s, "a", "1")
}
