package keyvault

import (
	"net/netip"
	"regexp"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Vaults tells the plane of vaults. It is asked on every request and must
// answer from memory.
type Vaults interface {
	// Vault gives the vault with the folded name. It is false for a name that
	// no vault has, and for a vault that is deleted, also if it can be
	// recovered.
	Vault(name string) (Vault, bool)
}

// Vault is what the data plane needs of a vault's resource.
type Vault struct {
	// Name is the vault's name as it was created.
	Name string
	// Instance tells this vault from a purged one of the same name: any
	// identifier without a slash that no other vault has ever had.
	Instance string
	// ID is the vault's resource ID: the scope above its secrets.
	ID azure.ResourceID
	// TenantID is the one directory whose tokens the vault accepts.
	TenantID string
	// Location is the normalized region, which errors print.
	Location string
	// Geography groups regions: a backup can be restored within one only. It is
	// the Location where nothing larger is known.
	Geography string
	// RBAC tells that role assignments decide; else AccessPolicies do.
	RBAC bool
	// AccessPolicies are at most 1,024 entries; they count only without RBAC.
	AccessPolicies []AccessPolicy
	// RetentionDays, from 7 to 90, is how long a deleted secret can be recovered.
	RetentionDays int
	// PurgeProtection refuses the purge of deleted secrets before that time.
	PurgeProtection bool
	// Network restricts from where the vault is reached.
	Network Network
}

// AccessPolicy grants a principal permissions on all contents of a vault.
type AccessPolicy struct {
	// ObjectID is a user, group or service principal of the vault's tenant.
	ObjectID string
	// ApplicationID, unless empty, narrows the entry to users who come through
	// that application.
	ApplicationID string
	// Secrets and Certificates are permission names: "get", "list", "all".
	Secrets      []string
	Certificates []string
}

// Network is a vault's firewall.
type Network struct {
	// Disabled refuses every request: publicNetworkAccess is "Disabled", and
	// Lanyard has no private endpoints by which one could still come.
	Disabled bool
	// Deny refuses every address that no prefix in Allow holds. Without it
	// Allow has no effect.
	Deny  bool
	Allow []netip.Prefix
}

// allows reports whether a peer may reach the vault at all.
func (n Network) allows(peer netip.Addr) bool {
	if n.Disabled {
		return false
	}
	if !n.Deny {
		return true
	}
	return peer.IsValid() && slices.ContainsFunc(n.Allow, func(p netip.Prefix) bool { return p.Contains(peer.Unmap()) })
}

// recoveryLevel gives the attribute by which every secret of the vault says
// what its deletion means.
func (v Vault) recoveryLevel() string {
	level := "Recoverable"
	if v.RetentionDays < maxRetentionDays {
		level = "CustomizedRecoverable"
	}
	if !v.PurgeProtection {
		level += "+Purgeable"
	}
	return level
}

// maxRetentionDays is the retention that Azure calls Recoverable; a shorter one
// is Customized.
const maxRetentionDays = 90

// key is the vault's part of a storage key.
func (v Vault) key() string { return azure.Fold(v.Name) + "/" + v.Instance }

// vaultName is the grammar of vault names, without the rule against two
// hyphens in a row.
var vaultName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,22}[a-z0-9]$`)
