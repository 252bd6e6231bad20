package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTransactionSeesItsOwnWrites(t *testing.T) {
	s := open(t)
	rev := put(t, s, "a/1", "1", "a/2", "2", "a/4", "4")
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		tx.Put("a/1", []byte("changed"))
		tx.Put("a/3", []byte("new"))
		tx.Delete("a/2")
		tx.Put("b", nil)
		if e, err := tx.Get("a/1"); err != nil || string(e.Value) != "changed" || e.Revision != 0 {
			t.Error(e, err)
		}
		if _, err := tx.Get("a/2"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if e, err := tx.Get("b"); err != nil || e.Value == nil {
			t.Error(e, err)
		}
		entries, err := tx.List("a/")
		if err != nil {
			return err
		}
		want := []Entry{
			{Key: "a/1", Value: []byte("changed")},
			{Key: "a/3", Value: []byte("new")},
			{Key: "a/4", Value: []byte("4"), Revision: rev, Created: rev},
		}
		if diff := cmp.Diff(want, entries); diff != "" {
			t.Error(diff)
		}
		tx.Put("a/2", []byte("back")) // the last write counts
		tx.Delete("a/3")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := s.List(t.Context(), "", ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/1", "a/2", "a/4", "b"}, keysOf(page.Entries)); diff != "" {
		t.Error(diff)
	}
}

// All reads of a transaction are of one revision.
func TestTransactionIsASnapshot(t *testing.T) {
	s := open(t)
	put(t, s, "a", "1", "b", "1")
	runs := 0
	rev, err := s.Update(t.Context(), func(tx *Tx) error {
		runs++
		a, err := tx.Get("a")
		if err != nil {
			return err
		}
		if runs == 1 {
			put(t, s, "a", "2", "b", "2")
		}
		b, err := tx.Get("b")
		if err != nil {
			return err
		}
		list, err := tx.List("")
		if err != nil {
			return err
		}
		if string(a.Value) != string(b.Value) || string(list[1].Value) != string(a.Value) {
			t.Errorf("a is %s, b is %s, listed as %s", a.Value, b.Value, list[1].Value)
		}
		return nil
	})
	// Without writes there is nothing to compare: the reads were consistent.
	if err != nil || runs != 1 || rev == 0 {
		t.Errorf("%v after %d runs at %d", err, runs, rev)
	}
}

func TestFailedTransactionWritesNothing(t *testing.T) {
	s := open(t)
	mine := errors.New("mine")
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		tx.Put("a", nil)
		return mine
	})
	if !errors.Is(err, mine) {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestCreate(t *testing.T) {
	s := open(t)
	taken := errors.New("the name is taken")
	create := func(exists error) error {
		_, err := s.Update(t.Context(), func(tx *Tx) error {
			tx.Put("other", nil)
			return tx.Create("a", []byte("1"), exists)
		})
		return err
	}
	if err := create(taken); err != nil {
		t.Fatal(err)
	}
	if err := create(taken); !errors.Is(err, taken) {
		t.Error(err)
	}
	if err := create(nil); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	// A swallowed error still ends the transaction.
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		_ = tx.Create("a", []byte("2"), taken)
		tx.Put("b", nil)
		return nil
	})
	if !errors.Is(err, taken) {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), "b"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// A key that the transaction itself deletes may be created again.
	if _, err := s.Update(t.Context(), func(tx *Tx) error { tx.Delete("a"); return tx.Create("a", []byte("3"), taken) }); err != nil {
		t.Error(err)
	}
	if _, err := s.Update(t.Context(), func(tx *Tx) error { return tx.Create("", nil, taken) }); err == nil {
		t.Error("an empty key was created")
	}
}

// Of many that create one key, one succeeds, and the others hear the guard's
// own error.
func TestCreateOnce(t *testing.T) {
	s := open(t)
	taken := errors.New("taken")
	var wg sync.WaitGroup
	results := make(chan error, 16)
	for i := range cap(results) {
		wg.Go(func() {
			_, err := s.Update(t.Context(), func(tx *Tx) error { return tx.Create("guard", []byte(fmt.Sprint(i)), taken) })
			results <- err
		})
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, taken) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d have created it", won)
	}
}

