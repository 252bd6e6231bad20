package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/store"
)

func vaultURL(group, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.KeyVault/vaults/%s?api-version=2023-07-01",
		subscriptionID, group, name)
}

func deletedVaultURL(name, action string) string {
	return fmt.Sprintf("/subscriptions/%s/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/%s%s?api-version=2023-07-01",
		subscriptionID, name, action)
}

const simpleVault = `{"location": "westeurope", "properties": {"tenantId": "` + tenantID + `", "sku": {"family": "A", "name": "standard"}}}`

// drawers are the contents of vaults: so many batches by vault.
type drawers struct {
	mu      sync.Mutex
	batches map[string]int
	fail    bool
}

func (d *drawers) Purge(_ context.Context, _ *store.Tx, vault string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail {
		return false, errors.New("the drawer is stuck")
	}
	if d.batches[vault] > 0 {
		d.batches[vault]--
	}
	return d.batches[vault] > 0, nil
}

// The view has a vault when the request that made it is answered, and not any
// more when the one that deleted it is.
func TestVaultView(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.put(groupURL("rg1"), `{"location": "westeurope"}`)
	w.put(vaultURL("rg1", "before"), simpleVault)
	view, err := FollowVaults(t.Context(), Config{Store: w.Store})
	cloudtest.Must(t, err)
	if _, ok := view.Vault("before"); !ok {
		t.Error("the view lacks what was there before it")
	}
	w.put(vaultURL("rg1", "Mine1"), `{"location": "westeurope", "properties": {
		"tenantId": "`+tenantID+`", "sku": {"family": "A", "name": "standard"},
		"enableRbacAuthorization": false, "enablePurgeProtection": true, "softDeleteRetentionInDays": 7,
		"accessPolicies": [{"tenantId": "`+tenantID+`", "objectId": "`+w.oid("ada")+`", "permissions": {"secrets": ["get"], "keys": ["sign"]}}],
		"networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "10.1.2.3/8"}, {"value": "203.0.113.7"}]}}}`)
	got, ok := view.Vault("mine1")
	if !ok || len(got.Instance) != 32 {
		t.Fatalf("the view has %+v", got)
	}
	instance := got.Instance
	got.Instance = ""
	want := VaultFacts{
		Name: "Mine1", TenantID: tenantID, Location: "westeurope", Geography: "Europe",
		ID:            azure.ResourceGroupScope(subscriptionID, "rg1").Resource("Microsoft.KeyVault", "vaults", "Mine1"),
		RetentionDays: 7, PurgeProtection: true, NetworkDeny: true,
		AccessPolicies: []VaultAccessPolicy{{ObjectID: w.oid("ada"), Secrets: []string{"get"}}},
		NetworkAllow:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("203.0.113.7/32")},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(azure.ResourceID.Equal), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// A change keeps the instance; deletion takes the vault away; recovery brings
	// it back with its instance; a new vault of the name has another.
	before, _ := view.Vault("before")
	w.put(vaultURL("rg1", "before"), simpleVault)
	if changed, _ := view.Vault("before"); changed.Instance != before.Instance {
		t.Error("a change gave the vault another instance")
	}
	w.send("owner", http.MethodDelete, vaultURL("rg1", "before"), "").Want(t, 200)
	if _, ok := view.Vault("before"); ok {
		t.Error("the view still has the deleted vault")
	}
	w.put(vaultURL("rg1", "before"), `{"location": "westeurope", "properties": {"createMode": "recover"}}`)
	recovered, _ := view.Vault("before")
	if recovered.Instance != before.Instance || before.Instance == "" || before.Instance == instance {
		t.Errorf("the instance was %q, is %q after recovery", before.Instance, recovered.Instance)
	}
	w.send("owner", http.MethodDelete, vaultURL("rg1", "before"), "").Want(t, 200)
	w.send("owner", http.MethodPost, deletedVaultURL("before", "/purge"), "").Want(t, 202)
	w.Eventually("the purge", func() bool {
		return w.send("owner", http.MethodPut, vaultURL("rg1", "before"), simpleVault).Status == http.StatusCreated
	})
	if again, _ := view.Vault("before"); again.Instance == before.Instance {
		t.Error("the new vault has the purged one's instance")
	}
	if _, ok := view.Vault("nothing"); ok {
		t.Error("the view has what is nowhere")
	}
}

// A stored vault that cannot be read is not served, and is complained of.
func TestVaultViewRefusesRubbish(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	key := arm.Key(tenantID, azure.ResourceGroupScope(subscriptionID, "rg1").Resource("Microsoft.KeyVault", "vaults", "broken"))
	w.Update(func(tx *store.Tx) error { tx.Put(key, []byte("{")); return nil })
	view, err := FollowVaults(t.Context(), Config{Store: w.Store})
	cloudtest.Must(t, err)
	if _, ok := view.Vault("broken"); ok {
		t.Error("the view has the vault")
	}
}

