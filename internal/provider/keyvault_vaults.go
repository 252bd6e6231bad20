package provider

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// vaultVersions are the api-versions of Microsoft.KeyVault that Azure lists.
var vaultVersions = []string{
	"2026-02-01", "2025-05-01", "2024-11-01", "2023-07-01", "2023-02-01", "2022-11-01", "2022-07-01",
	"2021-10-01", "2019-09-01", "2018-02-14", "2016-10-01", "2015-06-01",
}

// rbacByDefault is the api-version from which on a new vault is in role-based
// mode unless the client says otherwise. Before, access policies were the
// default; see Azure's "access-control-default" page.
const rbacByDefault = "2026-02-01"

// vaults is Microsoft.KeyVault/vaults. A vault that is deleted, by itself or
// with its resource group, is kept as a deleted vault with all its contents: see
// [deletedVaults].
func vaults(cfg Config) arm.Type {
	return arm.Define(arm.Spec{
		Name: "Microsoft.KeyVault/vaults", Versions: vaultVersions, In: arm.AtResourceGroup,
		Tracked: true, CheckName: checkVaultName, SystemData: true, ProvisioningState: true,
	}, arm.Hooks[vaultProperties]{
		Linked: linkedOfVault,
		Put:    func(_ context.Context, p *arm.Put[vaultProperties]) error { return putVault(cfg, p) },
		Delete: func(_ context.Context, r *arm.Request, old *arm.Resource[vaultProperties]) error {
			return softDeleteVault(r, old)
		},
		Show: func(_ context.Context, res *arm.Resource[vaultProperties]) (any, error) {
			shown := res.Properties
			shown.Instance, shown.CreateMode = "", ""
			return shown, nil
		},
	})
}

var vaultNamePattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$`)

func checkVaultName(name string) error {
	if vaultNamePattern.MatchString(name) && !strings.Contains(name, "--") {
		return nil
	}
	return azure.Errorf(http.StatusBadRequest, "VaultNameNotValid", "The vault name '%s' is invalid. A vault's name must be between "+
		"3-24 alphanumeric characters. The name must begin with a letter, end with a letter or digit, and not contain consecutive hyphens. "+
		"Follow this link for more information: https://go.microsoft.com/fwlink/?linkid=2147742", name)
}

// linkedOfVault keeps the management plane from opening the data plane: who
// changes a vault from roles to access policies, or back, decides anew who reads
// its secrets, and must be allowed to grant roles there. Azure asks for the same.
func linkedOfVault(_ context.Context, p *arm.Put[vaultProperties]) ([]arm.Linked, error) {
	asked := p.New.Properties.EnableRbacAuthorization
	if p.Old == nil || asked == nil || *asked == p.Old.Properties.rbac() {
		return nil, nil
	}
	return []arm.Linked{{Action: "Microsoft.Authorization/roleAssignments/write", Scope: p.ID}}, nil
}

// putVault completes and checks a vault that is created, changed or recovered.
func putVault(cfg Config, p *arm.Put[vaultProperties]) error {
	props := &p.New.Properties
	mode := azure.Fold(props.CreateMode)
	props.CreateMode = ""
	switch {
	case mode != "" && mode != "default" && mode != "recover":
		return invalidVault("createMode", "It must be 'default' or 'recover'.")
	case mode == "recover" && p.Old == nil:
		return recoverVault(p)
	}
	if err := props.complete(cfg, p); err != nil {
		return err
	}
	if p.Old == nil {
		return claimVaultName(p.Tx, p.TenantID, p.ID)
	}
	return nil
}

// newInstance gives the identifier which tells a vault from any other that has
// or had its name: 128 random bits.
func newInstance() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// invalidVault is the 400 for a property that is wrong; hint says what is right.
func invalidVault(property, hint string) error {
	return azure.Errorf(http.StatusBadRequest, "BadRequest", "An invalid value was provided for '%s'. %s", property, hint)
}
