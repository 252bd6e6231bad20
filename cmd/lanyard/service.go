package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
)

// serviceClient asks one service of a cloud as the principal of the environment
// file.
type serviceClient struct {
	http  *http.Client
	name  string // the service's, in errors
	base  string // its address, without a slash at the end
	token string
}

// signIn makes the client of a service, with a token for it.
func signIn(ctx context.Context, env server.Environment, name, base string) (*serviceClient, error) {
	if env.Bootstrap.ClientSecret == "" {
		return nil, errors.New("the environment file holds no secret of the operator: take that of the replica which made it")
	}
	token, err := getToken(ctx, env, tokenRequest{
		tenant: env.TenantID, clientID: env.Bootstrap.ClientID, secret: env.Bootstrap.ClientSecret, scope: base + "/.default",
	})
	if err != nil {
		return nil, err
	}
	client, err := env.Client()
	if err != nil {
		return nil, err
	}
	return &serviceClient{http: client, name: name, base: base, token: token}, nil
}

// close gives back the connections.
func (c *serviceClient) close() { c.http.CloseIdleConnections() }

// send sends a request; path begins with a slash, or is a whole address that the
// service gave. in is the body, or nil. The answer's body is the caller's to close.
func (c *serviceClient) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	if !strings.HasPrefix(path, "https://") {
		path = c.base + path
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
	var refused struct {
		Error struct{ Code, Message string } `json:"error"`
	}
	if json.Unmarshal(answer, &refused) != nil || refused.Error.Code == "" {
		return nil, fmt.Errorf("%s answered %s without an error document", c.name, resp.Status)
	}
	return nil, &refusal{c.name, &azure.Error{Status: resp.StatusCode, Code: refused.Error.Code, Message: refused.Error.Message}}
}

// do sends a request and reads the answer into out, which may be nil.
func (c *serviceClient) do(ctx context.Context, method, path string, in, out any) error {
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
		return fmt.Errorf("reading the answer of %s: %w", c.name, err)
	}
	return nil
}

// service is a client of one.
type service interface {
	do(ctx context.Context, method, path string, in, out any) error
	close()
}

// list reads every page of a list.
func list[T any](ctx context.Context, c service, path string) ([]T, error) {
	all := []T{}
	for path != "" {
		var page struct {
			Value     []T    `json:"value"`
			Next      string `json:"nextLink"`        // the Resource Manager's
			GraphNext string `json:"@odata.nextLink"` // Microsoft Graph's
		}
		if err := c.do(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Value...)
		path = cmp.Or(page.Next, page.GraphNext)
	}
	return all, nil
}

// cloudCommand is what commands that ask one service have in common: where the
// cloud is, and how the result is written.
type cloudCommand struct {
	where environmentFlags
	out   command.Output
}

// buildCommand completes a command; run gets a client that is signed in, and gives
// what is printed: v as JSON, or what text writes.
func buildCommand[C service](k *cloudCommand, cmd *cobra.Command,
	signIn func(context.Context, server.Environment) (C, error),
	run func(ctx context.Context, c C, args []string) (v any, text func(w io.Writer) error, err error)) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		env, _, err := k.where.load()
		if err != nil {
			return err
		}
		c, err := signIn(cmd.Context(), env)
		if err != nil {
			return err
		}
		defer c.close()
		v, text, err := run(cmd.Context(), c, args)
		if err != nil {
			return err
		}
		if k.out.JSON() {
			return command.PrintJSON(cmd.OutOrStdout(), v)
		}
		return text(cmd.OutOrStdout())
	}
	k.where.add(cmd)
	k.out.Add(cmd)
	return cmd
}
