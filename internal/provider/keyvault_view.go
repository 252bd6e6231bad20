package provider

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// VaultFacts is what the Key Vault plane needs of a vault.
type VaultFacts struct {
	Name      string
	Instance  string // tells this vault from a purged one of the same name
	ID        azure.ResourceID
	TenantID  string
	Location  string
	Geography string // the Location where no region is known by that name
	// RBAC tells that role assignments decide; else AccessPolicies do.
	RBAC            bool
	AccessPolicies  []VaultAccessPolicy
	RetentionDays   int
	PurgeProtection bool
	// NetworkDisabled refuses everyone; NetworkDeny refuses all addresses that
	// no prefix in NetworkAllow holds.
	NetworkDisabled bool
	NetworkDeny     bool
	NetworkAllow    []netip.Prefix
}

// VaultAccessPolicy is an access policy, as far as the plane serves what it is
// about.
type VaultAccessPolicy struct {
	ObjectID, ApplicationID string
	Secrets, Certificates   []string
}

// VaultView knows all vaults that are not deleted, from memory.
type VaultView struct {
	geographies map[string]string
	logger      *slog.Logger

	mu     sync.RWMutex
	vaults map[string]VaultFacts // by folded name
}

// FollowVaults makes the view; it follows the store until that closes. ctx bounds the
// making only.
func FollowVaults(ctx context.Context, cfg Config) (*VaultView, error) {
	v := &VaultView{geographies: map[string]string{}, logger: cfg.Logger}
	locations := cfg.Locations
	if locations == nil {
		locations = AzureLocations()
	}
	for _, l := range locations {
		v.geographies[l.Name] = l.Geography
	}
	if v.logger == nil {
		v.logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.Store.Follow(ctx, vaultKeys, v.apply); err != nil {
		return nil, err
	}
	return v, nil
}

// vaultKeys begins the keys of all resources in subscriptions, of which those
// of vaults are picked out.
var vaultKeys = strings.TrimSuffix(arm.Key("", azure.SubscriptionScope("s")), "s")

// vaultType stands before the name in a vault's key.
const vaultType = "/providers/microsoft.keyvault/vaults/"

// Vault gives the vault with the folded name.
func (v *VaultView) Vault(name string) (VaultFacts, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	facts, ok := v.vaults[name]
	return facts, ok
}

func (v *VaultView) apply(changes []store.Change, reset bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if reset {
		v.vaults = map[string]VaultFacts{}
	}
	for _, c := range changes {
		_, name, ok := strings.Cut(c.Key, vaultType)
		if !ok || strings.Contains(name, "/") {
			continue
		}
		// What cannot be read is no vault: the plane then refuses rather than
		// guesses.
		delete(v.vaults, name)
		if c.Value == nil {
			continue
		}
		res, err := arm.Decode[vaultProperties](c.Value, c.Revision)
		if err != nil {
			v.logger.Error("a stored vault cannot be read and is not served", "key", c.Key, "error", err)
			continue
		}
		v.vaults[name] = v.facts(res)
	}
}

func (v *VaultView) facts(res *arm.Resource[vaultProperties]) VaultFacts {
	p := &res.Properties
	f := VaultFacts{
		Name: res.ID.Name(), Instance: p.Instance, ID: res.ID, TenantID: res.TenantID,
		Location: res.Location, Geography: v.geographies[res.Location],
		RBAC: p.rbac(), RetentionDays: p.retentionDays(), PurgeProtection: p.purgeProtected(),
		NetworkDisabled: p.PublicNetworkAccess == "Disabled",
	}
	if f.Geography == "" {
		f.Geography = res.Location
	}
	for _, a := range p.AccessPolicies {
		f.AccessPolicies = append(f.AccessPolicies, VaultAccessPolicy{
			ObjectID: a.ObjectID, ApplicationID: a.ApplicationID,
			Secrets: a.Permissions.Secrets, Certificates: a.Permissions.Certificates,
		})
	}
	if p.NetworkACLs != nil {
		f.NetworkDeny = p.NetworkACLs.DefaultAction == "Deny"
		for _, rule := range p.NetworkACLs.IPRules {
			if prefix, err := parseIPRule(rule.Value); err == nil {
				f.NetworkAllow = append(f.NetworkAllow, prefix)
			}
		}
	}
	return f
}
