package store

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Wait returns when the views have a revision: at once for one that was
// written here, and not before the views have it for one that is yet to come.
func TestWait(t *testing.T) {
	s := open(t)
	m := follow(t, s, "a/")
	rev := put(t, s, "a/1", "x")
	if err := s.Wait(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(t.Context(), rev+1) }()
	put(t, s, "a/2", "y")
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	m.expect(t, map[string]string{"a/1": "x", "a/2": "y"})
	soon := open(t, func(c *Config) { c.StaleAfter = 50 * time.Millisecond })
	if err := soon.Wait(t.Context(), rev+1000); !errors.Is(err, ErrStale) {
		t.Errorf("a revision that never comes: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx, rev+1000); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: %v", err)
	}
}
