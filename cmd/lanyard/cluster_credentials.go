package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// trustingCredential is a federated credential that trusts a cluster's issuer.
type trustingCredential struct {
	// Resource is its ARM ID, or for an application's its path in Graph.
	Resource string `json:"resource"`
	// Owner is the managed identity's or the application's name.
	Owner string `json:"owner"`
	// Subject is empty where an expression stands in its place.
	Subject     string `json:"subject,omitempty"`
	application bool
}

// trustingCredentials lists the federated credentials that trust one of the
// issuers: those of managed identities in every subscription that the caller
// sees, and those of applications.
func trustingCredentials(ctx context.Context, c *armClient, issuers map[string]bool) ([]trustingCredential, error) {
	found := []trustingCredential{}
	subscriptions, err := list[subscription](ctx, c, "/subscriptions"+subscriptionVersion)
	if err != nil {
		return nil, err
	}
	for _, s := range subscriptions {
		of, err := c.identitiesTrusting(ctx, s.SubscriptionID, issuers)
		if err != nil {
			return nil, err
		}
		found = append(found, of...)
	}
	of, err := applicationsTrusting(ctx, c, issuers)
	return append(found, of...), err
}

// identitiesTrusting lists those of a subscription's managed identities.
func (c *armClient) identitiesTrusting(ctx context.Context, subscription string, issuers map[string]bool) ([]trustingCredential, error) {
	type named struct{ ID, Name string }
	identities, err := list[named](ctx, c,
		azure.SubscriptionScope(subscription).String()+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities"+identityVersion)
	if err != nil {
		return nil, fmt.Errorf("listing managed identities: %w", err)
	}
	var found []trustingCredential
	for _, identity := range identities {
		credentials, err := list[struct {
			ID         string
			Properties struct{ Issuer, Subject string }
		}](ctx, c, identity.ID+"/federatedIdentityCredentials"+identityVersion)
		if isCode(err, "ResourceNotFound", "ParentResourceNotFound") {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("listing the federated credentials of %s: %w", identity.Name, err)
		}
		for _, f := range credentials {
			if issuers[f.Properties.Issuer] {
				found = append(found, trustingCredential{Resource: f.ID, Owner: identity.Name, Subject: f.Properties.Subject})
			}
		}
	}
	return found, nil
}

// applicationsTrusting lists those of the tenant's applications.
func applicationsTrusting(ctx context.Context, c *armClient, issuers map[string]bool) ([]trustingCredential, error) {
	g, err := newGraphClient(ctx, c.env)
	if err != nil {
		return nil, err
	}
	defer g.close()
	applications, err := list[application](ctx, g, "/v1.0/applications?$top=999")
	if err != nil {
		return nil, fmt.Errorf("listing applications: %w", err)
	}
	var found []trustingCredential
	for _, app := range applications {
		credentials, err := list[federatedCredential](ctx, g, "/beta/applications/"+app.ObjectID+"/federatedIdentityCredentials")
		if err != nil {
			return nil, fmt.Errorf("listing the federated credentials of %s: %w", app.DisplayName, err)
		}
		for _, f := range credentials {
			if issuers[f.Issuer] {
				found = append(found, trustingCredential{
					Resource: "/applications/" + app.ObjectID + "/federatedIdentityCredentials/" + f.ID,
					Owner:    app.DisplayName, Subject: f.Subject, application: true,
				})
			}
		}
	}
	return found, nil
}

// removeTrusting deletes a credential. One that is gone is no error.
func removeTrusting(ctx context.Context, c *armClient, t trustingCredential) error {
	if !t.application {
		_, err := c.remove(ctx, t.Resource+identityVersion)
		return err
	}
	g, err := newGraphClient(ctx, c.env)
	if err != nil {
		return err
	}
	defer g.close()
	return g.do(ctx, http.MethodDelete, "/v1.0"+(&url.URL{Path: t.Resource}).EscapedPath(), nil, nil)
}
