package provider

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// federatedIdentityCredentials are the issuers and subjects whose tokens become
// a user-assigned identity. The directory keeps them with the principal, and
// has the rules.
func federatedIdentityCredentials(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
		// Federation came with 2022-01-31-preview.
		Versions:  managedIdentityVersions[:6],
		In:        arm.AtResourceGroup,
		CheckName: func(string) error { return nil }, // the directory's rule
		Rates:     managedIdentityRates,
		ParentMissing: func(azure.ResourceID) error {
			return azure.Errorf(http.StatusNotFound, "NotFound", "The parent user-assigned identity doesn't exist.")
		},
	}, arm.VirtualHooks{
		List: func(ctx context.Context, r *arm.Request) ([]any, error) {
			owner, list, err := readCredentials(ctx, cfg, r)
			items := []any{}
			for _, c := range list {
				items = append(items, showCredential(owner, c))
			}
			return items, err
		},
		Get: func(ctx context.Context, r *arm.Request) (any, error) {
			owner, list, err := readCredentials(ctx, cfg, r)
			if err != nil {
				return nil, err
			}
			for _, c := range list {
				if azure.EqualFold(c.Name, r.Name) {
					return showCredential(owner, c), nil
				}
			}
			return nil, azure.Errorf(http.StatusNotFound, "NotFound",
				"The Federated Identity Credential '%s' does not exist on the managed identity '%s'.", r.Name, owner.ID)
		},
		Put: func(_ context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			return putCredential(cfg, r, body)
		},
		Delete: func(_ context.Context, r *arm.Request) (int, any, error) {
			owner, err := arm.Parent[identityProperties](r)
			if err != nil {
				return 0, nil, err
			}
			existed, err := cfg.Directory.DeleteFederatedCredential(r.Tx, r.TenantID, owner.Properties.PrincipalID, r.Name)
			if existed {
				return http.StatusOK, nil, err
			}
			return http.StatusNoContent, nil, err
		},
	})
}

// credentialProperties are a credential's properties on the wire.
type credentialProperties struct {
	Issuer                   string                              `json:"issuer"`
	Subject                  string                              `json:"subject,omitempty"`
	Audiences                []string                            `json:"audiences"`
	ClaimsMatchingExpression *directory.ClaimsMatchingExpression `json:"claimsMatchingExpression,omitempty"`
}

type credential struct {
	ID         string               `json:"id"`
	Name       string               `json:"name"`
	Type       string               `json:"type"`
	Properties credentialProperties `json:"properties"`
}

func showCredential(owner *arm.Resource[identityProperties], c directory.FederatedCredential) credential {
	return credential{
		ID:   owner.ID.Child("federatedIdentityCredentials", c.Name).String(),
		Name: c.Name,
		Type: "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
		Properties: credentialProperties{
			Issuer: c.Issuer, Subject: c.Subject, Audiences: c.Audiences, ClaimsMatchingExpression: c.ClaimsMatchingExpression,
		},
	}
}

// readCredentials reads linearizably, as the Resource Manager does; the token
// service has the directory's view.
func readCredentials(ctx context.Context, cfg Config, r *arm.Request) (*arm.Resource[identityProperties], []directory.FederatedCredential, error) {
	owner, err := arm.Parent[identityProperties](r)
	if err != nil {
		return nil, nil, err
	}
	var list []directory.FederatedCredential
	_, err = cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		list, err = cfg.Directory.FederatedCredentials(tx, r.TenantID, owner.Properties.PrincipalID)
		return err
	})
	return owner, list, err
}

func putCredential(cfg Config, r *arm.Request, body json.RawMessage) (int, any, error) {
	owner, err := arm.Parent[identityProperties](r)
	if err != nil {
		return 0, nil, err
	}
	var b struct {
		Properties *credentialProperties `json:"properties"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return 0, nil, arm.InvalidContent(body, err)
	}
	if b.Properties == nil {
		return 0, nil, azure.Errorf(http.StatusBadRequest, "BadRequest", "Federated Identity Credential from HTTP body has empty properties")
	}
	c := directory.FederatedCredential{
		TenantID: r.TenantID, Owner: owner.Properties.PrincipalID, Name: r.Name,
		Issuer: b.Properties.Issuer, Subject: b.Properties.Subject, Audiences: b.Properties.Audiences,
		ClaimsMatchingExpression: b.Properties.ClaimsMatchingExpression,
	}
	created, err := cfg.Directory.PutFederatedCredential(r.Tx, c)
	if err != nil {
		return 0, nil, err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return status, showCredential(owner, c), nil
}
