package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// clear removes what an ended tenant had, and tells in how many transactions.
func (f *fixture) clear(tenantID string) (steps int) {
	f.t.Helper()
	for done := false; !done; steps++ {
		f.must(func(tx *store.Tx) (err error) {
			done, err = f.ClearTenant(tx, tenantID)
			return err
		})
	}
	return steps
}

// An ended tenant is unknown at once; then all that it had goes, in steps that
// may be interrupted, and nothing of another's.
func TestTenantEnds(t *testing.T) {
	f := newFixture(t)
	kept := f.keys()
	f.must(func(tx *store.Tx) error {
		return f.CreateTenant(tx, Tenant{ID: strings.ToUpper(otherTenant), DisplayName: "Litware", Domains: []string{"litware.example", "lit.example"}})
	})
	app, principal := f.application(otherTenant, "app", "api://one", "api://two")
	for i := range 40 {
		f.identity(otherTenant, fmt.Sprintf("identity%d", i))
	}
	f.must(func(tx *store.Tx) error {
		user, err := f.CreateUser(tx, otherTenant, "ada@litware.example", "Ada")
		if err != nil {
			return err
		}
		group, err := f.CreateGroup(tx, otherTenant, "Staff")
		if err != nil {
			return err
		}
		if err := f.AddMember(tx, otherTenant, group.ObjectID, user.ObjectID); err != nil {
			return err
		}
		_, _, err = f.AddSecret(tx, otherTenant, app.AppID, "one", time.Time{})
		return err
	})

	f.must(func(tx *store.Tx) error { return f.EndTenant(tx, strings.ToUpper(otherTenant)) })
	if _, ok := f.Tenant("litware.example"); ok {
		t.Error("the ended tenant is found by its domain")
	}
	if _, ok := f.Client(otherTenant, app.AppID); ok {
		t.Error("its client is found")
	}
	if _, ok := f.Principal(otherTenant, principal.ObjectID); ok {
		t.Error("its principal is found")
	}
	for name, refused := range map[string]Tenant{
		"its ID":     {ID: otherTenant, DisplayName: "A"},
		"its domain": {ID: "00000000-0000-4000-8000-000000000001", DisplayName: "A", Domains: []string{"lit.example"}},
	} {
		if e, ok := errors.AsType[*azure.Error](f.update(func(tx *store.Tx) error { return f.CreateTenant(tx, refused) })); !ok || e.Status != 409 {
			t.Errorf("%s can be taken before all is removed: %v", name, e)
		}
	}

	if steps := f.clear(otherTenant); steps < 4 {
		t.Errorf("%d steps", steps)
	}
	now := f.keys()
	for _, key := range now {
		if !slices.Contains(kept, key) {
			t.Errorf("%s is left", key)
		}
	}
	if len(now) != len(kept) {
		t.Errorf("%d keys, want %d", len(now), len(kept))
	}
	// All of it can be had again.
	f.must(func(tx *store.Tx) error {
		return f.CreateTenant(tx, Tenant{ID: otherTenant, DisplayName: "Litware", Domains: []string{"lit.example"}})
	})
	if n := len(f.Principals(otherTenant)); n != 0 {
		t.Errorf("the new tenant has %d principals", n)
	}
	if steps := f.clear(otherTenant); steps != 1 {
		t.Error("a tenant that has not ended was cleared")
	}
	if _, ok := f.Tenant(otherTenant); !ok {
		t.Error("the new tenant is gone")
	}
}

const otherTenant = "5c4a8b62-0000-4111-8222-933344445555"

