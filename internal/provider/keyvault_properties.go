package provider

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// Limits of a vault's settings, Azure's own.
const (
	minRetentionDays  = 7
	maxRetentionDays  = 90
	maxAccessPolicies = 1024
)

// vaultProperties is a vault as it is stored and, without Instance, as it is
// shown. The pointers tell what a client left out.
type vaultProperties struct {
	TenantID                     string              `json:"tenantId"`
	SKU                          *vaultSKU           `json:"sku"`
	AccessPolicies               []vaultAccessPolicy `json:"accessPolicies"`
	EnabledForDeployment         *bool               `json:"enabledForDeployment,omitempty"`
	EnabledForDiskEncryption     *bool               `json:"enabledForDiskEncryption,omitempty"`
	EnabledForTemplateDeployment *bool               `json:"enabledForTemplateDeployment,omitempty"`
	EnableSoftDelete             *bool               `json:"enableSoftDelete,omitempty"`
	SoftDeleteRetentionInDays    *int                `json:"softDeleteRetentionInDays,omitempty"`
	EnableRbacAuthorization      *bool               `json:"enableRbacAuthorization,omitempty"`
	EnablePurgeProtection        *bool               `json:"enablePurgeProtection,omitempty"`
	NetworkACLs                  *vaultNetworkACLs   `json:"networkAcls,omitempty"`
	PublicNetworkAccess          string              `json:"publicNetworkAccess,omitempty"`
	VaultURI                     string              `json:"vaultUri"`
	// CreateMode is "recover" in a request that brings back a deleted vault; it
	// is never stored.
	CreateMode string `json:"createMode,omitempty"`
	// Instance names this vault's contents; it is never shown, and what a client
	// writes here is not looked at.
	Instance string `json:"instance,omitempty"`
}

type vaultSKU struct {
	Family string `json:"family"`
	Name   string `json:"name"`
}

type vaultAccessPolicy struct {
	TenantID      string           `json:"tenantId"`
	ObjectID      string           `json:"objectId"`
	ApplicationID string           `json:"applicationId,omitempty"`
	Permissions   vaultPermissions `json:"permissions"`
}

type vaultPermissions struct {
	Keys         []string `json:"keys,omitempty"`
	Secrets      []string `json:"secrets,omitempty"`
	Certificates []string `json:"certificates,omitempty"`
	Storage      []string `json:"storage,omitempty"`
}

func (v *vaultProperties) rbac() bool {
	return v.EnableRbacAuthorization != nil && *v.EnableRbacAuthorization
}

func (v *vaultProperties) purgeProtected() bool {
	return v.EnablePurgeProtection != nil && *v.EnablePurgeProtection
}

func (v *vaultProperties) retentionDays() int {
	if v.SoftDeleteRetentionInDays == nil {
		return maxRetentionDays
	}
	return *v.SoftDeleteRetentionInDays
}

// complete checks what the client wrote and fills in the rest: the defaults of
// a new vault, or what an existing one keeps.
func (v *vaultProperties) complete(cfg Config, p *arm.Put[vaultProperties]) error {
	v.Instance = ""
	if err := v.checkIdentity(p.TenantID); err != nil {
		return err
	}
	if err := v.checkPolicies(p.TenantID); err != nil {
		return err
	}
	if err := v.checkNetwork(cfg.Strict); err != nil {
		return err
	}
	var old *vaultProperties
	if p.Old != nil {
		old = &p.Old.Properties
	}
	if err := v.completeDeletion(old); err != nil {
		return err
	}
	v.completeMode(old, p.APIVersion)
	v.VaultURI = cfg.Cloud.VaultURI(p.ID.Name())
	if v.AccessPolicies == nil {
		v.AccessPolicies = []vaultAccessPolicy{}
	}
	v.Instance = newInstance()
	if old != nil {
		v.Instance = old.Instance
	}
	return nil
}

// checkIdentity checks whose the vault is and of which kind.
func (v *vaultProperties) checkIdentity(tenantID string) error {
	if !azure.EqualFold(v.TenantID, tenantID) {
		return invalidVault("tenantId", fmt.Sprintf("It must be the tenant of the subscription, '%s'.", tenantID))
	}
	v.TenantID = tenantID
	if v.SKU == nil || !azure.EqualFold(v.SKU.Family, "A") ||
		!azure.EqualFold(v.SKU.Name, "standard") && !azure.EqualFold(v.SKU.Name, "premium") {
		return invalidVault("sku", "It must have the family 'A' and the name 'standard' or 'premium'.")
	}
	v.SKU.Family, v.SKU.Name = "A", azure.Fold(v.SKU.Name)
	return nil
}

// completeMode chooses roles or access policies where the client didn't: an
// existing vault stays as it is, a new one follows the api-version.
func (v *vaultProperties) completeMode(old *vaultProperties, apiVersion string) {
	if v.EnableRbacAuthorization != nil {
		return
	}
	mode := azure.Fold(apiVersion)[:len(rbacByDefault)] >= rbacByDefault
	if old != nil {
		mode = old.rbac()
	}
	v.EnableRbacAuthorization = &mode
}

