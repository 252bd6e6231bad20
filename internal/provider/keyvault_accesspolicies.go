package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// vaultAccessPolicies is PUT {vault}/accessPolicies/{add|replace|remove}: a
// change of some entries of a vault's access policies, without the rest.
func vaultAccessPolicies(Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.KeyVault/vaults/accessPolicies", Versions: vaultVersions, In: arm.AtResourceGroup,
		ParentMissing: vaultMissing,
	}, arm.VirtualHooks{
		Put: func(_ context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			return changeAccessPolicies(r, body)
		},
	})
}

func vaultMissing(vault azure.ResourceID) error {
	return azure.Errorf(http.StatusNotFound, "ResourceNotFound", "The Resource 'Microsoft.KeyVault/vaults/%s' under resource group '%s' "+
		"was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", vault.Name(), vault.ResourceGroup())
}

func changeAccessPolicies(r *arm.Request, body json.RawMessage) (int, any, error) {
	vault, err := arm.Parent[vaultProperties](r)
	if err != nil {
		return 0, nil, err
	}
	var change struct {
		Properties *vaultProperties `json:"properties"`
	}
	if err := json.Unmarshal(body, &change); err != nil || change.Properties == nil {
		return 0, nil, invalidVault("properties", "The body must be an object with the member 'properties', which holds 'accessPolicies'.")
	}
	if err := change.Properties.checkPolicies(r.TenantID); err != nil {
		return 0, nil, err
	}
	merge, ok := policyChanges[azure.Fold(r.Name)]
	if !ok {
		return 0, nil, invalidVault("operationKind", "It must be 'add', 'replace' or 'remove'.")
	}
	policies := slices.Clone(vault.Properties.AccessPolicies)
	for _, p := range change.Properties.AccessPolicies {
		policies = merge(policies, p)
	}
	if len(policies) > maxAccessPolicies {
		return 0, nil, (&vaultProperties{AccessPolicies: policies}).checkPolicies(r.TenantID)
	}
	vault.Properties.AccessPolicies = policies
	if err := store.PutJSON(r.Tx, arm.Key(vault.TenantID, vault.ID), vault); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{
		"id": vault.ID.String() + "/accessPolicies/", "type": r.Type, "location": vault.Location,
		"properties": map[string]any{"accessPolicies": policies},
	}, nil
}

// policyChanges apply one entry of a request to a vault's entries. An entry is
// known by its principal and application.
var policyChanges = map[string]func([]vaultAccessPolicy, vaultAccessPolicy) []vaultAccessPolicy{
	"add": func(all []vaultAccessPolicy, p vaultAccessPolicy) []vaultAccessPolicy {
		i := indexOfPolicy(all, p)
		if i < 0 {
			return append(all, p)
		}
		all[i].Permissions = all[i].Permissions.combine(p.Permissions, union)
		return all
	},
	"replace": func(all []vaultAccessPolicy, p vaultAccessPolicy) []vaultAccessPolicy {
		i := indexOfPolicy(all, p)
		if i < 0 {
			return append(all, p)
		}
		all[i] = p
		return all
	},
	"remove": func(all []vaultAccessPolicy, p vaultAccessPolicy) []vaultAccessPolicy {
		i := indexOfPolicy(all, p)
		if i < 0 {
			return all
		}
		all[i].Permissions = all[i].Permissions.combine(p.Permissions, without)
		if all[i].Permissions.empty() {
			return slices.Delete(all, i, i+1)
		}
		return all
	},
}

func indexOfPolicy(all []vaultAccessPolicy, p vaultAccessPolicy) int {
	return slices.IndexFunc(all, func(q vaultAccessPolicy) bool {
		return q.ObjectID == p.ObjectID && q.ApplicationID == p.ApplicationID
	})
}

func (a vaultPermissions) combine(b vaultPermissions, f func(a, b []string) []string) vaultPermissions {
	return vaultPermissions{
		Keys: f(a.Keys, b.Keys), Secrets: f(a.Secrets, b.Secrets),
		Certificates: f(a.Certificates, b.Certificates), Storage: f(a.Storage, b.Storage),
	}
}

func (a vaultPermissions) empty() bool {
	return len(a.Keys)+len(a.Secrets)+len(a.Certificates)+len(a.Storage) == 0
}

func union(a, b []string) []string { return append(slices.Clone(a), without(b, a)...) }

// without gives what of a is not in b, compared as permissions are.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool {
		return slices.ContainsFunc(b, func(t string) bool { return azure.EqualFold(s, t) })
	})
}