func TestEndTenantRefuses(t *testing.T) {
	f := newFixture(t)
	wantError(t, f.update(func(tx *store.Tx) error { return f.EndTenant(tx, otherTenant) }),
		404, "TenantNotFound", "The tenant '"+otherTenant+"' could not be found.")
	const sub = "2f9e5b3c-1111-4222-8333-444455556666"
	f.must(func(tx *store.Tx) error {
		return f.CreateSubscription(tx, Subscription{ID: sub, TenantID: contoso, DisplayName: "one"})
	})
	wantError(t, f.update(func(tx *store.Tx) error { return f.EndTenant(tx, contoso) }), 409, "TenantNotEmpty",
		"The tenant '"+contoso+"' cannot be deleted: subscriptions (1) trust it, among them '"+sub+"'. Delete them first.")
	f.must(func(tx *store.Tx) error {
		f.DeleteSubscription(tx, strings.ToUpper(sub))
		return nil
	})
	f.must(func(tx *store.Tx) error { return f.EndTenant(tx, contoso) })
}

// A subscription that is made while its tenant ends is refused, or keeps the
// tenant: never one without the other.
func TestSubscriptionAgainstEnd(t *testing.T) {
	f := newFixture(t)
	for i := range 20 {
		tenantID := fmt.Sprintf("5c4a8b62-0000-4111-8222-%012d", i)
		f.must(func(tx *store.Tx) error {
			return f.CreateTenant(tx, Tenant{ID: tenantID, DisplayName: "T", DefaultDomain: fmt.Sprintf("t%d.example", i)})
		})
		created := make(chan error, 1)
		go func() {
			created <- f.update(func(tx *store.Tx) error {
				return f.CreateSubscription(tx, Subscription{ID: newGUID(), TenantID: tenantID, DisplayName: "one"})
			})
		}()
		ended, made := f.update(func(tx *store.Tx) error { return f.EndTenant(tx, tenantID) }), <-created
		if (ended == nil) == (made == nil) {
			t.Errorf("the end: %v, the subscription: %v", ended, made)
		}
	}
}

func TestChangeTenant(t *testing.T) {
	f := newFixture(t)
	f.must(func(tx *store.Tx) error {
		_, err := f.ChangeTenant(tx, strings.ToUpper(contoso), "Contoso Ltd", "DE")
		return err
	})
	if got, _ := f.Tenant(contoso); got.DisplayName != "Contoso Ltd" || got.CountryCode != "DE" || got.DefaultDomain != "contoso.example" {
		t.Errorf("%+v", got)
	}
	wantError(t, f.update(func(tx *store.Tx) error { _, err := f.ChangeTenant(tx, contoso, "", ""); return err }),
		400, "Request_BadRequest", "Invalid value specified for property 'displayName' of resource 'Tenant'. It must not be empty.")
	wantError(t, f.update(func(tx *store.Tx) error { _, err := f.ChangeTenant(tx, otherTenant, "A", ""); return err }),
		404, "TenantNotFound", "The tenant '"+otherTenant+"' could not be found.")
}

func TestSubscriptionChanges(t *testing.T) {
	f := newFixture(t)
	const sub = "2f9e5b3c-1111-4222-8333-444455556666"
	f.must(func(tx *store.Tx) error {
		return f.CreateSubscription(tx, Subscription{ID: sub, TenantID: contoso, DisplayName: "one"})
	})
	f.must(func(tx *store.Tx) error {
		return errors.Join(f.RenameSubscription(tx, strings.ToUpper(sub), "two"), f.SetSubscriptionState(tx, sub, Disabled))
	})
	if got, _ := f.Subscription(sub); got.DisplayName != "two" || got.State != Disabled || got.Writable() || got.TenantID != contoso {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", strings.Repeat("ä", 65), "a<b", "a|b", " a", "a "} {
		err := f.update(func(tx *store.Tx) error { return f.RenameSubscription(tx, sub, bad) })
		if e, ok := errors.AsType[*azure.Error](err); !ok || e.Code != "InvalidSubscriptionName" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	f.must(func(tx *store.Tx) error { return f.RenameSubscription(tx, sub, strings.Repeat("ä", 64)) })
	wantError(t, f.update(func(tx *store.Tx) error { return f.SetSubscriptionState(tx, otherTenant, Enabled) }),
		404, "SubscriptionNotFound", "The subscription '"+otherTenant+"' could not be found.")
}
