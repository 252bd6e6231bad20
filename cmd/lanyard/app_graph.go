package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/server"
)

// graphClient asks a cloud's Microsoft Graph as the principal of the environment
// file.
type graphClient struct{ *serviceClient }

// newGraphClient signs in.
func newGraphClient(ctx context.Context, env server.Environment) (*graphClient, error) {
	c, err := signIn(ctx, env, "graph", env.Endpoints.Graph)
	if err != nil {
		return nil, err
	}
	return &graphClient{c}, nil
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
