package store

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestFreshAfterOpen(t *testing.T) {
	if err := open(t).Fresh(); err != nil {
		t.Error(err)
	}
}

// Views that are not written to stay fresh.
func TestFreshWhenIdle(t *testing.T) {
	s := open(t, func(c *Config) { c.StaleAfter = 200 * time.Millisecond })
	proved := s.views.proved.Load()
	for range 3 {
		eventually(t, "another proof", func() bool { return s.views.proved.Load() > proved })
		proved = s.views.proved.Load()
	}
}

// Views that can't move go stale, and are fresh again when they have caught up.
func TestStale(t *testing.T) {
	s := open(t, func(c *Config) { c.StaleAfter = 300 * time.Millisecond })
	release := blocked(t, s)
	eventually(t, "stale views", func() bool { return errors.Is(s.Fresh(), ErrStale) })
	release()
	eventually(t, "fresh views", func() bool { return s.Fresh() == nil })
}

// The age is told by the clock of the configuration; one that is set back, or
// far ahead, does no harm.
func TestFreshAndTheClock(t *testing.T) {
	var ahead atomic.Int64
	start := time.Now()
	s := open(t, func(c *Config) {
		c.StaleAfter = time.Minute
		c.Now = func() time.Time { return start.Add(time.Duration(ahead.Load())) }
	})
	for _, tt := range []struct {
		ahead time.Duration
		stale bool
	}{
		{0, false},
		{59 * time.Second, false},
		{61 * time.Second, true},
		{-time.Hour, false},
		{1 << 62, true},
		{-1 << 62, false},
	} {
		ahead.Store(0)
		s.views.proved.Store(0)
		ahead.Store(int64(tt.ahead))
		if err := s.Fresh(); errors.Is(err, ErrStale) != tt.stale {
			t.Errorf("%s ahead: %v", tt.ahead, err)
		}
	}
}
