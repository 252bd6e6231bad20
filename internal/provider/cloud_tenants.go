package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
)

// cloudVersions are the api-versions of Lanyard's own types.
var cloudVersions = []string{"2026-09-01"}

// cloudTenants is Lanyard.Directory/tenants: the tenants of the cloud, which the
// operator makes and deletes. Their RBAC actions are in Microsoft.Authorization,
// as writing there is what makes an Owner more than a Contributor.
//
// A new tenant gets a principal of its own, an Owner at its root, whose secret
// the answer holds, once. The principal that made it has no rights in it.
func cloudTenants(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Lanyard.Directory/tenants", Versions: cloudVersions, In: arm.AtTenant, CloudWide: true,
		Action: "Microsoft.Authorization/tenants", CheckName: checkTenantName,
	}, arm.VirtualHooks{
		List: func(context.Context, *arm.Request) ([]any, error) {
			items := []any{}
			for _, t := range cfg.Directory.Tenants() {
				items = append(items, showTenant(cfg, t))
			}
			return items, nil
		},
		Get: func(_ context.Context, r *arm.Request) (any, error) {
			t, ok := cfg.Directory.Tenant(r.Name)
			if !ok {
				return nil, errTenantNotFound(r.Name)
			}
			return showTenant(cfg, t), nil
		},
		Put: func(_ context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			return putTenant(cfg, r, body)
		},
		Delete: func(_ context.Context, r *arm.Request) (int, any, error) {
			return acceptTenantDelete(cfg, r)
		},
		AsyncDelete: func(_ context.Context, step *arm.Step) (bool, error) {
			id := step.ID.Name()
			return inStages(step,
				func() (bool, error) { return cfg.Guard.DeleteTenant(step.Tx, id) },
				func() (bool, error) { return arm.ForgetTenant(step.Tx, id) },
				func() (bool, error) { done, err := cfg.Directory.ClearTenant(step.Tx, id); return !done, err },
				func() (bool, error) { return cfg.Clusters.ForgetTenant(step.Tx, id) },
			)
		},
	})
}

func checkTenantName(name string) error {
	if azure.IsGUID(name) {
		return nil
	}
	return azure.Errorf(http.StatusBadRequest, "InvalidTenantId", "The tenant ID '%s' is not a GUID.", name)
}

func errTenantNotFound(name string) error {
	return azure.Errorf(http.StatusNotFound, "TenantNotFound", "The tenant '%s' could not be found.", name)
}

// cloudTenant is a tenant on the wire.
type cloudTenant struct {
	ID         string                `json:"id"`
	Name       string                `json:"name"`
	Type       string                `json:"type"`
	Properties cloudTenantProperties `json:"properties"`
}

type cloudTenantProperties struct {
	TenantID      string    `json:"tenantId"`
	DisplayName   string    `json:"displayName"`
	DefaultDomain string    `json:"defaultDomain"`
	Domains       []string  `json:"domains"`
	CountryCode   string    `json:"countryCode,omitempty"`
	CreatedTime   time.Time `json:"createdTime"`
	// Operator tells the tenant whose principals manage the cloud.
	Operator bool `json:"operator"`
	// Subscriptions is how many trust the tenant.
	Subscriptions int `json:"subscriptions"`
	// Bootstrap is in the answer that made the tenant, and in no other.
	Bootstrap *bootstrapPrincipal `json:"bootstrap,omitempty"`
}

// bootstrapPrincipal is the first principal of a tenant.
type bootstrapPrincipal struct {
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret"`
	ObjectID     string `json:"objectId"`
}

func showTenant(cfg Config, t directory.Tenant) cloudTenant {
	return cloudTenant{
		ID: "/providers/Lanyard.Directory/tenants/" + t.ID, Name: t.ID, Type: "Lanyard.Directory/tenants",
		Properties: cloudTenantProperties{
			TenantID: t.ID, DisplayName: t.DisplayName, DefaultDomain: t.DefaultDomain, Domains: t.Domains, CountryCode: t.CountryCode,
			CreatedTime: t.Created, Operator: azure.EqualFold(t.ID, cfg.OperatorTenant), Subscriptions: len(cfg.Directory.Subscriptions(t.ID)),
		},
	}
}

