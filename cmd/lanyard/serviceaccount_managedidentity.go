package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

const identityType = "Microsoft.ManagedIdentity/userAssignedIdentities"

// managedIdentity is a user-assigned identity.
type managedIdentity struct {
	c        *armClient
	id       azure.ResourceID
	location string // for a new one; empty: that of its group
	there    bool
	wire     managedIdentityWire
}

type managedIdentityWire struct {
	Properties struct {
		ClientID    string `json:"clientId"`
		PrincipalID string `json:"principalId"`
	} `json:"properties"`
}

func findManagedIdentity(ctx context.Context, c *armClient, id azure.ResourceID, location string) (*managedIdentity, error) {
	m := &managedIdentity{c: c, id: id, location: location}
	err := c.do(ctx, http.MethodGet, id.String()+identityVersion, nil, &m.wire)
	if err != nil && !isStatus(err, http.StatusNotFound) {
		return nil, err
	}
	m.there = err == nil
	return m, nil
}

func (m *managedIdentity) String() string { return "managed identity " + m.id.String() }

func (m *managedIdentity) facts() identityFacts {
	return identityFacts{
		exists: m.there, complete: m.there,
		clientID: m.wire.Properties.ClientID, principalID: m.wire.Properties.PrincipalID,
	}
}

func (m *managedIdentity) create(ctx context.Context) error {
	// The group's location also tells whether there is a group.
	var group struct{ Location string }
	err := m.c.do(ctx, http.MethodGet, m.id.Scope().String()+resourceGroupVersion, nil, &group)
	if isCode(err, "ResourceGroupNotFound") {
		name := m.id.ResourceGroup()
		return fmt.Errorf("there is no resource group %s: make it (az group create --name %s --location LOCATION), or name another with --resource-group: %w", name, name, err)
	}
	location := m.location
	switch {
	case location != "": // whoever may not read the group may still write into it
	case err != nil:
		return err
	default:
		location = group.Location
	}
	if err := m.c.do(ctx, http.MethodPut, m.id.String()+identityVersion, map[string]any{"location": location}, &m.wire); err != nil {
		return err
	}
	m.there = true
	return nil
}

func (m *managedIdentity) remove(ctx context.Context) error {
	_, err := m.c.remove(ctx, m.id.String()+identityVersion)
	return err
}

func (m *managedIdentity) credentials(ctx context.Context) ([]accountCredential, error) {
	found, err := list[struct {
		Name       string
		Properties struct {
			Issuer, Subject string
			Audiences       []string
		}
	}](ctx, m.c, m.id.String()+"/federatedIdentityCredentials"+identityVersion)
	if err != nil {
		return nil, err
	}
	all := make([]accountCredential, len(found))
	for i, c := range found {
		all[i] = accountCredential{name: c.Name, issuer: c.Properties.Issuer, subject: c.Properties.Subject, audiences: c.Properties.Audiences}
	}
	return all, nil
}

func (m *managedIdentity) credentialPath(name string) string {
	return m.id.String() + "/federatedIdentityCredentials/" + url.PathEscape(name) + identityVersion
}

func (m *managedIdentity) trust(ctx context.Context, n accountNames) error {
	return oneAtATime(ctx, func() error {
		return m.c.do(ctx, http.MethodPut, m.credentialPath(n.identityCredential()), map[string]any{"properties": map[string]any{
			"issuer": n.issuer, "subject": n.subject(), "audiences": []string{exchangeAudience},
		}}, nil)
	})
}

func (m *managedIdentity) distrust(ctx context.Context, c accountCredential) error {
	return oneAtATime(ctx, func() error {
		_, err := m.c.remove(ctx, m.credentialPath(c.name))
		return err
	})
}

// oneAtATime repeats a write of a credential that met another one of the same
// identity, as Azure tells automation to.
func oneAtATime(ctx context.Context, write func() error) error {
	const attempts, pause = 10, 200 * time.Millisecond
	for i := 1; ; i++ {
		err := write()
		if i == attempts || !isCode(err, "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity") {
			return err
		}
		if err := waitFor(ctx, time.Duration(i)*pause); err != nil {
			return err
		}
	}
}

// uses are the resources that have the identity.
func (m *managedIdentity) uses(ctx context.Context) ([]string, error) {
	var found struct {
		Value []struct{ ID string } `json:"value"`
	}
	// This action came with an earlier api-version, and went.
	err := m.c.do(ctx, http.MethodPost, m.id.String()+"/listAssociatedResources?api-version=2022-01-31-preview", nil, &found)
	if err != nil {
		return nil, err
	}
	var uses []string
	for _, each := range found.Value {
		uses = append(uses, each.ID)
	}
	return uses, nil
}