// completeDeletion holds the client to what cannot be undone: soft delete is
// always on, its retention is fixed at creation, purge protection stays.
func (v *vaultProperties) completeDeletion(old *vaultProperties) error {
	if v.EnableSoftDelete != nil && !*v.EnableSoftDelete {
		return azure.Errorf(http.StatusBadRequest, "BadRequest", "The property \"enableSoftDelete\" cannot be set to false. "+
			"Every vault has the 'soft delete' functionality enabled, which is an irreversible action.")
	}
	on := true
	v.EnableSoftDelete = &on

	days := maxRetentionDays
	if old != nil {
		days = old.retentionDays()
	}
	switch asked := v.SoftDeleteRetentionInDays; {
	case asked == nil:
	case *asked < minRetentionDays || *asked > maxRetentionDays:
		return invalidVault("softDeleteRetentionInDays", fmt.Sprintf("It must be from %d to %d.", minRetentionDays, maxRetentionDays))
	case old != nil && *asked != days:
		return azure.Errorf(http.StatusBadRequest, "BadRequest",
			"The property \"softDeleteRetentionInDays\" has already been set and it can't be modified.")
	default:
		days = *asked
	}
	v.SoftDeleteRetentionInDays = &days

	if v.EnablePurgeProtection != nil && !*v.EnablePurgeProtection {
		return azure.Errorf(http.StatusBadRequest, "BadRequest", "The property \"enablePurgeProtection\" cannot be set to false. "+
			"Enabling the purge protection for a vault is an irreversible action.")
	}
	if old != nil && old.purgeProtected() {
		v.EnablePurgeProtection = &on
	}
	return nil
}

// checkPolicies checks the access policies. They may name principals that the
// directory doesn't know, as on Azure: clients write a policy for a principal
// right after creating it.
func (v *vaultProperties) checkPolicies(tenantID string) error {
	if len(v.AccessPolicies) > maxAccessPolicies {
		return invalidVault("accessPolicies", fmt.Sprintf("There may be at most %d.", maxAccessPolicies))
	}
	for i := range v.AccessPolicies {
		if err := v.AccessPolicies[i].check(i, tenantID); err != nil {
			return err
		}
	}
	return nil
}

func (a *vaultAccessPolicy) check(i int, tenantID string) error {
	wrong := func(member, value string) error {
		return azure.Errorf(http.StatusBadRequest, "BadRequest", "Invalid value found at accessPolicies[%d].%s: %s", i, member, value)
	}
	if !azure.EqualFold(a.TenantID, tenantID) {
		return wrong("TenantId", a.TenantID)
	}
	a.TenantID = tenantID
	if uuid.Validate(a.ObjectID) != nil {
		return wrong("ObjectId", a.ObjectID)
	}
	a.ObjectID = azure.Fold(a.ObjectID)
	if a.ApplicationID != "" && uuid.Validate(a.ApplicationID) != nil {
		return wrong("ApplicationId", a.ApplicationID)
	}
	a.ApplicationID = azure.Fold(a.ApplicationID)
	for _, kind := range []struct {
		name       string
		have, know []string
	}{
		{"keys", a.Permissions.Keys, keyPermissions},
		{"secrets", a.Permissions.Secrets, secretPermissions},
		{"certificates", a.Permissions.Certificates, certificatePermissions},
		{"storage", a.Permissions.Storage, storagePermissions},
	} {
		for _, permission := range kind.have {
			if !slices.ContainsFunc(kind.know, func(k string) bool { return azure.EqualFold(k, permission) }) {
				return invalidVault("accessPolicies", fmt.Sprintf("'%s' is no permission on %s.", permission, kind.name))
			}
		}
	}
	return nil
}

// The permissions that an access policy may hold. Lanyard serves secrets; those
// on other contents are kept for clients that write and compare them.
var (
	secretPermissions = []string{"all", "get", "list", "set", "delete", "backup", "restore", "recover", "purge"}
	keyPermissions    = []string{
		"all", "encrypt", "decrypt", "wrapKey", "unwrapKey", "sign", "verify", "get", "list", "create", "update", "import",
		"delete", "backup", "restore", "recover", "purge", "release", "rotate", "getrotationpolicy", "setrotationpolicy",
	}
	certificatePermissions = []string{
		"all", "get", "list", "delete", "create", "import", "update", "managecontacts", "getissuers", "listissuers",
		"setissuers", "deleteissuers", "manageissuers", "recover", "purge", "backup", "restore",
	}
	storagePermissions = []string{
		"all", "get", "list", "delete", "set", "update", "regeneratekey", "recover", "purge", "backup", "restore",
		"setsas", "listsas", "getsas", "deletesas",
	}
)
