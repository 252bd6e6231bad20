package store

import (
	"fmt"
	"testing"
)

func BenchmarkUpdate(b *testing.B) {
	s := open(b)
	value := make([]byte, 1000)
	for b.Loop() {
		if _, err := s.Update(b.Context(), func(tx *Tx) error { tx.Put("k", value); return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdateParallel(b *testing.B) {
	s := open(b)
	value := make([]byte, 1000)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Update(b.Context(), func(tx *Tx) error { tx.Put("k", value); return nil }); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkReadModifyWrite(b *testing.B) {
	s := open(b)
	for b.Loop() {
		_, err := s.Update(b.Context(), func(tx *Tx) error {
			if _, err := tx.List("k/"); err != nil {
				return err
			}
			if _, err := tx.Get("g"); err == nil {
				return fmt.Errorf("found")
			}
			tx.Put("k/1", nil)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b)
	if _, err := s.Update(b.Context(), func(tx *Tx) error { tx.Put("k", make([]byte, 1000)); return nil }); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get(b.Context(), "k"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFresh(b *testing.B) {
	s := open(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Fresh(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// A transaction of 100 changes, for ten followers of which one is concerned.
func BenchmarkViewApply(b *testing.B) {
	v := &views{changed: make(chan struct{})}
	applied := 0
	for i := range 10 {
		v.followers = append(v.followers, &follower{
			prefix: fmt.Sprintf("kind%d/", i),
			f:      func(changes []Change, _ bool) { applied += len(changes) },
		})
	}
	changes := make([]Change, 100)
	for i := range changes {
		changes[i] = Change{Key: fmt.Sprintf("kind3/%d", i), Value: []byte("v"), Revision: 1}
	}
	b.ReportAllocs()
	for b.Loop() {
		v.feed(batch{changes: changes})
	}
	if applied != 100*b.N {
		b.Errorf("%d applied", applied)
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		s := open(b)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