// putTenant makes a tenant, or changes the name and the country of one.
func putTenant(cfg Config, r *arm.Request, body json.RawMessage) (int, any, error) {
	var asked struct {
		Properties struct {
			DisplayName   string   `json:"displayName"`
			DefaultDomain string   `json:"defaultDomain"`
			Domains       []string `json:"domains"`
			CountryCode   string   `json:"countryCode"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return 0, nil, arm.InvalidContent(body, err)
	}
	p := asked.Properties
	if code := p.CountryCode; code != "" && (len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z') {
		return 0, nil, azure.Errorf(http.StatusBadRequest, "InvalidCountryCode",
			"The country code '%s' is not valid: it is of two capital letters, as in ISO 3166.", code)
	}
	_, err := cfg.Directory.TenantIn(r.Tx, r.Name)
	known, notFound := errors.AsType[*azure.Error](err)
	switch {
	case err == nil:
		t, err := cfg.Directory.ChangeTenant(r.Tx, r.Name, p.DisplayName, p.CountryCode)
		return http.StatusOK, showTenant(cfg, t), err
	case !notFound || known.Status != http.StatusNotFound:
		return 0, nil, err
	}
	made := directory.Tenant{
		ID: azure.Fold(r.Name), DisplayName: p.DisplayName, DefaultDomain: p.DefaultDomain, Domains: p.Domains, CountryCode: p.CountryCode,
	}
	if err := cfg.Directory.CreateTenant(r.Tx, made); err != nil {
		return 0, nil, err
	}
	boot, err := createBootstrap(cfg, r.Tx, made.ID)
	if err != nil {
		return 0, nil, err
	}
	t, err := cfg.Directory.TenantIn(r.Tx, made.ID)
	shown := showTenant(cfg, t)
	shown.Properties.Bootstrap = boot
	return http.StatusCreated, shown, err
}

// createBootstrap makes a tenant's first principal: an ordinary one, with a
// random secret and an Owner assignment at the root.
func createBootstrap(cfg Config, tx *store.Tx, tenantID string) (*bootstrapPrincipal, error) {
	app, principal, err := cfg.Directory.CreateApplication(tx, tenantID, "Lanyard bootstrap")
	if err != nil {
		return nil, err
	}
	_, secret, err := cfg.Directory.AddSecret(tx, tenantID, app.AppID, "made with the tenant", time.Time{})
	if err != nil {
		return nil, err
	}
	_, _, err = cfg.Guard.PutAssignment(tx, rbac.Assignment{
		Name: uuid.NewString(), TenantID: tenantID, Scope: azure.Root(), RoleDefinitionID: azure.RoleOwner,
		PrincipalID: principal.ObjectID, PrincipalType: azure.ServicePrincipal,
		Description: "Made with the tenant, so that there is someone to make everything else.",
	})
	return &bootstrapPrincipal{ClientID: app.AppID, ClientSecret: secret, ObjectID: principal.ObjectID}, err
}

// acceptTenantDelete ends a tenant without subscriptions. From then on nobody
// signs in to it, and the tokens that are out open nothing.
func acceptTenantDelete(cfg Config, r *arm.Request) (int, any, error) {
	if err := checkTenantName(r.Name); err != nil {
		return 0, nil, err
	}
	if azure.EqualFold(r.Name, cfg.OperatorTenant) {
		return 0, nil, azure.Errorf(http.StatusConflict, "OperatorTenant",
			"The tenant '%s' cannot be deleted: the principals that manage this cloud are in it.", r.Name)
	}
	err := cfg.Directory.EndTenant(r.Tx, r.Name)
	if known, ok := errors.AsType[*azure.Error](err); ok && known.Status == http.StatusNotFound {
		return http.StatusNoContent, nil, nil
	}
	return http.StatusAccepted, nil, err
}
