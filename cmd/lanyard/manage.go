package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/server"
)

// manage sends a request to the cloud's Resource Manager as the operator, with a
// JSON body unless that is nil, and decodes the answer. The Resource Manager's
// refusal is an *azure.Error.
func manage(ctx context.Context, env server.Environment, method, pathAndQuery string, body, into any) error {
	if env.Bootstrap.ClientSecret == "" {
		return errors.New("the environment file holds no secret of the operator: take that of the replica which made it")
	}
	token, err := getToken(ctx, env, tokenRequest{
		tenant: env.TenantID, clientID: env.Bootstrap.ClientID, secret: env.Bootstrap.ClientSecret,
		scope: env.Endpoints.ResourceManager + "/.default",
	})
	if err != nil {
		return err
	}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, env.Endpoints.ResourceManager+pathAndQuery, content)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	client, err := env.Client()
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var failed struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(answer, &failed); err != nil {
			return fmt.Errorf("the Resource Manager answered %s without a document", resp.Status)
		}
		return &azure.Error{Status: resp.StatusCode, Code: failed.Error.Code, Message: failed.Error.Message}
	}
	if into == nil || len(bytes.TrimSpace(answer)) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the Resource Manager's answer to %s %s: %w", method, strings.SplitN(pathAndQuery, "?", 2)[0], err)
	}
	return nil
}
