package provider

import (
	"context"
	"net/http"
	"regexp"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// managedIdentityVersions are the api-versions of Microsoft.ManagedIdentity.
var managedIdentityVersions = []string{
	"2025-05-31-preview", "2025-01-31-preview", "2024-11-30", "2023-07-31-preview", "2023-01-31", "2022-01-31-preview",
	"2021-09-30-preview", "2018-11-30", "2015-08-31-preview",
}

// identityName is the rule for names of user-assigned identities.
var identityName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}$`)

// identityProperties are those of a user-assigned identity, stored and on the
// wire.
type identityProperties struct {
	TenantID    string `json:"tenantId"`
	PrincipalID string `json:"principalId"`
	ClientID    string `json:"clientId"`
	// IsolationScope is "None" or "Regional"; kept, without effect.
	IsolationScope         string                  `json:"isolationScope,omitempty"`
	AssignmentRestrictions *assignmentRestrictions `json:"assignmentRestrictions,omitempty"`
}

type assignmentRestrictions struct {
	Providers []string `json:"providers"`
}

// userAssignedIdentities are Microsoft.ManagedIdentity/userAssignedIdentities:
// each has a principal in the directory, made and deleted in the same
// transaction. Its role assignments at other scopes stay, naming no one.
func userAssignedIdentities(cfg Config) arm.Type {
	return arm.Define(arm.Spec{
		Name:      "Microsoft.ManagedIdentity/userAssignedIdentities",
		Versions:  managedIdentityVersions,
		In:        arm.AtResourceGroup,
		Tracked:   true,
		CheckName: checkIdentityName,
		Rates:     managedIdentityRates,
	}, arm.Hooks[identityProperties]{
		Put: func(_ context.Context, p *arm.Put[identityProperties]) error { return putIdentity(cfg, p) },
		Delete: func(_ context.Context, r *arm.Request, old *arm.Resource[identityProperties]) error {
			if err := cfg.Guard.KeepAdministrator(r.Tx, old.TenantID, old.Properties.PrincipalID); err != nil {
				return err
			}
			return cfg.Directory.DeletePrincipal(r.Tx, old.TenantID, old.Properties.PrincipalID)
		},
		Principal: func(p *identityProperties) (string, string) { return p.PrincipalID, p.ClientID },
	})
}

// managedIdentityRates are what Azure documents for identities and their
// federated credentials.
var managedIdentityRates = arm.Rates{
	Read:   arm.Rate{Tenant: 30, Subscription: 10, Resource: 0.5},
	List:   arm.Rate{Tenant: 15, Subscription: 5, Resource: 0.25},
	Write:  arm.Rate{Tenant: 10, Subscription: 2, Resource: 0.25},
	Delete: arm.Rate{Tenant: 10, Subscription: 2, Resource: 0.25},
}

func checkIdentityName(name string) error {
	if identityName.MatchString(name) {
		return nil
	}
	return azure.Errorf(http.StatusBadRequest, "InvalidResourceName",
		"The name '%s' of the user-assigned identity is invalid. It has 3 to 128 letters, digits, '-' and '_', and starts with a letter or digit.", name)
}

// putIdentity makes the principal of a new identity; an old one keeps its own.
func putIdentity(cfg Config, p *arm.Put[identityProperties]) error {
	props := &p.New.Properties
	switch {
	case props.IsolationScope == "":
	case azure.EqualFold(props.IsolationScope, "None"):
		props.IsolationScope = "None"
	case azure.EqualFold(props.IsolationScope, "Regional"):
		props.IsolationScope = "Regional"
	default:
		err := azure.Errorf(http.StatusBadRequest, "BadRequest",
			"The isolationScope '%s' is not valid. It must be 'None' or 'Regional'.", props.IsolationScope)
		err.Target = "properties.isolationScope"
		return err
	}
	if p.New.Tags == nil {
		p.New.Tags = map[string]string{} // as Azure shows an identity
	}
	if p.Old != nil {
		props.TenantID, props.PrincipalID, props.ClientID = p.Old.Properties.TenantID, p.Old.Properties.PrincipalID, p.Old.Properties.ClientID
		return nil
	}
	principal, err := cfg.Directory.CreateManagedIdentity(p.Tx, p.TenantID, p.New.ID, false)
	if err != nil {
		return err
	}
	props.TenantID, props.PrincipalID, props.ClientID = p.TenantID, principal.ObjectID, principal.AppID
	return nil
}
