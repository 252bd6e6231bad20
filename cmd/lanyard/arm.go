package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
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
	http  *http.Client
	env   server.Environment
	token string
}

// newARMClient signs in.
func newARMClient(ctx context.Context, env server.Environment) (*armClient, error) {
	if env.Bootstrap.ClientSecret == "" {
		return nil, errors.New("the environment file holds no secret of the operator: take that of the replica which made it")
	}
	token, err := getToken(ctx, env, tokenRequest{
		tenant: env.TenantID, clientID: env.Bootstrap.ClientID, secret: env.Bootstrap.ClientSecret,
		scope: env.Endpoints.ResourceManager + "/.default",
	})
	if err != nil {
		return nil, err
	}
	client, err := env.Client()
	if err != nil {
		return nil, err
	}
	return &armClient{http: client, env: env, token: token}, nil
}

// close gives back the connections.
func (c *armClient) close() { c.http.CloseIdleConnections() }

// send sends a request; path may be a whole address. in is the body, or nil.
// The answer's body is the caller's to close.
func (c *armClient) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	if !strings.HasPrefix(path, "https://") {
		path = c.env.Endpoints.ResourceManager + path
	}
	req, err := http.NewRequestWithContext(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	var refusal struct {
		Error struct{ Code, Message string } `json:"error"`
	}
	if json.Unmarshal(answer, &refusal) != nil || refusal.Error.Code == "" {
		return nil, fmt.Errorf("the Resource Manager answered %s without an error document", resp.Status)
	}
	return nil, &armError{&azure.Error{Status: resp.StatusCode, Code: refusal.Error.Code, Message: refusal.Error.Message}}
}

// do sends a request and reads the answer into out, which may be nil.
func (c *armClient) do(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(out)
	if err != nil && !errors.Is(err, io.EOF) { // an empty answer says nothing
		return fmt.Errorf("reading the answer of the Resource Manager: %w", err)
	}
	return nil
}

// armList reads every page of a list.
func armList[T any](ctx context.Context, c *armClient, path string) ([]T, error) {
	all := []T{}
	for path != "" {
		var page struct {
			Value []T    `json:"value"`
			Next  string `json:"nextLink"`
		}
		if err := c.do(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Value...)
		path = page.Next
	}
	return all, nil
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

// armError is a refusal of the Resource Manager: an *azure.Error, with words
// that say what to do.
type armError struct{ refused *azure.Error }

func (e *armError) Unwrap() error { return e.refused }

// nextSteps say what to do about a refusal, by its code.
var nextSteps = map[string]string{
	"InvalidResourceNamespace":        "this cloud runs with strictAzure, which has none of Lanyard's own operations: start it without to manage it",
	"SubscriptionNotDisabled":         "`lanyard subscription cancel` cancels it",
	"ResourcesExistingOnSubscription": "or cancel it all the same, with --ignore-resources: what is in it can then be read and deleted",
	"ReadOnlyDisabledSubscription":    "`lanyard subscription enable` enables it again",
	"TenantNotEmpty":                  "`lanyard subscription list` with that tenant's environment file lists them",
	"RotationUnderWay":                "`lanyard keys list` says from when it signs",
	"TooManySigningKeys":              "`lanyard keys list` says when each retires",
}

func (e *armError) Error() string {
	r := e.refused
	// What comes behind it is ours to say.
	message := strings.TrimSuffix(r.Message, ".")
	text := fmt.Sprintf("the Resource Manager refused (%d %s, %s): %s", r.Status, http.StatusText(r.Status), r.Code, message)
	step := nextSteps[r.Code]
	if e.operators() {
		step = "that takes an Owner at the root of the cloud's first tenant: use the environment file that the cloud itself wrote"
	}
	if step != "" {
		text += "; " + step
	}
	return text
}

// operators reports whether the refused action is one of the operator's.
func (e *armError) operators() bool {
	return e.refused.Code == "AuthorizationFailed" && slices.ContainsFunc([]string{"tenants", "signingKeys", "sealingKeys", "backups"}, func(kind string) bool {
		return strings.Contains(e.refused.Message, "'Microsoft.Authorization/"+kind+"/")
	})
}

// armCommand is what commands on the Resource Manager have in common.
type armCommand struct {
	where environmentFlags
	out   command.Output
}

// build completes a command; run gets a client that is signed in, and gives what
// is printed: v as JSON, or what text writes.
func (a *armCommand) build(cmd *cobra.Command,
	run func(ctx context.Context, c *armClient, args []string) (v any, text func(w io.Writer) error, err error)) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		env, _, err := a.where.load()
		if err != nil {
			return err
		}
		c, err := newARMClient(cmd.Context(), env)
		if err != nil {
			return err
		}
		defer c.close()
		v, text, err := run(cmd.Context(), c, args)
		if err != nil {
			return err
		}
		if a.out.JSON() {
			return command.PrintJSON(cmd.OutOrStdout(), v)
		}
		return text(cmd.OutOrStdout())
	}
	a.where.add(cmd)
	a.out.Add(cmd)
	return cmd
}
