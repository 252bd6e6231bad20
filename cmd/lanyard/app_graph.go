package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/server"
)

// graphClient asks a cloud's Microsoft Graph as the principal of the environment
// file.
type graphClient struct {
	http  *http.Client
	base  string // without a slash at the end
	token string
}

// newGraphClient signs in.
func newGraphClient(ctx context.Context, env server.Environment) (*graphClient, error) {
	if env.Bootstrap.ClientSecret == "" {
		return nil, errors.New("the environment file holds no secret of the operator: take that of the replica which made it")
	}
	token, err := getToken(ctx, env, tokenRequest{
		tenant: env.TenantID, clientID: env.Bootstrap.ClientID, secret: env.Bootstrap.ClientSecret,
		scope: env.Endpoints.Graph + "/.default",
	})
	if err != nil {
		return nil, err
	}
	client, err := env.Client()
	if err != nil {
		return nil, err
	}
	return &graphClient{http: client, base: env.Endpoints.Graph, token: token}, nil
}

// do sends a request, its path with the version, and reads the answer into out,
// which may be nil. in is the body, or nil.
func (g *graphClient) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	address := path
	if !strings.HasPrefix(path, "https://") { // else the next page's
		address = g.base + path
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := g.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		var refusal struct {
			Error struct{ Code, Message string } `json:"error"`
		}
		if json.Unmarshal(answer, &refusal) != nil || refusal.Error.Code == "" {
			return fmt.Errorf("graph answered %s without an error document", resp.Status)
		}
		return &graphError{&azure.Error{Status: resp.StatusCode, Code: refusal.Error.Code, Message: refusal.Error.Message}}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("reading the answer of graph: %w", err)
	}
	return nil
}

// graphError is a refusal of Graph: an *azure.Error.
type graphError struct{ refused *azure.Error }

func (e *graphError) Unwrap() error { return e.refused }

func (e *graphError) Error() string {
	return fmt.Sprintf("graph refused (%d %s, %s): %s", e.refused.Status, http.StatusText(e.refused.Status), e.refused.Code, e.refused.Message)
}

// isStatus reports whether a refusal has the HTTP status.
func isStatus(err error, status int) bool {
	refused, ok := errors.AsType[*azure.Error](err)
	return ok && refused.Status == status
}

// list reads every page of a collection.
func list[T any](ctx context.Context, g *graphClient, path string) ([]T, error) {
	all := []T{}
	for path != "" {
		var page struct {
			Value []T    `json:"value"`
			Next  string `json:"@odata.nextLink"`
		}
		if err := g.do(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Value...)
		path = page.Next
	}
	return all, nil
}

// application is what the commands show of one. ServicePrincipalID is what role
// assignments name; empty where nobody can sign in as the application.
type application struct {
	DisplayName        string                `json:"displayName"`
	ClientID           string                `json:"appId"`
	ObjectID           string                `json:"id"`
	ServicePrincipalID string                `json:"servicePrincipalId,omitempty"`
	IdentifierURIs     []string              `json:"identifierUris"`
	Created            time.Time             `json:"createdDateTime"`
	Secrets            []appSecret           `json:"passwordCredentials"`
	Certificates       []appCertificate      `json:"keyCredentials"`
	Credentials        []federatedCredential `json:"federatedIdentityCredentials,omitempty"`
}

type appSecret struct {
	KeyID       string    `json:"keyId"`
	DisplayName string    `json:"displayName"`
	Hint        string    `json:"hint"`
	End         time.Time `json:"endDateTime"`
	// Text is there once, when the secret is made.
	Text string `json:"secretText,omitempty"`
}

type appCertificate struct {
	KeyID       string    `json:"keyId"`
	DisplayName string    `json:"displayName"`
	Thumbprint  string    `json:"customKeyIdentifier"`
	End         time.Time `json:"endDateTime"`
}

type federatedCredential struct {
	ID        string   `json:"id,omitempty"`
	Name      string   `json:"name"`
	Issuer    string   `json:"issuer"`
	Subject   string   `json:"subject,omitempty"`
	Audiences []string `json:"audiences"`
	// Expression stands in the place of the subject.
	Expression *claimsExpression `json:"claimsMatchingExpression,omitempty"`
}

type claimsExpression struct {
	Value    string `json:"value"`
	Language int    `json:"languageVersion"`
}

// find gives the one application with that client ID, object ID or name.
func (g *graphClient) find(ctx context.Context, name string) (application, error) {
	filter := "displayName eq " + quoted(name)
	if azure.IsGUID(name) {
		filter = "appId eq " + quoted(name) + " or id eq " + quoted(name)
	}
	found, err := list[application](ctx, g, "/v1.0/applications?$filter="+url.QueryEscape(filter))
	if err != nil {
		return application{}, err
	}
	switch len(found) {
	case 0:
		return application{}, fmt.Errorf("there is no application %q: `lanyard app list` lists them", name)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, app := range found {
		ids[i] = app.ClientID
	}
	return application{}, fmt.Errorf("%d applications are called %q: use one of the client IDs %s", len(found), name, strings.Join(ids, ", "))
}

// quoted writes text into a filter.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// servicePrincipals gives the object IDs of all applications' service
// principals by client ID.
func (g *graphClient) servicePrincipals(ctx context.Context, filter string) (map[string]string, error) {
	found, err := list[struct{ ID, AppID string }](ctx, g, "/v1.0/servicePrincipals?$top=999&$select=id,appId&$filter="+url.QueryEscape(filter))
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for _, p := range found {
		ids[p.AppID] = p.ID
	}
	return ids, nil
}
