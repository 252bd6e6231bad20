package main

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/server"
)

// The api-versions that the commands ask for.
const (
	aliasVersion        = "?api-version=2021-10-01"
	subscriptionVersion = "?api-version=2022-12-01"
	cloudVersion        = "?api-version=2026-09-01" // of Lanyard's own types
)

// armClient asks a cloud's Resource Manager as the principal of the environment
// file.
type armClient struct {
	*serviceClient
	env server.Environment
}

// newARMClient signs in.
func newARMClient(ctx context.Context, env server.Environment) (*armClient, error) {
	c, err := signIn(ctx, env, "the Resource Manager", env.Endpoints.ResourceManager)
	if err != nil {
		return nil, err
	}
	return &armClient{c, env}, nil
}

// remove deletes, and waits until all of it is gone. It tells whether there was
// anything.
func (c *armClient) remove(ctx context.Context, path string) (bool, error) {
	resp, err := c.send(ctx, http.MethodDelete, path, nil)
	if err != nil {
		return false, err
	}
	existed := resp.StatusCode != http.StatusNoContent
	for resp.StatusCode == http.StatusAccepted {
		location := resp.Header.Get("Location")
		resp.Body.Close()
		if err := waitFor(ctx, pollPause(resp.Header)); err != nil {
			return existed, err
		}
		if resp, err = c.send(ctx, http.MethodGet, location, nil); err != nil {
			return existed, err
		}
	}
	return existed, resp.Body.Close()
}

// pollPause is how long the answer asks to wait before the next.
func pollPause(h http.Header) time.Duration {
	if ms, err := strconv.Atoi(h.Get("Retry-After-Ms")); err == nil && ms >= 0 {
		return time.Duration(ms) * time.Millisecond
	}
	if s, err := strconv.Atoi(h.Get("Retry-After")); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	return time.Second
}

// waitFor waits, or until ctx ends.
func waitFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// armCommand is a [cloudCommand] on the Resource Manager.
type armCommand struct{ cloudCommand }

func (a *armCommand) build(cmd *cobra.Command,
	run func(ctx context.Context, c *armClient, args []string) (v any, text func(w io.Writer) error, err error)) *cobra.Command {
	return buildCommand(&a.cloudCommand, cmd, newARMClient, run)
}
