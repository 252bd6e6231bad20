package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func keysOf(entries []Entry) []string {
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Key)
	}
	return out
}

func TestGet(t *testing.T) {
	s := open(t)
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), ""); err == nil || errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	first := put(t, s, "a", "1")
	second := put(t, s, "a", "2", "b", "")
	got, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	want := Entry{Key: "a", Value: []byte("2"), Revision: second, Created: first}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if second <= first {
		t.Errorf("revisions %d, %d", first, second)
	}
}

func TestList(t *testing.T) {
	s := open(t)
	rev := put(t, s, "a", "0", "a/1", "1", "a/2", "2", "a/3", "3", "a0", "4", "b", "5")
	for _, tt := range []struct {
		prefix string
		opts   ListOptions
		want   []string
		more   bool
	}{
		{"", ListOptions{}, []string{"a", "a/1", "a/2", "a/3", "a0", "b"}, false},
		{"a/", ListOptions{}, []string{"a/1", "a/2", "a/3"}, false},
		{"a", ListOptions{}, []string{"a", "a/1", "a/2", "a/3", "a0"}, false},
		{"c", ListOptions{}, []string{}, false},
		{"a/", ListOptions{Limit: 2}, []string{"a/1", "a/2"}, true},
		{"a/", ListOptions{Limit: 3}, []string{"a/1", "a/2", "a/3"}, false},
		{"a/", ListOptions{Limit: 2, After: "a/2"}, []string{"a/3"}, false},
		{"a/", ListOptions{After: "a/11"}, []string{"a/2", "a/3"}, false}, // a key that has gone
		{"a/", ListOptions{After: "a/3"}, []string{}, false},
		{"a/", ListOptions{After: "z"}, []string{}, false},
		{"a/", ListOptions{After: "A"}, []string{"a/1", "a/2", "a/3"}, false},
	} {
		t.Run(fmt.Sprint(tt.prefix, tt.opts), func(t *testing.T) {
			page, err := s.List(t.Context(), tt.prefix, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, keysOf(page.Entries)); diff != "" {
				t.Error(diff)
			}
			if page.More != tt.more || page.Revision != rev {
				t.Errorf("more %v at revision %d", page.More, page.Revision)
			}
		})
	}
	page, err := s.List(t.Context(), "a/1", ListOptions{KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Entry{{Key: "a/1", Revision: rev, Created: rev}}, page.Entries); diff != "" {
		t.Error(diff)
	}
	for _, opts := range []ListOptions{{Limit: -1}, {Revision: -1}} {
		if _, err := s.List(t.Context(), "", opts); err == nil {
			t.Errorf("%+v is taken", opts)
		}
	}
}

// Pages that name a revision show one state, whatever is written between them.
func TestListAtARevision(t *testing.T) {
	s := open(t)
	put(t, s, "a/1", "1", "a/2", "2", "a/3", "3")
	first, err := s.List(t.Context(), "a/", ListOptions{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	del(t, s, "a/2")
	put(t, s, "a/15", "new", "a/3", "changed")
	rest, err := s.List(t.Context(), "a/", ListOptions{After: "a/1", Revision: first.Revision})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range append(first.Entries, rest.Entries...) {
		got = append(got, string(e.Value))
	}
	if diff := cmp.Diff([]string{"1", "2", "3"}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.client.Compact(t.Context(), s.views.revision()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context(), "a/", ListOptions{Revision: first.Revision}); !errors.Is(err, ErrCompacted) {
		t.Error(err)
	}
	if _, err := s.List(t.Context(), "a/", ListOptions{Revision: 1 << 40}); err == nil {
		t.Error("the future can be read")
	}
}

// A listing longer than what is asked for at once is whole.
func TestLongList(t *testing.T) {
	s := open(t)
	const n = 2*chunk + 7
	for i := 0; i < n; i += 100 {
		_, err := s.Update(t.Context(), func(tx *Tx) error {
			for j := i; j < min(i+100, n); j++ {
				tx.Put(fmt.Sprintf("a/%05d", j), nil)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "b", "")
	for _, limit := range []int{0, chunk, chunk + 1, n, n + 1} {
		page, err := s.List(t.Context(), "a/", ListOptions{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		want := n
		if limit > 0 {
			want = min(n, limit)
		}
		if len(page.Entries) != want || page.More != (want < n) {
			t.Errorf("limit %d: %d entries, more %v", limit, len(page.Entries), page.More)
		}
		for i, e := range page.Entries {
			if e.Key != fmt.Sprintf("a/%05d", i) {
				t.Fatalf("entry %d is %s", i, e.Key)
			}
		}
	}
	// A transaction's listing has no limit either, and is guarded as a whole.
	runs := 0
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		runs++
		entries, err := tx.List("a/")
		if err != nil {
			return err
		}
		if runs == 1 {
			del(t, s, "a/01999")
		}
		tx.Put("count", []byte(fmt.Sprint(len(entries))))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := s.Get(t.Context(), "count"); err != nil || string(e.Value) != fmt.Sprint(n-1) || runs != 2 {
		t.Errorf("%s after %d runs, %v", e.Value, runs, err)
	}
}

func TestContextIsRespected(t *testing.T) {
	s := open(t)
	why := errors.New("the client went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, getErr := s.Get(ctx, "a")
	_, listErr := s.List(ctx, "a", ListOptions{})
	_, updateErr := s.Update(ctx, func(tx *Tx) error { tx.Put("a", nil); return nil })
	leaving, leave := context.WithCancelCause(t.Context())
	_, lateErr := s.Update(leaving, func(tx *Tx) error { tx.Put("a", nil); leave(why); return nil })
	_, readErr := s.Update(ctx, func(tx *Tx) error { _, err := tx.Get("a"); return err })
	followErr := s.Follow(ctx, "a", func([]Change, bool) {})
	_, lockErr := s.TryLock(ctx, "a", 1)
	for _, err := range []error{getErr, listErr, updateErr, lateErr, readErr, followErr, lockErr} {
		if !errors.Is(err, why) {
			t.Error(err)
		}
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// Keys may hold any bytes; a prefix is one of bytes.
func TestOddKeys(t *testing.T) {
	s := open(t)
	keys := []string{"\x00", " ", "a\x00b", "a\xff", "a\xff\xff", "ä/ß", "\xff", strings.Repeat("k", 2000)}
	for _, k := range keys {
		put(t, s, k, "value of "+k)
	}
	for _, k := range keys {
		if e, err := s.Get(t.Context(), k); err != nil || string(e.Value) != "value of "+k || e.Key != k {
			t.Errorf("%q: %+v %v", k, e, err)
		}
	}
	page, err := s.List(t.Context(), "a\xff", ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a\xff", "a\xff\xff"}, keysOf(page.Entries)); diff != "" {
		t.Error(diff)
	}
}
