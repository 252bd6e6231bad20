package directory

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestCreateTenant(t *testing.T) {
	f := newFixture(t)
	const id = "5C4A8B62-0000-4111-8222-933344445555"
	for _, tt := range []struct {
		name string
		in   Tenant
		want Tenant
	}{
		{"with domains", Tenant{ID: id, DisplayName: "A", Domains: []string{"B.example", "a.example", "b.EXAMPLE"}, CountryCode: "DE"},
			Tenant{DefaultDomain: "b.example", Domains: []string{"a.example", "b.example"}, CountryCode: "DE"}},
		{"with a default domain", Tenant{ID: strings.Replace(id, "62", "63", 1), DisplayName: "A", DefaultDomain: "Z.example", Domains: []string{"y.example"}},
			Tenant{DefaultDomain: "z.example", Domains: []string{"y.example", "z.example"}}},
		{"without domains", Tenant{ID: strings.Replace(id, "62", "64", 1), DisplayName: "A"},
			Tenant{DefaultDomain: "5c4a8b64.onmicrosoft.lanyard.localhost", Domains: []string{"5c4a8b64.onmicrosoft.lanyard.localhost"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.must(func(tx *store.Tx) error { return f.CreateTenant(tx, tt.in) })
			tt.want.ID = strings.ToLower(tt.in.ID)
			tt.want.DisplayName = "A"
			tt.want.Created = standin.Start
			for _, by := range append([]string{tt.in.ID, tt.want.ID, strings.ToUpper(tt.want.DefaultDomain)}, tt.want.Domains...) {
				got, ok := f.Tenant(by)
				if !ok {
					t.Errorf("%q is not found", by)
					continue
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%q (-want +got):\n%s", by, diff)
				}
			}
		})
	}
}

func TestCreateTenantRefuses(t *testing.T) {
	f := newFixture(t)
	const id = "5c4a8b62-0000-4111-8222-933344445555"
	long := strings.Repeat("x", 257)
	invalid := func(property, why string) string {
		return "Invalid value specified for property '" + property + "' of resource 'Tenant'. " + why
	}
	for _, tt := range []struct {
		name    string
		in      Tenant
		status  int
		code    string
		message string
	}{
		{"no ID", Tenant{DisplayName: "A"}, 400, "Request_BadRequest", invalid("id", "A tenant ID is a GUID.")},
		{"a name as the ID", Tenant{ID: "contoso", DisplayName: "A"}, 400, "Request_BadRequest", invalid("id", "A tenant ID is a GUID.")},
		{"a GUID in braces", Tenant{ID: "{" + id + "}", DisplayName: "A"}, 400, "Request_BadRequest", invalid("id", "A tenant ID is a GUID.")},
		{"no name", Tenant{ID: id}, 400, "Request_BadRequest", invalid("displayName", "It must not be empty.")},
		{"a long name", Tenant{ID: id, DisplayName: long}, 400, "Request_BadRequest", invalid("displayName", "It has more than 256 characters.")},
		{"a single label", Tenant{ID: id, DisplayName: "A", Domains: []string{"localhost"}}, 400, "Request_BadRequest",
			invalid("verifiedDomains", "'localhost' is not a DNS name of at least two labels.")},
		{"a path", Tenant{ID: id, DisplayName: "A", Domains: []string{"a.example/x"}}, 400, "Request_BadRequest",
			invalid("verifiedDomains", "'a.example/x' is not a DNS name of at least two labels.")},
		{"another's domain", Tenant{ID: id, DisplayName: "A", Domains: []string{"new.example", "CONTOSO.example"}}, 409, "Conflict",
			"The domain 'contoso.example' belongs to another tenant."},
		{"another's ID", Tenant{ID: strings.ToUpper(contoso), DisplayName: "A", Domains: []string{"new.example"}}, 409, "Conflict",
			"The tenant '" + contoso + "' exists already."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := f.keys()
			wantError(t, f.update(func(tx *store.Tx) error { return f.CreateTenant(tx, tt.in) }), tt.status, tt.code, tt.message)
			if diff := cmp.Diff(before, f.keys()); diff != "" {
				t.Errorf("something was written:\n%s", diff)
			}
		})
	}
	if got := f.Tenants(); len(got) != 2 || got[0].DisplayName != "Contoso" || got[1].DisplayName != "Fabrikam" {
		t.Errorf("the tenants are %v", got)
	}
}

func TestTenantUnknown(t *testing.T) {
	f := newFixture(t)
	for _, id := range []string{"", "common", "contoso", "contoso.example.", "sub.contoso.example", "2f9e5b3c-1111-4222-8333-444455556666", "\u212a"} {
		if got, ok := f.Tenant(id); ok {
			t.Errorf("Tenant(%q) is %v", id, got)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	f := newFixture(t)
	const sub1, sub2, sub3 = "aaaaaaaa-0000-4111-8222-933344445555", "bbbbbbbb-0000-4111-8222-933344445555", "cccccccc-0000-4111-8222-933344445555"
	create := func(s Subscription) error {
		return f.update(func(tx *store.Tx) error { return f.CreateSubscription(tx, s) })
	}
	for _, s := range []Subscription{
		{ID: sub1, TenantID: contoso, DisplayName: "zebra"},
		{ID: strings.ToUpper(sub2), TenantID: strings.ToUpper(contoso), DisplayName: "Apple", State: "Disabled"},
		{ID: sub3, TenantID: fabrikam, DisplayName: "zebra"},
	} {
		if err := create(s); err != nil {
			t.Fatal(err)
		}
	}
	want := []Subscription{
		{ID: sub2, TenantID: contoso, DisplayName: "Apple", State: "Disabled", Created: standin.Start},
		{ID: sub1, TenantID: contoso, DisplayName: "zebra", State: "Enabled", Created: standin.Start},
	}
	if diff := cmp.Diff(want, f.Subscriptions(strings.ToUpper(contoso))); diff != "" {
		t.Errorf("Contoso's subscriptions (-want +got):\n%s", diff)
	}
	if got, ok := f.Subscription(strings.ToUpper(sub3)); !ok || got.TenantID != fabrikam {
		t.Errorf("the third subscription is %v, %v", got, ok)
	}
	if _, ok := f.Subscription("none"); ok {
		t.Error("an unknown subscription is found")
	}
	if got := f.Subscriptions("none"); got != nil {
		t.Errorf("an unknown tenant has %v", got)
	}

	// A subscription belongs to one tenant: another must not take it over.
	wantError(t, create(Subscription{ID: sub1, TenantID: fabrikam, DisplayName: "x"}), 409, "Conflict",
		"The subscription '"+sub1+"' exists already.")
	wantError(t, create(Subscription{ID: sub1, TenantID: "none", DisplayName: "x"}), 404, "TenantNotFound",
		"The tenant 'none' could not be found.")
	wantError(t, create(Subscription{ID: "x", TenantID: contoso, DisplayName: "x"}), 400, "Request_BadRequest",
		"Invalid value specified for property 'subscriptionId' of resource 'Subscription'. A subscription ID is a GUID.")
	wantError(t, create(Subscription{ID: sub1, TenantID: contoso}), 400, "Request_BadRequest",
		"Invalid value specified for property 'displayName' of resource 'Subscription'. It must not be empty.")
}
