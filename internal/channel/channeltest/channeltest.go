// Package channeltest runs agents' clients in tests, and waits for what they come
// to know. Whoever is at the other end, a cloud or what stands for one, is the
// test's own.
package channeltest

import (
	"context"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/channel"
)

// Run makes a client, and runs it until the test ends.
func Run(tb testing.TB, cfg channel.ClientConfig) *channel.Client {
	tb.Helper()
	client, err := channel.NewClient(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client.Run(ctx)
	}()
	tb.Cleanup(func() { stop(); <-ended })
	return client
}

// Until waits for a condition on what an agent knows, and fails the test when it
// has not come about in a minute.
func Until(tb testing.TB, s *channel.State, what string, holds func() bool) {
	tb.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		changed := s.Changed()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			tb.Fatalf("it never came to be that %s", what)
		}
	}
}
