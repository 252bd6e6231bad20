package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// ChangeTenant gives a tenant another display name and country; 404
// TenantNotFound if there is none.
func (d *Directory) ChangeTenant(tx *store.Tx, id, displayName, countryCode string) (Tenant, error) {
	if err := checkDisplayName(displayName, "Tenant"); err != nil {
		return Tenant{}, err
	}
	t, err := readTenant(tx, id)
	if err != nil {
		return Tenant{}, err
	}
	t.DisplayName, t.CountryCode = displayName, countryCode
	return t, store.PutJSON(tx, key(tenants, t.ID), t)
}

// TenantIn reads a tenant in a transaction; 404 TenantNotFound if there is none.
func (d *Directory) TenantIn(tx *store.Tx, id string) (Tenant, error) { return readTenant(tx, id) }

// EndTenant ends a tenant: from the commit on nobody signs in to it, and nobody
// in it is found. What it had is removed afterwards, by [Directory.ClearTenant];
// until that is done, no tenant can have its ID or its domains. 404
// TenantNotFound if there is none, 409 TenantNotEmpty while a subscription
// trusts it.
func (d *Directory) EndTenant(tx *store.Tx, id string) error {
	t, err := readTenant(tx, id)
	if err != nil {
		return err
	}
	entries, err := tx.List(key(subscriptions, ""))
	if err != nil {
		return err
	}
	var trusting []string
	for _, e := range entries {
		var s Subscription
		if err := json.Unmarshal(e.Value, &s); err != nil {
			return fmt.Errorf("decoding %s: %w", e.Key, err)
		}
		if azure.EqualFold(s.TenantID, t.ID) {
			trusting = append(trusting, s.ID)
		}
	}
	if n := len(trusting); n > 0 {
		const named = 5
		return azure.Errorf(http.StatusConflict, "TenantNotEmpty",
			"The tenant '%s' cannot be deleted: subscriptions (%d) trust it, among them '%s'. Delete them first.",
			t.ID, n, strings.Join(trusting[:min(n, named)], "', '"))
	}
	tx.Delete(key(tenants, t.ID))
	return store.PutJSON(tx, key(ended, t.ID), t)
}

// What one transaction of ClearTenant removes at most: a principal and an
// application have a record and two guards each, of which the record is read.
const (
	clearObjects = 24
	clearKeys    = 80
)

// ClearTenant removes some of what an ended tenant had, and with the last of it
// the memory of the tenant; done tells that nothing is left. A tenant that has
// not ended is not touched, and is done.
func (d *Directory) ClearTenant(tx *store.Tx, id string) (done bool, err error) {
	t, _, err := store.GetJSON[Tenant](tx, key(ended, id))
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, kind := range []string{principals, applications} {
		n, err := clearSome(tx, key(kind, t.ID)+"/")
		if err != nil || n > 0 {
			return false, err
		}
	}
	for _, kind := range []string{credentials, names, uris} {
		keys, _, err := tx.Peek(key(kind, t.ID)+"/", clearKeys)
		if err != nil {
			return false, err
		}
		for _, k := range keys {
			tx.Delete(k)
		}
		if len(keys) > 0 {
			return false, nil
		}
	}
	for _, domain := range t.Domains {
		tx.Delete(key(domains, domain))
	}
	tx.Delete(key(ended, t.ID))
	return true, nil
}

// clearSome removes principals or applications with the guards of their IDs, as
// the keys and records themselves name them.
func clearSome(tx *store.Tx, prefix string) (int, error) {
	keys, _, err := tx.Peek(prefix, clearObjects)
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		e, err := tx.Get(k)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		tx.Delete(k)
		tx.Delete(key(objects, strings.TrimPrefix(k, prefix)))
		var r struct{ AppID string }
		// A record that cannot be read goes all the same.
		if json.Unmarshal(e.Value, &r) == nil && r.AppID != "" {
			tx.Delete(key(clients, r.AppID))
		}
	}
	return len(keys), nil
}
