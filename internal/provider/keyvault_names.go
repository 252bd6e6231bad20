package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	vaultNamePrefix    = "vaultnames/"
	deletedVaultPrefix = "deletedvaults/"
)

// vaultName is the guard key of a vault's name, which is unique among all
// tenants: it is part of a host name. It stays while the vault is deleted but
// not purged.
type vaultName struct {
	ID       azure.ResourceID `json:"id"`
	TenantID string           `json:"tenantId"`
	Deleted  bool             `json:"deleted,omitempty"`
}

func vaultNameKey(name string) string { return vaultNamePrefix + azure.Fold(name) }

// claimVaultName takes a name for a new vault.
func claimVaultName(tx *store.Tx, tenantID string, id azure.ResourceID) error {
	taken, _, err := store.GetJSON[vaultName](tx, vaultNameKey(id.Name()))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.PutJSON(tx, vaultNameKey(id.Name()), vaultName{ID: id, TenantID: tenantID})
	case err != nil:
		return err
	case taken.Deleted && azure.EqualFold(taken.ID.SubscriptionID(), id.SubscriptionID()):
		return azure.Errorf(http.StatusConflict, "ConflictError", "A vault with the same name already exists in deleted state. "+
			"You need to either recover or purge existing key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 "+
			"for more information on soft delete.")
	default:
		return azure.Errorf(http.StatusConflict, "VaultAlreadyExists", "%s", vaultTaken(id.Name()))
	}
}

// vaultTaken says no more than that the name is taken: not by whom.
func vaultTaken(name string) string {
	return "The vault name '" + name + "' is already in use. Vault names are globally unique so it is possible that the name is " +
		"already taken. If you are sure that the vault name was not taken then it is possible that a vault with the same name was " +
		"recently deleted but not purged after being placed in a recoverable state. If the vault is in a recoverable state then the " +
		"vault will need to be purged before reusing the name. For more information about VaultAlreadyExists, soft delete and purging " +
		"a vault follow this link https://go.microsoft.com/fwlink/?linkid=2147740."
}

// vaultNameAvailability is POST checkNameAvailability.
func vaultNameAvailability(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.KeyVault/checkNameAvailability", Versions: vaultVersions, In: arm.AtSubscription,
	}, arm.VirtualHooks{
		Action: func(*arm.Request, string) string { return "Microsoft.KeyVault/checkNameAvailability/read" },
		Post: func(ctx context.Context, _ *arm.Request, body json.RawMessage) (int, any, error) {
			return checkVaultNameAvailability(ctx, cfg.Store, body)
		},
	})
}

type nameAvailability struct {
	Available bool   `json:"nameAvailable"`
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`
}

func checkVaultNameAvailability(ctx context.Context, st *store.Store, body json.RawMessage) (int, any, error) {
	var asked struct{ Name, Type string }
	if err := json.Unmarshal(body, &asked); err != nil || asked.Name == "" {
		return 0, nil, invalidVault("name", "The body must be an object with the members 'name' and 'type'.")
	}
	if !azure.EqualFold(asked.Type, "Microsoft.KeyVault/vaults") {
		return 0, nil, invalidVault("type", "It must be 'Microsoft.KeyVault/vaults'.")
	}
	if err := checkVaultName(asked.Name); err != nil {
		bad, _ := errors.AsType[*azure.Error](err)
		return http.StatusOK, nameAvailability{Reason: "AccountNameInvalid", Message: bad.Message}, nil
	}
	_, err := st.Get(ctx, vaultNameKey(asked.Name))
	if errors.Is(err, store.ErrNotFound) {
		return http.StatusOK, nameAvailability{Available: true}, nil
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, nameAvailability{Reason: "AlreadyExists", Message: vaultTaken(asked.Name)}, nil
}
