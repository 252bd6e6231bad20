package provider

import (
	"context"
	"log/slog"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// Config is what the types' hooks need. All fields are required unless they say
// otherwise.
type Config struct {
	Store     *store.Store
	Directory *directory.Directory
	Guard     *rbac.Guard
	Cloud     azure.Cloud
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Strict refuses every extension of Lanyard's own and gives Azure's less
	// helpful errors.
	Strict bool
	// Locations are the regions; nil is AzureLocations().
	Locations []Location
	// OperatorTenant is the tenant whose principals manage the cloud as a whole.
	OperatorTenant string
	// Keys are the cloud's signing keys.
	Keys *token.Keys
	// Clusters are the attached clusters and the trusted issuers.
	Clusters *cluster.Clusters
	// BackupNotes are kept in backups; they may be nil.
	BackupNotes map[string]string
	// Vaults removes the contents of purged vaults; nil where no Key Vault
	// plane is served.
	Vaults VaultContents
	// Clock is the clock that Lanyard.Directory/clock shows and moves, the one
	// that Now reads; nil: there is no such type.
	Clock *Clock
	// Logger may be nil.
	Logger *slog.Logger
}

// VaultContents is the Key Vault plane's side of deleting a vault for good.
type VaultContents interface {
	// Purge removes some of the contents of the vault with this name, few
	// enough for one transaction; more tells that it must be called again, in
	// another one.
	Purge(ctx context.Context, tx *store.Tx, vaultName string) (more bool, err error)
}

// Location is a region of the cloud.
type Location struct {
	// Name is canonical ("westeurope"), DisplayName is for people ("West Europe").
	Name, DisplayName string
	// Geography is the regional display name's qualifier ("Europe").
	Geography string
	// PhysicalLocation is the city or state ("Netherlands"); PairedRegion the
	// canonical name of the region that Azure pairs with this one, if any.
	PhysicalLocation, PairedRegion string
	// Logical regions ("global", "europe") are no place for resources.
	Logical bool
}
