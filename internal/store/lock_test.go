package store

import (
	"errors"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func lock(t *testing.T, s *Store, name string) *Lock {
	t.Helper()
	l, err := s.TryLock(t.Context(), name, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLock(t *testing.T) {
	s := open(t)
	l := lock(t, s, "a")
	if _, err := s.TryLock(t.Context(), "a", time.Minute); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	lock(t, s, "b")
	select {
	case <-l.Lost():
		t.Error("lost")
	default:
	}
	for range 2 {
		if err := l.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
	}
	<-l.Lost()
	lock(t, s, "a")
	// Locks are apart from keys.
	if page, err := s.List(t.Context(), "", ListOptions{}); err != nil || len(page.Entries) != 0 {
		t.Error(page, err)
	}
	for _, ttl := range []time.Duration{0, -1} {
		if _, err := s.TryLock(t.Context(), "c", ttl); err == nil {
			t.Errorf("locked for %v", ttl)
		}
	}
	if _, err := s.TryLock(t.Context(), "", time.Minute); err == nil {
		t.Error("locked nothing")
	}
}

// The leases of those who don't get the lock are given back.
func TestLockLeavesNoLeases(t *testing.T) {
	s := open(t)
	lock(t, s, "a")
	for range 5 {
		if _, err := s.TryLock(t.Context(), "a", time.Minute); !errors.Is(err, ErrLocked) {
			t.Error(err)
		}
	}
	leases, err := s.client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(leases.Leases); n != 1 {
		t.Errorf("%d leases", n)
	}
}

func TestLockExcludes(t *testing.T) {
	s := open(t)
	var mu sync.Mutex
	held, turns := 0, 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				l, err := s.TryLock(t.Context(), "a", time.Minute)
				if errors.Is(err, ErrLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				held++
				turns++
				if held != 1 {
					t.Errorf("%d hold the lock", held)
				}
				held--
				mu.Unlock()
				if err := l.Unlock(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if turns == 0 {
		t.Error("nobody got the lock")
	}
}

// A holder whose lease has ended hears of it, and its writes that require the
// lock fail, even those that were on the way.
func TestLockLost(t *testing.T) {
	s := open(t)
	l, err := s.TryLock(t.Context(), "a", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	guarded := func(before func()) error {
		_, err := s.Update(t.Context(), func(tx *Tx) error {
			if err := tx.Require(l); err != nil {
				return err
			}
			before()
			tx.Put("k", nil)
			return nil
		})
		return err
	}
	if err := guarded(func() {}); err != nil {
		t.Fatal(err)
	}
	err = guarded(func() {
		if _, err := s.client.Revoke(t.Context(), l.lease); err != nil && !isGone(err) {
			t.Error(err)
		}
	})
	if !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	<-l.Lost()
	// Another holder doesn't make the old one's writes good.
	lock(t, s, "a")
	if err := guarded(func() {}); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
}

// A lease is renewed past its first end.
func TestLockIsKept(t *testing.T) {
	s := open(t)
	// Long enough that a busy machine renews it in time.
	l, err := s.TryLock(t.Context(), "a", 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	ends := time.Now().Add(5 * l.ttl / 4)
	eventually(t, "a lease's time and more", func() bool {
		select {
		case <-l.Lost():
			t.Fatal("lost")
		default:
		}
		return time.Now().After(ends)
	})
	if _, err := s.TryLock(t.Context(), "a", time.Second); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
}

// A lock that can't be renewed is lost at its end, without the cluster's word.
func TestLockLostWithoutTheCluster(t *testing.T) {
	s := open(t)
	l, err := s.TryLock(t.Context(), "a", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	dead := &Lock{s: s, name: "a", lease: clientv3.LeaseID(1), ttl: time.Hour, lost: make(chan struct{}), release: func() {}}
	dead.keep(s.ctx, time.Now()) // its end has come before the first renewal
	<-dead.Lost()
	if err := l.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// With the embedded engine, nobody holds a lock after a restart.
func TestLocksEndWithTheProcess(t *testing.T) {
	dir := t.TempDir()
	s := open(t, inDir(dir))
	// What a killed process leaves: a lock without a holder.
	if _, err := s.client.Put(t.Context(), s.keys.lock("a"), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TryLock(t.Context(), "a", time.Minute); !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lock(t, open(t, inDir(dir)), "a")
}
