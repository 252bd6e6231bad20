package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// applicationIdentity is an application with its service principal.
type applicationIdentity struct {
	g       *graphClient
	account accountNames
	name    string
	filter  string // what finds it
	given   bool   // it was named by an ID, so that it cannot be made
	app     application
	there   bool
}

// find looks the application up, by nothing but the filter.
func (a *applicationIdentity) find(ctx context.Context) error {
	found, err := list[application](ctx, a.g, "/v1.0/applications?$filter="+url.QueryEscape(a.filter))
	if err != nil {
		return err
	}
	switch len(found) {
	case 0:
		return nil
	case 1:
	default:
		return fmt.Errorf("%d applications are called %q: name one by --aad-application-object-id", len(found), a.name)
	}
	principals, err := a.g.servicePrincipals(ctx, "appId eq "+quoted(found[0].ClientID))
	if err != nil {
		return err
	}
	a.app, a.there = found[0], true
	a.app.ServicePrincipalID = principals[a.app.ClientID]
	return nil
}

func (a *applicationIdentity) String() string {
	if a.there {
		return fmt.Sprintf("application %s (%s)", a.app.DisplayName, a.app.ClientID)
	}
	return "application " + a.name
}

func (a *applicationIdentity) facts() identityFacts {
	return identityFacts{
		exists: a.there, complete: a.there && a.app.ServicePrincipalID != "",
		clientID: a.app.ClientID, principalID: a.app.ServicePrincipalID,
	}
}

func (a *applicationIdentity) create(ctx context.Context) error {
	if !a.there {
		if a.given {
			return fmt.Errorf("there is no %s: leave its ID out to have one made", a)
		}
		var made application
		if err := a.g.do(ctx, http.MethodPost, "/v1.0/applications", map[string]any{"displayName": a.name}, &made); err != nil {
			return err
		}
		a.app, a.there = made, true
	}
	var principal struct{ ID string }
	body := map[string]any{"appId": a.app.ClientID, "tags": []string{"serviceAccount: " + a.account.namespace + "-" + a.account.account}}
	if err := a.g.do(ctx, http.MethodPost, "/v1.0/servicePrincipals", body, &principal); err != nil {
		return fmt.Errorf("the %s is there, but not its service principal: %w", a, err)
	}
	a.app.ServicePrincipalID = principal.ID
	return nil
}

func (a *applicationIdentity) remove(ctx context.Context) error {
	return a.g.do(ctx, http.MethodDelete, "/v1.0/applications/"+a.app.ObjectID, nil, nil)
}

func (a *applicationIdentity) path() string {
	return "/beta/applications/" + a.app.ObjectID + "/federatedIdentityCredentials"
}

func (a *applicationIdentity) credentials(ctx context.Context) ([]accountCredential, error) {
	found, err := list[federatedCredential](ctx, a.g, a.path())
	if err != nil {
		return nil, err
	}
	all := make([]accountCredential, len(found))
	for i, c := range found {
		all[i] = accountCredential{name: c.Name, issuer: c.Issuer, subject: c.Subject, audiences: c.Audiences}
	}
	return all, nil
}

func (a *applicationIdentity) trust(ctx context.Context, n accountNames) error {
	return a.g.do(ctx, http.MethodPost, a.path(), map[string]any{
		"name": n.credential(), "issuer": n.issuer, "subject": n.subject(), "audiences": []string{exchangeAudience},
		"description": "Federated Service Account for " + n.namespace + "/" + n.account,
	}, nil)
}

func (a *applicationIdentity) distrust(ctx context.Context, c accountCredential) error {
	return a.g.do(ctx, http.MethodDelete, a.path()+"/"+url.PathEscape(c.name), nil, nil)
}

// uses are the secrets and certificates by which others sign in as it.
func (a *applicationIdentity) uses(context.Context) ([]string, error) {
	var uses []string
	for _, s := range a.app.Secrets {
		uses = append(uses, "secret "+s.KeyID)
	}
	for _, c := range a.app.Certificates {
		uses = append(uses, "certificate "+c.Thumbprint)
	}
	return uses, nil
}

// servicePrincipalCalled gives the object ID of the one service principal with
// that name.
func (g *graphClient) servicePrincipalCalled(ctx context.Context, name string) (string, error) {
	found, err := list[struct{ ID string }](ctx, g, "/v1.0/servicePrincipals?$filter="+url.QueryEscape("displayName eq "+quoted(name)))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d service principals are called %q: name one by --service-principal-object-id", len(found), name)
	}
	return found[0].ID, nil
}
