package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cluster"
)

// trustedIssuers is Lanyard.Directory/trustedIssuers: issuers whose keys this cloud
// cannot, or shall not, read from their own documents, such as those of clusters
// behind a firewall. The operator gives the keys, for one tenant: federated
// credentials of other tenants that name the issuer don't use them.
func trustedIssuers(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Lanyard.Directory/trustedIssuers", Versions: cloudVersions, In: arm.AtTenant, CloudWide: true,
		Action: "Microsoft.Authorization/trustedIssuers",
	}, arm.VirtualHooks{
		List: func(context.Context, *arm.Request) ([]any, error) {
			items := []any{}
			for _, t := range cfg.Clusters.TrustedIssuers() {
				items = append(items, showTrustedIssuer(t))
			}
			return items, nil
		},
		Get: func(_ context.Context, r *arm.Request) (any, error) {
			t, ok := cfg.Clusters.TrustedIssuer(r.Name)
			if !ok {
				return nil, azure.Errorf(http.StatusNotFound, "TrustedIssuerNotFound", "The trusted issuer '%s' could not be found.", r.Name)
			}
			return showTrustedIssuer(t), nil
		},
		Put: func(_ context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			return putTrustedIssuer(cfg, r, body)
		},
		Delete: func(_ context.Context, r *arm.Request) (int, any, error) {
			existed, after, err := cfg.Clusters.DeleteTrustedIssuer(r.Tx, r.Caller, r.Name)
			if err != nil {
				return 0, nil, err
			}
			if !existed {
				return http.StatusNoContent, nil, nil
			}
			r.AfterCommit(after)
			return http.StatusOK, nil, nil
		},
	})
}

func putTrustedIssuer(cfg Config, r *arm.Request, body json.RawMessage) (int, any, error) {
	var asked struct {
		Properties struct {
			IssuerURL string          `json:"issuerUrl"`
			TenantID  string          `json:"tenantId"`
			JWKS      json.RawMessage `json:"jwks"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return 0, nil, arm.InvalidContent(body, err)
	}
	p := asked.Properties
	if _, err := cfg.Directory.TenantIn(r.Tx, p.TenantID); err != nil {
		if known, ok := errors.AsType[*azure.Error](err); ok && known.Status == http.StatusNotFound {
			known = azure.Errorf(http.StatusBadRequest, "InvalidTenantId",
				"There is no tenant '%s' in this cloud: properties.tenantId is the tenant whose federated credentials trust the issuer.", p.TenantID)
			known.Target = "properties.tenantId"
			return 0, nil, known
		}
		return 0, nil, err
	}
	t, created, after, err := cfg.Clusters.PutTrustedIssuer(r.Tx, r.Caller, cluster.TrustedIssuer{
		Name: r.Name, IssuerURL: p.IssuerURL, TenantID: p.TenantID, KeySet: p.JWKS,
	})
	if err != nil {
		return 0, nil, err
	}
	r.AfterCommit(after)
	if created {
		return http.StatusCreated, showTrustedIssuer(t), nil
	}
	return http.StatusOK, showTrustedIssuer(t), nil
}

func showTrustedIssuer(t cluster.TrustedIssuer) map[string]any {
	return cloudItem("trustedIssuers", t.Name, map[string]any{
		"issuerUrl": t.IssuerURL, "tenantId": t.TenantID, "jwks": t.KeySet, "createdTime": t.Created, "changedTime": t.Changed,
	})
}
