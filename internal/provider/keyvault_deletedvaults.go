package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// deletedVault is the record of a vault that can be recovered: all that
// recovering it needs beside its contents, which stay where they are.
type deletedVault struct {
	ID         azure.ResourceID  `json:"id"`
	TenantID   string            `json:"tenantId"`
	Location   string            `json:"location"`
	Tags       map[string]string `json:"tags,omitempty"`
	Properties vaultProperties   `json:"properties"`
	Deleted    time.Time         `json:"deleted"`
	Purge      time.Time         `json:"purge"` // when it is purged by itself
	// Purging tells that its contents are being removed: nothing brings it back.
	Purging bool `json:"purging,omitempty"`
}

// gone reports whether the vault's time is over; from then on it is shown to no
// one, although its name stays taken until its contents have been removed.
func (d deletedVault) gone(now time.Time) bool { return d.Purging || !now.Before(d.Purge) }

func deletedVaultKey(subscriptionID, name string) string {
	return deletedVaultPrefix + azure.Fold(subscriptionID) + "/" + azure.Fold(name)
}

// softDeleteVault keeps a vault that is being deleted.
func softDeleteVault(r *arm.Request, old *arm.Resource[vaultProperties]) error {
	name, sub := old.ID.Name(), old.ID.SubscriptionID()
	d := deletedVault{
		ID: old.ID, TenantID: old.TenantID, Location: old.Location, Tags: old.Tags, Properties: old.Properties,
		Deleted: r.Now.UTC(), Purge: r.Now.UTC().AddDate(0, 0, old.Properties.retentionDays()),
	}
	if err := store.PutJSON(r.Tx, deletedVaultKey(sub, name), d); err != nil {
		return err
	}
	return store.PutJSON(r.Tx, vaultNameKey(name), vaultName{ID: old.ID, TenantID: old.TenantID, Deleted: true})
}

// recoverVault brings a deleted vault back as it was: what else the request
// says of its properties is not looked at, as on Azure.
func recoverVault(p *arm.Put[vaultProperties]) error {
	key := deletedVaultKey(p.ID.SubscriptionID(), p.ID.Name())
	d, _, err := store.GetJSON[deletedVault](p.Tx, key)
	if errors.Is(err, store.ErrNotFound) || err == nil && d.gone(p.Now) {
		return deletedVaultNotFound(p.ID.Name())
	}
	if err != nil {
		return err
	}
	if !d.ID.Equal(p.ID) {
		return azure.Errorf(http.StatusBadRequest, "BadRequest",
			"The deleted vault '%s' can be recovered only into the resource group '%s', from which it was deleted.", d.ID.Name(), d.ID.ResourceGroup())
	}
	if p.New.Location != d.Location {
		return azure.Errorf(http.StatusBadRequest, "BadRequest",
			"The deleted vault '%s' can be recovered only in the location '%s', from which it was deleted.", d.ID.Name(), d.Location)
	}
	p.New.Properties, p.New.Tags = d.Properties, d.Tags
	p.Tx.Delete(key)
	return store.PutJSON(p.Tx, vaultNameKey(p.ID.Name()), vaultName{ID: p.ID, TenantID: p.TenantID})
}

// deletedVaults is Microsoft.KeyVault/locations/deletedVaults: a deleted vault
// by its name, and its purge.
func deletedVaults(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.KeyVault/locations/deletedVaults", Versions: vaultVersions, In: arm.AtSubscription,
	}, arm.VirtualHooks{
		Get: func(ctx context.Context, r *arm.Request) (any, error) {
			d, err := findDeletedVault(ctx, cfg.Store, r)
			if err != nil {
				return nil, err
			}
			return d.show(), nil
		},
		Actions: map[string]arm.VirtualAction{"purge": {
			Removes: true,
			Run: func(ctx context.Context, r *arm.Request, _ json.RawMessage) (int, any, error) {
				return http.StatusAccepted, nil, startVaultPurge(ctx, cfg, r)
			},
			Async: func(ctx context.Context, step *arm.Step) (bool, error) {
				return purgeVaultStep(ctx, cfg, step.Tx, deletedVaultKey(step.ID.SubscriptionID(), step.ID.Name()))
			},
		}},
	})
}

// deletedVaultList is the list of a subscription's deleted vaults, which Azure
// has under another type.
func deletedVaultList(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.KeyVault/deletedVaults", Versions: vaultVersions, In: arm.AtSubscription,
	}, arm.VirtualHooks{
		List: func(ctx context.Context, r *arm.Request) ([]any, error) {
			page, err := cfg.Store.List(ctx, deletedVaultKey(r.ID.SubscriptionID(), ""), store.ListOptions{})
			if err != nil {
				return nil, err
			}
			items := []any{}
			for _, e := range page.Entries {
				d, err := decodeDeletedVault(e)
				if err != nil {
					return nil, err
				}
				if !d.gone(r.Now) {
					items = append(items, d.show())
				}
			}
			return items, nil
		},
	})
}

