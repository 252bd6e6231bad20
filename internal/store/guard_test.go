package store

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// A transaction that has listed a prefix runs again when a key under it is
// added, changed or removed before its commit: for every prefix of a deep key,
// whole segments or not.
func TestPhantoms(t *testing.T) {
	s := open(t)
	const key = "a/b1/c/d/e"
	steps := []struct {
		name          string
		before, other func()
	}{
		{"added", func() { del(t, s, key) }, func() { put(t, s, key, "1") }},
		{"changed", func() { put(t, s, key, "1") }, func() { put(t, s, key, "2") }},
		{"rewritten", func() { put(t, s, key, "1") }, func() { put(t, s, key, "1") }},
		{"removed", func() { put(t, s, key, "1") }, func() { del(t, s, key) }},
		{"removed and added", func() { put(t, s, key, "1") }, func() { del(t, s, key); put(t, s, key, "1") }},
		{"added and removed", func() { del(t, s, key) }, func() { put(t, s, key, "1"); del(t, s, key) }},
	}
	for _, step := range steps {
		for n := range len(key) + 1 {
			t.Run(fmt.Sprintf("%s under %q", step.name, key[:n]), func(t *testing.T) {
				step.before()
				if runs := runsAround(t, s, key[:n], step.other); runs != 2 {
					t.Errorf("%d runs", runs)
				}
			})
		}
	}
}

// What happens elsewhere doesn't disturb.
func TestNoPhantoms(t *testing.T) {
	s := open(t)
	for _, tt := range []struct {
		list  string
		other func()
	}{
		{"a/b/", func() { put(t, s, "a/b", "1") }},
		{"a/b/", func() { put(t, s, "a/c/d", "1"); del(t, s, "a/c/d") }},
		{"a/b", func() { put(t, s, "a/c/d", "1"); del(t, s, "a/c/d") }},
		{"a/b/", func() { put(t, s, "b", "1"); del(t, s, "b") }},
		{"a/b/c/d/", func() { put(t, s, "a/b/x/d", "1"); del(t, s, "a/b/x/d") }},
		{"a/b/c/d/", func() { put(t, s, "a/b/c/e", "1") }},
	} {
		if runs := runsAround(t, s, tt.list, tt.other); runs != 1 {
			t.Errorf("%d runs around %s", runs, tt.list)
		}
	}
}

// runsAround tells how often a transaction runs that lists prefix, when other
// happens between its first run and that run's commit.
func runsAround(t *testing.T, s *Store, prefix string, other func()) int {
	t.Helper()
	runs := 0
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		runs++
		if _, err := tx.List(prefix); err != nil {
			return err
		}
		if runs == 1 {
			other()
		}
		tx.Put("outside", nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

// The markers that a listing compares cover the marker of each key under it.
func TestMarkersCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[ab/]{1,12}`).Draw(t, "key")
		prefix := key[:rapid.IntRange(0, len(key)).Draw(t, "n")]
		m := marker(key)
		exact, below := markersOf(prefix)
		if m != exact && (!below || !strings.HasPrefix(m, prefix)) {
			t.Fatalf("deleting %q marks %q, which listing %q doesn't compare", key, m, prefix)
		}
		if strings.Count(m, "/") > markerDepth || !strings.HasPrefix(key, m) {
			t.Fatalf("the marker of %q is %q", key, m)
		}
	})
}

// Accounts whose sum never changes are emptied, removed and made anew by many
// at once, each of which sees the whole sum; so does a view after each call.
func TestSerializable(t *testing.T) {
	s := open(t)
	const total = 100
	if _, err := s.Update(t.Context(), func(tx *Tx) error { return PutJSON(tx, "acc/0", total) }); err != nil {
		t.Fatal(err)
	}
	view := map[string]int{}
	err := s.Follow(t.Context(), "acc/", func(changes []Change, reset bool) {
		if reset {
			clear(view)
		}
		for _, c := range changes {
			if c.Value == nil {
				delete(view, c.Key)
				continue
			}
			var n int
			fmt.Sscan(string(c.Value), &n)
			view[c.Key] = n
		}
		sum := 0
		for _, n := range view {
			sum += n
		}
		if sum != total {
			t.Errorf("the view's sum is %d at revision %d", sum, changes[len(changes)-1].Revision)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := range 20 {
				if _, err := s.Update(t.Context(), func(tx *Tx) error { return move(t, tx, total, w, i) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// move empties an account into others.
func move(t *testing.T, tx *Tx, total, w, i int) error {
	t.Helper()
	entries, err := tx.List("acc/")
	if err != nil {
		return err
	}
	sum := 0
	for _, e := range entries {
		n, _, err := GetJSON[int](tx, e.Key)
		if err != nil {
			return err
		}
		sum += n
	}
	if sum != total {
		t.Errorf("a transaction sees %d", sum)
	}
	from := entries[(w+i)%len(entries)]
	n, _, err := GetJSON[int](tx, from.Key)
	if err != nil {
		return err
	}
	tx.Delete(from.Key)
	for part, key := range []string{fmt.Sprintf("acc/%d", w), fmt.Sprintf("acc/%d", (i*7+w)%12)} {
		have, _, err := GetJSON[int](tx, key)
		if err != nil {
			have = 0
		}
		give := n / 2
		if part == 1 {
			give = n - n/2
		}
		if have+give == 0 {
			tx.Delete(key)
			continue
		}
		if err := PutJSON(tx, key, have+give); err != nil {
			return err
		}
	}
	return nil
}
