package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is what the store should hold: a map, and its past by revision.
type model struct {
	t    *testing.T
	s    *Store
	root string // every key of one run starts with it
	now  map[string]string
	past map[int64]map[string]string
	view *mirror // of all keys
	late []*mirror
}

// Whatever is done to it, the store holds what a map would, now and at every
// revision, and so do the views.
func TestStoreIsAMap(t *testing.T) {
	s := open(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &model{t: t, s: s, root: fmt.Sprintf("run%d/", run), now: map[string]string{}, past: map[int64]map[string]string{}}
		m.view = follow(t, s, m.root)
		rt.Repeat(map[string]func(*rapid.T){
			"":       m.check,
			"update": m.update,
			"create": m.create,
			"fail":   m.fail,
			"get":    m.get,
			"page":   m.page,
			"past":   m.readPast,
			"follow": m.follow,
		})
	})
}

var segment = rapid.SampledFrom([]string{"a", "b", "ab", "\x00", "é"})

func (m *model) key(t *rapid.T) string {
	return m.root + strings.Join(rapid.SliceOfN(segment, 1, 5).Draw(t, "key"), "/")
}

// prefix draws a prefix of a key, whole segments or not.
func (m *model) prefix(t *rapid.T) string {
	key := m.key(t)
	return key[:rapid.IntRange(len(m.root), len(key)).Draw(t, "length")]
}

func value(t *rapid.T) string { return rapid.StringN(0, 5, -1).Draw(t, "value") }

func within(state map[string]string, prefix string) map[string]string {
	out := map[string]string{}
	for k, v := range state {
		if strings.HasPrefix(k, prefix) {
			out[k] = v
		}
	}
	return out
}

func toMap(entries []Entry) map[string]string {
	out := map[string]string{}
	for _, e := range entries {
		out[e.Key] = string(e.Value)
	}
	return out
}

func equal(t *rapid.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s: %s", what, diff)
	}
}

// check runs after every step.
func (m *model) check(t *rapid.T) {
	equal(t, "view", m.now, m.view.now())
	for _, late := range m.late {
		equal(t, "later view", m.now, late.now())
	}
	page, err := m.s.List(m.t.Context(), m.root, ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "list", m.now, toMap(page.Entries))
}

// update runs a transaction of several reads and writes.
func (m *model) update(t *rapid.T) {
	n := rapid.IntRange(1, 8).Draw(t, "steps")
	next := maps.Clone(m.now)
	rev, err := m.s.Update(m.t.Context(), func(tx *Tx) error {
		for range n {
			switch rapid.SampledFrom([]string{"put", "put", "delete", "get", "list"}).Draw(t, "step") {
			case "put":
				k, v := m.key(t), value(t)
				tx.Put(k, []byte(v))
				next[k] = v
			case "delete":
				k := m.key(t)
				tx.Delete(k)
				delete(next, k)
			case "get":
				k := m.key(t)
				want, there := next[k]
				e, err := tx.Get(k)
				if there != (err == nil) || string(e.Value) != want {
					t.Fatalf("get of %q gives %q, %v; want %q, %v", k, e.Value, err, want, there)
				}
			case "list":
				p := m.prefix(t)
				entries, err := tx.List(p)
				if err != nil {
					return err
				}
				equal(t, "list in a transaction", within(next, p), toMap(entries))
				if !slices.IsSortedFunc(entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) }) {
					t.Fatalf("not in order: %q", keysOf(entries))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.now = next
	if rev > 0 {
		m.past[rev] = maps.Clone(next)
	}
}

func (m *model) create(t *rapid.T) {
	k, v := m.key(t), value(t)
	taken := errors.New("taken")
	rev, err := m.s.Update(m.t.Context(), func(tx *Tx) error { return tx.Create(k, []byte(v), taken) })
	if _, there := m.now[k]; there {
		if !errors.Is(err, taken) {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.now[k] = v
	m.past[rev] = maps.Clone(m.now)
}

// fail runs a transaction whose error undoes it.
func (m *model) fail(t *rapid.T) {
	k, mine := m.key(t), errors.New("mine")
	_, err := m.s.Update(m.t.Context(), func(tx *Tx) error {
		tx.Put(k, []byte("never"))
		tx.Delete(m.key(t))
		return mine
	})
	if !errors.Is(err, mine) {
		t.Fatal(err)
	}
}

func (m *model) get(t *rapid.T) {
	k := m.key(t)
	want, there := m.now[k]
	e, err := m.s.Get(m.t.Context(), k)
	if there != (err == nil) || !there && !errors.Is(err, ErrNotFound) || string(e.Value) != want {
		t.Fatalf("get of %q gives %q, %v; want %q, %v", k, e.Value, err, want, there)
	}
}

// page lists page by page.
func (m *model) page(t *rapid.T) {
	prefix := m.prefix(t)
	opts := ListOptions{Limit: rapid.IntRange(1, 4).Draw(t, "limit")}
	got := map[string]string{}
	for {
		page, err := m.s.List(m.t.Context(), prefix, opts)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) > opts.Limit || page.More && len(page.Entries) != opts.Limit {
			t.Fatalf("%d entries, more %v", len(page.Entries), page.More)
		}
		maps.Copy(got, toMap(page.Entries))
		if !page.More {
			break
		}
		opts.After, opts.Revision = page.Entries[len(page.Entries)-1].Key, page.Revision
	}
	equal(t, "pages", within(m.now, prefix), got)
}

func (m *model) readPast(t *rapid.T) {
	if len(m.past) == 0 {
		t.Skip("no past")
	}
	rev := rapid.SampledFrom(slices.Sorted(maps.Keys(m.past))).Draw(t, "revision")
	page, err := m.s.List(m.t.Context(), m.root, ListOptions{Revision: rev})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, fmt.Sprintf("revision %d", rev), m.past[rev], toMap(page.Entries))
}

func (m *model) follow(t *rapid.T) {
	if len(m.late) == 3 {
		t.Skip("enough views")
	}
	m.late = append(m.late, follow(m.t, m.s, m.root))
}