// findDeletedVault gives the deleted vault that a request names.
func findDeletedVault(ctx context.Context, st *store.Store, r *arm.Request) (deletedVault, error) {
	key, name := deletedVaultKey(r.ID.SubscriptionID(), r.Name), r.Name
	var e store.Entry
	var err error
	if r.Tx != nil {
		e, err = r.Tx.Get(key)
	} else {
		e, err = st.Get(ctx, key)
	}
	if errors.Is(err, store.ErrNotFound) {
		return deletedVault{}, deletedVaultNotFound(name)
	}
	if err != nil {
		return deletedVault{}, err
	}
	d, err := decodeDeletedVault(e)
	if err == nil && (d.gone(r.Now) || d.Location != azure.NormalizeLocation(r.ID.Parent().Name())) {
		return deletedVault{}, deletedVaultNotFound(name)
	}
	return d, err
}

func decodeDeletedVault(e store.Entry) (deletedVault, error) {
	var d deletedVault
	if err := json.Unmarshal(e.Value, &d); err != nil {
		return d, fmt.Errorf("decoding the deleted vault at %s: %w", e.Key, err)
	}
	return d, nil
}

func deletedVaultNotFound(name string) error {
	return azure.Errorf(http.StatusNotFound, "DeletedVaultNotFound", "The specified deleted vault '%s' does not exist.", name)
}

// show is a deleted vault on the wire.
func (d deletedVault) show() any {
	props := map[string]any{
		"vaultId": d.ID, "location": d.Location, "tags": d.Tags,
		"deletionDate": d.Deleted, "scheduledPurgeDate": d.Purge,
	}
	if d.Tags == nil {
		props["tags"] = map[string]string{}
	}
	if d.Properties.purgeProtected() {
		props["purgeProtectionEnabled"] = true
	}
	return map[string]any{
		"id": fmt.Sprintf("/subscriptions/%s/providers/Microsoft.KeyVault/locations/%s/deletedVaults/%s",
			d.ID.SubscriptionID(), d.Location, d.ID.Name()),
		"name": d.ID.Name(), "type": "Microsoft.KeyVault/deletedVaults", "properties": props,
	}
}

// startVaultPurge marks a vault as being purged, so that no one can recover it
// with half of its contents.
func startVaultPurge(ctx context.Context, cfg Config, r *arm.Request) error {
	d, err := findDeletedVault(ctx, cfg.Store, r)
	if err != nil {
		return err
	}
	if d.Properties.purgeProtected() {
		return azure.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed", "Operation 'DeletedVaultPurge' is not allowed.")
	}
	d.Purging = true
	return store.PutJSON(r.Tx, deletedVaultKey(r.ID.SubscriptionID(), r.Name), d)
}

// purgeVaultStep is one transaction of a vault's purge: it removes some of its
// contents or, when there are none, frees the name. It may be repeated at any
// point.
func purgeVaultStep(ctx context.Context, cfg Config, tx *store.Tx, key string) (done bool, err error) {
	d, _, err := store.GetJSON[deletedVault](tx, key)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if !d.Purging {
		if !d.gone(cfg.Now()) {
			return true, nil // recovered and deleted again since the purge began
		}
		// Another replica's clock may not have come so far: from here on it counts
		// for all.
		d.Purging = true
		return false, store.PutJSON(tx, key, d)
	}
	if cfg.Vaults != nil {
		if more, err := cfg.Vaults.Purge(ctx, tx, d.ID.Name()); err != nil || more {
			return false, err
		}
	}
	tx.Delete(key)
	tx.Delete(vaultNameKey(d.ID.Name()))
	return true, nil
}

// PurgeDueVaults purges the deleted vaults whose retention is over, and carries
// on with purges that were not finished. It is to be run from time to time; any
// number of replicas may.
func PurgeDueVaults(ctx context.Context, cfg Config) error {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	page, err := cfg.Store.List(ctx, deletedVaultPrefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the deleted vaults: %w", err)
	}
	for _, e := range page.Entries {
		d, err := decodeDeletedVault(e)
		if err != nil {
			return err
		}
		if !d.gone(cfg.Now()) {
			continue
		}
		for done := false; !done; {
			_, err := cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
				done, err = purgeVaultStep(ctx, cfg, tx, e.Key)
				return err
			})
			if err != nil {
				return fmt.Errorf("purging the vault %s: %w", d.ID.Name(), err)
			}
		}
	}
	return nil
}

// vaultPurgeInterval is how often RunVaultPurge looks for vaults that are due:
// much less than the shortest retention, much more than looking costs.
const vaultPurgeInterval = time.Minute

// RunVaultPurge calls [PurgeDueVaults] once a minute until ctx ends.
func RunVaultPurge(ctx context.Context, cfg Config) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	tick := time.NewTicker(vaultPurgeInterval)
	defer tick.Stop()
	for {
		if err := PurgeDueVaults(ctx, cfg); err != nil && ctx.Err() == nil {
			cfg.Logger.WarnContext(ctx, "purging deleted vaults failed; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