// Of many who want a vault's name one gets it.
func TestVaultNamesAreGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	var group sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for i := range 8 {
		name := fmt.Sprintf("rg%d", i)
		w.put(groupURL(name), `{"location": "westeurope"}`)
	}
	for i := range 8 {
		group.Go(func() {
			rec := w.send("owner", http.MethodPut, vaultURL(fmt.Sprintf("rg%d", i), "wanted"), simpleVault)
			mu.Lock()
			defer mu.Unlock()
			codes[rec.Status]++
		})
	}
	group.Wait()
	if codes[http.StatusCreated] != 1 || codes[http.StatusConflict] != 7 {
		t.Errorf("the answers were %v", codes)
	}
}

// What is due is purged, contents first; the name is free when they are gone,
// and no sooner.
func TestPurgeDueVaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.put(groupURL("rg1"), `{"location": "westeurope"}`)
	contents := &drawers{batches: map[string]int{"one": 3}}
	cfg := Config{Store: w.Store, Now: w.Clock.Now, Vaults: contents}
	w.put(vaultURL("rg1", "one"), simpleVault)
	w.put(vaultURL("rg1", "two"), simpleVault)
	w.send("owner", http.MethodDelete, vaultURL("rg1", "one"), "").Want(t, 200)
	w.Clock.Advance(time.Hour)
	w.send("owner", http.MethodDelete, vaultURL("rg1", "two"), "").Want(t, 200)

	w.Clock.Advance(90*24*time.Hour - time.Hour - time.Second)
	cloudtest.Must(t, PurgeDueVaults(t.Context(), cfg))
	w.get(deletedVaultURL("one", ""))

	w.Clock.Advance(time.Second)
	contents.fail = true
	if err := PurgeDueVaults(t.Context(), cfg); err == nil {
		t.Error("a purge that fails says nothing")
	}
	w.send("owner", http.MethodPut, vaultURL("rg1", "one"), simpleVault).Want(t, 409)
	w.send("owner", http.MethodPut, vaultURL("rg1", "one"), `{"location": "westeurope", "properties": {"createMode": "recover"}}`).Want(t, 404)

	contents.fail = false
	cloudtest.Must(t, PurgeDueVaults(t.Context(), cfg))
	if contents.batches["one"] != 0 {
		t.Errorf("%d batches are left", contents.batches["one"])
	}
	w.send("owner", http.MethodPut, vaultURL("rg1", "one"), simpleVault).Want(t, 201)
	w.get(deletedVaultURL("two", ""))
}

func TestRunVaultPurgeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	RunVaultPurge(ctx, Config{Store: w.Store})
}

// Azure sees public IPv4 addresses only; strict mode takes no others.
func TestStrictIPRules(t *testing.T) {
	t.Parallel()
	for value, ok := range map[string]bool{
		"203.0.113.7": true, "203.0.113.0/24": true, "10.0.0.1": false, "192.168.0.0/16": false, "127.0.0.1": false, "2001:db8::1": false,
	} {
		props := vaultProperties{NetworkACLs: &vaultNetworkACLs{IPRules: []vaultIPRule{{Value: value}}}}
		if err := props.checkNetwork(true); (err == nil) != ok {
			t.Errorf("strict, %s: %v", value, err)
		}
		if err := props.checkNetwork(false); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// FuzzIPRule: a rule that is accepted is a prefix, and the one that it says.
func FuzzIPRule(f *testing.F) {
	for _, value := range []string{"10.0.0.1", "10.0.0.1/8", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "", "/", "1.2.3.4/33", "10.0.0.0/08"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		prefix, err := parseIPRule(value)
		if err != nil {
			return
		}
		if !prefix.IsValid() || prefix != prefix.Masked() || prefix.Addr().Zone() != "" {
			t.Fatalf("%q gave %v", value, prefix)
		}
		if again, err := parseIPRule(prefix.String()); err != nil || again != prefix {
			t.Fatalf("%q gave %v, which gave %v, %v", value, prefix, again, err)
		}
	})
}

// A deleted vault's record that cannot be read is an error, not a free name.
func TestDeletedVaultRubbish(t *testing.T) {
	t.Parallel()
	if _, err := decodeDeletedVault(store.Entry{Key: "k", Value: bytes.Repeat([]byte("x"), 3)}); err == nil {
		t.Error("rubbish was read")
	}
}