func TestLimits(t *testing.T) {
	s := open(t)
	many := func(n int, f func(tx *Tx, key string) error) func(*Tx) error {
		return func(tx *Tx) error {
			for i := range n {
				if err := f(tx, fmt.Sprintf("k/%d/", i)); err != nil {
					return err
				}
			}
			tx.Put("k", nil)
			return nil
		}
	}
	puts := func(tx *Tx, key string) error { tx.Put(key, nil); return nil }
	dels := func(tx *Tx, key string) error { tx.Delete(key); return nil }
	gets := func(tx *Tx, key string) error {
		_, err := tx.Get(key)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	}
	lists := func(tx *Tx, key string) error { _, err := tx.List(key); return err }
	for _, tt := range []struct {
		name string
		f    func(*Tx) error
		ok   bool
	}{
		{"the most puts", many(MaxOps-1, puts), true},
		{"one put too many", many(MaxOps, puts), false},
		{"the most reads", many(MaxOps, gets), true},
		{"one read too many", many(MaxOps+1, gets), false},
		{"the most deletes in one directory", func(tx *Tx) error {
			return many(MaxOps-2, func(tx *Tx, key string) error { tx.Delete("d" + strings.ReplaceAll(key, "/", "")); return nil })(tx)
		}, true},
		{"too many directories of deletes", many(MaxOps/2, dels), false},
		{"the most listings", many(MaxOps/3, lists), true},
		{"too many listings", many(MaxOps/2+1, lists), false},
		{"the largest value", func(tx *Tx) error { tx.Put("v", make([]byte, MaxBytes-1000)); return nil }, true},
		{"the largest transaction of many keys", func(tx *Tx) error {
			for i := range MaxOps {
				key := fmt.Sprintf("%s/%d", strings.Repeat("k", 1000), i)
				if err := gets(tx, key); err != nil {
					return err
				}
				tx.Put(key, nil)
			}
			room := MaxBytes - requestSize(tx.compares(), tx.ops())
			tx.Put(fmt.Sprintf("%s/%d", strings.Repeat("k", 1000), 0), make([]byte, room))
			return nil
		}, true},
		{"a value too large", func(tx *Tx) error { tx.Put("v", make([]byte, MaxBytes+1)); return nil }, false},
		{"values too large together", func(tx *Tx) error {
			tx.Put("v", make([]byte, MaxBytes/2))
			tx.Put("w", make([]byte, MaxBytes/2))
			return nil
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Update(t.Context(), tt.f)
			if tt.ok && err != nil || !tt.ok && !errors.Is(err, ErrTooLarge) {
				t.Error(err)
			}
		})
	}
	for name, f := range map[string]func(tx *Tx){
		"put":    func(tx *Tx) { tx.Put("", nil) },
		"delete": func(tx *Tx) { tx.Delete("") },
	} {
		if _, err := s.Update(t.Context(), func(tx *Tx) error { f(tx); return nil }); !errors.Is(err, errEmptyKey) {
			t.Errorf("%s of an empty key: %v", name, err)
		}
	}
}

func TestJSON(t *testing.T) {
	type thing struct{ Name string }
	s := open(t)
	taken := errors.New("taken")
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		if _, _, err := GetJSON[thing](tx, "a"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if err := CreateJSON(tx, "a", thing{"x"}, taken); err != nil {
			return err
		}
		tx.Put("broken", []byte(`{"Name":`))
		return PutJSON(tx, "b", thing{"y"})
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Update(t.Context(), func(tx *Tx) error {
		a, e, err := GetJSON[thing](tx, "a")
		if err != nil || a.Name != "x" || e.Revision == 0 {
			t.Error(a, e, err)
		}
		if _, _, err := GetJSON[thing](tx, "broken"); err == nil || !strings.Contains(err.Error(), "broken") {
			t.Error(err)
		}
		return CreateJSON(tx, "a", thing{}, taken)
	})
	if !errors.Is(err, taken) {
		t.Error(err)
	}
	for _, f := range []func(tx *Tx) error{
		func(tx *Tx) error { return PutJSON(tx, "c", func() {}) },
		func(tx *Tx) error { return CreateJSON(tx, "c", func() {}, nil) },
	} {
		if _, err := s.Update(t.Context(), f); err == nil || !strings.Contains(err.Error(), "c") {
			t.Error(err)
		}
	}
}

func TestConcurrentIncrementsLoseNothing(t *testing.T) {
	wantIncrements(t, 25, slices.Repeat([]*Store{open(t)}, 16)...)
}

// wantIncrements has each of the stores, which are one by any number of ways, add
// to the same number so often, all at once.
func wantIncrements(t *testing.T, each int, stores ...*Store) {
	t.Helper()
	var wg sync.WaitGroup
	for _, s := range stores {
		wg.Go(func() {
			for range each {
				_, err := s.Update(t.Context(), func(tx *Tx) error {
					n, _, err := GetJSON[int](tx, "n")
					if err != nil && !errors.Is(err, ErrNotFound) {
						return err
					}
					return PutJSON(tx, "n", n+1)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if e, err := stores[0].Get(t.Context(), "n"); err != nil || string(e.Value) != fmt.Sprint(len(stores)*each) {
		t.Errorf("%s, %v", e.Value, err)
	}
}

// A transaction that always loses ends.
func TestTooManyConflicts(t *testing.T) {
	s := open(t)
	put(t, s, "a", "0")
	runs := 0
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		runs++
		if _, err := tx.Get("a"); err != nil {
			return err
		}
		put(t, s, "a", fmt.Sprint(runs))
		tx.Put("a", nil)
		return nil
	})
	if !errors.Is(err, ErrConflict) || runs != maxAttempts {
		t.Errorf("%v after %d runs", err, runs)
	}
}

// A transaction whose snapshot is compacted away runs again.
func TestCompactedSnapshot(t *testing.T) {
	s := open(t)
	put(t, s, "a", "0")
	runs := 0
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		runs++
		if _, err := tx.Get("a"); err != nil {
			return err
		}
		if runs == 1 {
			if _, err := s.client.Compact(t.Context(), put(t, s, "b", "0")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tx.Get("b"); err != nil {
			return err
		}
		tx.Put("c", nil)
		return nil
	})
	if err != nil || runs != 2 {
		t.Errorf("%v after %d runs", err, runs)
	}
}
