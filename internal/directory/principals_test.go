package directory

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestCreateManagedIdentity(t *testing.T) {
	f := newFixture(t)
	p := f.identity(strings.ToUpper(contoso), "Id1")
	want := Principal{
		TenantID: contoso, ObjectID: p.ObjectID, Type: azure.ServicePrincipal, DisplayName: "Id1",
		AppID: p.AppID, ServicePrincipalType: "ManagedIdentity", ResourceID: identityID("Id1").String(), Created: standin.Start,
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("the identity (-want +got):\n%s", diff)
	}
	c, ok := f.Client(contoso, p.AppID)
	if !ok || c.Application != nil || len(c.FederatedCredentials) != 0 {
		t.Errorf("the client is %+v, %v", c, ok)
	}
	for what, got := range map[string]func() (Principal, bool){
		"Principal":        func() (Principal, bool) { return f.Principal(contoso, strings.ToUpper(p.ObjectID)) },
		"PrincipalByAppID": func() (Principal, bool) { return f.PrincipalByAppID(contoso, strings.ToUpper(p.AppID)) },
		"Client":           func() (Principal, bool) { return c.Principal, true },
	} {
		got, ok := got()
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", what, ok, diff)
		}
	}
	// The two IDs are not interchangeable.
	if _, ok := f.Client(contoso, p.ObjectID); ok {
		t.Error("the object ID is taken for a client ID")
	}
	if _, ok := f.Principal(contoso, p.AppID); ok {
		t.Error("the client ID is taken for an object ID")
	}

	var sys Principal
	host := azure.ResourceGroupScope("s", "g").Resource("Microsoft.Compute", "virtualMachines", "vm1")
	f.must(func(tx *store.Tx) (err error) {
		sys, err = f.CreateManagedIdentity(tx, contoso, host, true)
		return err
	})
	if !sys.SystemAssigned || sys.DisplayName != "vm1" || sys.ResourceID != host.String() {
		t.Errorf("the system-assigned identity is %+v", sys)
	}

	wantError(t, f.update(func(tx *store.Tx) error {
		_, err := f.CreateManagedIdentity(tx, "none", host, true)
		return err
	}), 404, "TenantNotFound", "The tenant 'none' could not be found.")
	if err := f.update(func(tx *store.Tx) error {
		_, err := f.CreateManagedIdentity(tx, contoso, azure.Root(), false)
		return err
	}); err == nil {
		t.Error("an identity without a resource was made")
	}
}

func TestCreateUser(t *testing.T) {
	f := newFixture(t)
	p := f.user(contoso, "Ada.Lovelace@Contoso.example", "Ada Lovelace")
	want := Principal{TenantID: contoso, ObjectID: p.ObjectID, Type: azure.User, DisplayName: "Ada Lovelace",
		UserPrincipalName: "Ada.Lovelace@Contoso.example", Created: standin.Start}
	got, ok := f.Principal(contoso, p.ObjectID)
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("the user (-want +got):\n%s", diff)
	}
	const form = "Invalid value specified for property 'userPrincipalName' of resource 'User'. " +
		"It has the form name@domain, with at most 64 letters, digits and '._!#^~- in the name."
	const domain = "The domain portion of the userPrincipalName property is invalid. " +
		"You must use one of the verified domain names in your organization: contoso.example."
	for _, tt := range []struct {
		name, upn, display, code, message string
	}{
		{"taken", "ada.lovelace@contoso.EXAMPLE", "Ada", "Request_MultipleObjectsWithSameKeyValue",
			"Another object with the same value for property userPrincipalName already exists."},
		{"another tenant's domain", "ada@fabrikam.example", "Ada", "Request_BadRequest", domain},
		{"a subdomain", "ada@x.contoso.example", "Ada", "Request_BadRequest", domain},
		{"two signs", "ada@x@contoso.example", "Ada", "Request_BadRequest", domain},
		{"no domain", "ada", "Ada", "Request_BadRequest", form},
		{"no name", "@contoso.example", "Ada", "Request_BadRequest", form},
		{"a space", "a da@contoso.example", "Ada", "Request_BadRequest", form},
		{"a slash", "a/da@contoso.example", "Ada", "Request_BadRequest", form},
		{"a lookalike", "\u212aey@contoso.example", "Ada", "Request_BadRequest", form},
		{"too long", strings.Repeat("a", 65) + "@contoso.example", "Ada", "Request_BadRequest", form},
		{"no display name", "ada2@contoso.example", "", "Request_BadRequest",
			"Invalid value specified for property 'displayName' of resource 'User'. It must not be empty."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := f.keys()
			wantError(t, f.update(func(tx *store.Tx) error {
				_, err := f.CreateUser(tx, contoso, tt.upn, tt.display)
				return err
			}), 400, tt.code, tt.message)
			if diff := cmp.Diff(before, f.keys()); diff != "" {
				t.Errorf("something was written:\n%s", diff)
			}
		})
	}
	f.user(fabrikam, "Ada.Lovelace@fabrikam.example", "Ada Lovelace")
}

// Of many that take one name at the same time, one gets it.
func TestNamesAreGuarded(t *testing.T) {
	f := newFixture(t)
	const n = 8
	for what, create := range map[string]func(tx *store.Tx) error{
		"user principal name": func(tx *store.Tx) error {
			_, err := f.CreateUser(tx, contoso, "eve@contoso.example", "Eve")
			return err
		},
		"identifier URI": func(tx *store.Tx) error {
			_, _, err := f.CreateApplication(tx, contoso, "app", "api://guarded")
			return err
		},
		"domain": func(tx *store.Tx) error {
			return f.CreateTenant(tx, Tenant{ID: newGUID(), DisplayName: "T", Domains: []string{"guarded.example"}})
		},
		"subscription": func(tx *store.Tx) error {
			return f.CreateSubscription(tx, Subscription{ID: "aaaaaaaa-0000-4111-8222-933344445555", TenantID: contoso, DisplayName: "S"})
		},
	} {
		t.Run(what, func(t *testing.T) {
			var wg sync.WaitGroup
			errs := make([]error, n)
			for i := range n {
				wg.Go(func() { errs[i] = f.update(create) })
			}
			wg.Wait()
			made := 0
			for _, err := range errs {
				if err == nil {
					made++
				} else if _, ok := errors.AsType[*azure.Error](err); !ok {
					t.Errorf("a loser got %v", err)
				}
			}
			if made != 1 {
				t.Errorf("%d of %d succeeded", made, n)
			}
		})
	}
}

func TestDeletePrincipal(t *testing.T) {
	f := newFixture(t)
	group := f.group(contoso, "g")
	before := f.keys()

	mi := f.identity(contoso, "id1")
	app, sp := f.application(contoso, "app", "https://app.example", "api://app")
	user := f.user(contoso, "ada@contoso.example", "Ada")
	nested := f.group(contoso, "nested")
	f.must(func(tx *store.Tx) error {
		for _, owner := range []string{mi.ObjectID, app.ObjectID} {
			if _, err := f.PutFederatedCredential(tx, credential(contoso, owner, "fc1")); err != nil {
				return err
			}
		}
		for _, member := range []string{mi.ObjectID, sp.ObjectID, user.ObjectID, nested.ObjectID} {
			if err := f.AddMember(tx, contoso, group.ObjectID, member); err != nil {
				return err
			}
		}
		_, _, err := f.AddSecret(tx, contoso, app.AppID, "", time.Time{})
		return err
	})

	for _, p := range []Principal{mi, sp, user, nested} {
		// Of another tenant, or by the wrong ID, nothing is deleted.
		f.must(func(tx *store.Tx) error {
			if p.AppID != "" {
				if err := f.DeletePrincipal(tx, contoso, p.AppID); err != nil {
					return err
				}
			}
			return f.DeletePrincipal(tx, fabrikam, p.ObjectID)
		})
		if _, ok := f.Principal(contoso, p.ObjectID); !ok {
			t.Fatalf("%s is gone", p.DisplayName)
		}
		f.must(func(tx *store.Tx) error { return f.DeletePrincipal(tx, contoso, strings.ToUpper(p.ObjectID)) })
		if _, ok := f.Client(contoso, p.AppID); ok {
			t.Errorf("the client of %s is there right after Update", p.DisplayName)
		}
		if _, ok := f.Principal(contoso, p.ObjectID); ok {
			t.Errorf("the principal of %s is there right after Update", p.DisplayName)
		}
		if groups := f.GroupsOf(contoso, p.ObjectID); groups != nil {
			t.Errorf("%s is still in %v", p.DisplayName, groups)
		}
		f.must(func(tx *store.Tx) error { return f.DeletePrincipal(tx, contoso, p.ObjectID) })
	}
	if diff := cmp.Diff(before, f.keys()); diff != "" {
		t.Errorf("keys are left over (-before +after):\n%s", diff)
	}
	if _, _, ok := f.Resource(contoso, "api://app"); ok {
		t.Error("the deleted application is still a resource")
	}
	if g, _ := f.Principal(contoso, group.ObjectID); len(g.Members) != 0 {
		t.Errorf("the group still lists %v", g.Members)
	}
	// What is made again under the old names is somebody else.
	if again := f.identity(contoso, "id1"); again.AppID == mi.AppID || again.ObjectID == mi.ObjectID {
		t.Error("a new identity has an old ID")
	}
	f.application(contoso, "app", "https://app.example", "api://app")
	f.user(contoso, "ada@contoso.example", "Ada")
}

// Two tenants with the same names see nothing of one another.
func TestTenantsAreIsolated(t *testing.T) {
	f := newFixture(t)
	type home struct {
		mi, sp, user, group Principal
		app                 Application
	}
	settle := func(tenantID, domain string) home {
		var h home
		h.mi = f.identity(tenantID, "id1")
		h.app, h.sp = f.application(tenantID, "app", "api://app")
		h.user = f.user(tenantID, "ada@"+domain, "Ada")
		h.group = f.group(tenantID, "admins")
		f.must(func(tx *store.Tx) error {
			if err := f.AddMember(tx, tenantID, h.group.ObjectID, h.user.ObjectID); err != nil {
				return err
			}
			_, err := f.PutFederatedCredential(tx, credential(tenantID, h.mi.ObjectID, "fc1"))
			return err
		})
		return h
	}
	homes := map[string]home{contoso: settle(contoso, "contoso.example"), fabrikam: settle(fabrikam, "fabrikam.example")}
	for tenantID, h := range homes {
		for asked := range homes {
			own := asked == tenantID
			for _, p := range []Principal{h.mi, h.sp, h.user, h.group} {
				if _, ok := f.Principal(asked, p.ObjectID); ok != own {
					t.Errorf("%s of its own tenant %v: found %v", p.DisplayName, own, ok)
				}
				if _, kind := f.FindByClientOrObjectID(asked, p.ObjectID); (kind == ObjectID) != own {
					t.Errorf("%s of its own tenant %v: kind %q", p.DisplayName, own, kind)
				}
			}
			for _, p := range []Principal{h.mi, h.sp} {
				if _, ok := f.Client(asked, p.AppID); ok != own {
					t.Errorf("client %s of its own tenant %v: found %v", p.DisplayName, own, ok)
				}
				if _, ok := f.PrincipalByAppID(asked, p.AppID); ok != own {
					t.Errorf("client %s of its own tenant %v: found %v", p.DisplayName, own, ok)
				}
			}
			if groups := f.GroupsOf(asked, h.user.ObjectID); (len(groups) == 1) != own {
				t.Errorf("the user of its own tenant %v is in %v", own, groups)
			}
			if appID, _, ok := f.Resource(asked, "api://app"); !ok || (appID == h.app.AppID) != own {
				t.Errorf("api://app of its own tenant %v is %q", own, appID)
			}
			if p, err := f.PrincipalByName(asked, "id1"); err != nil || (p.ObjectID == h.mi.ObjectID) != own {
				t.Errorf("id1 of its own tenant %v is %v, %v", own, p.ObjectID, err)
			}
			if n := len(f.Principals(asked)); n != 4 {
				t.Errorf("the tenant has %d principals", n)
			}
			if own {
				continue
			}
			// Writes across the border.
			wantError(t, f.update(func(tx *store.Tx) error {
				return f.AddMember(tx, asked, homes[asked].group.ObjectID, h.user.ObjectID)
			}), 404, "Request_ResourceNotFound",
				"Resource '"+h.user.ObjectID+"' does not exist or one of its queried reference-property objects are not present.")
			wantError(t, f.update(func(tx *store.Tx) error {
				_, err := f.PutFederatedCredential(tx, credential(asked, h.mi.ObjectID, "fc2"))
				return err
			}), 404, "NotFound", "The parent user-assigned identity doesn't exist.")
		}
	}
}

func TestFindByClientOrObjectID(t *testing.T) {
	f := newFixture(t)
	mi := f.identity(contoso, "id1")
	app, sp := f.application(contoso, "app")
	for _, tt := range []struct {
		id, want string
		kind     IDKind
	}{
		{mi.ObjectID, mi.ObjectID, ObjectID},
		{strings.ToUpper(mi.ObjectID), mi.ObjectID, ObjectID},
		{mi.AppID, mi.ObjectID, ClientID},
		{strings.ToUpper(sp.AppID), sp.ObjectID, ClientID},
		{sp.ObjectID, sp.ObjectID, ObjectID},
		{app.ObjectID, sp.ObjectID, ApplicationObjectID},
		{contoso, "", UnknownID},
		{"", "", UnknownID},
	} {
		p, kind := f.FindByClientOrObjectID(contoso, tt.id)
		if p.ObjectID != tt.want || kind != tt.kind {
			t.Errorf("%q is the %q of %q, want the %q of %q", tt.id, kind, p.ObjectID, tt.kind, tt.want)
		}
	}
	if p, kind := f.FindByClientOrObjectID("none", mi.AppID); kind != UnknownID {
		t.Errorf("in an unknown tenant it is the %q of %v", kind, p)
	}
}

func TestPrincipalByName(t *testing.T) {
	f := newFixture(t)
	user := f.user(contoso, "ada@contoso.example", "Ada")
	mi := f.identity(contoso, "Id1")
	g1, g2 := f.group(contoso, "team"), f.group(contoso, "Team")
	for name, want := range map[string]Principal{"ADA": user, "Ada@Contoso.example": user, "id1": mi} {
		if got, err := f.PrincipalByName(contoso, name); err != nil || got.ObjectID != want.ObjectID {
			t.Errorf("%q is %v, %v", name, got, err)
		}
	}
	if _, err := f.PrincipalByName(contoso, "bob"); err == nil ||
		err.Error() != "nobody in the tenant "+contoso+` is called "bob"` {
		t.Errorf("nobody: %v", err)
	}
	for _, empty := range []string{"", " "} {
		if p, err := f.PrincipalByName(contoso, empty); err == nil {
			t.Errorf("%q is %v", empty, p)
		}
	}
	_, err := f.PrincipalByName(contoso, "TEAM")
	if err == nil || !strings.HasPrefix(err.Error(), "2 principals in the tenant "+contoso+` are called "TEAM": use one of the object IDs `) ||
		!strings.Contains(err.Error(), g1.ObjectID) || !strings.Contains(err.Error(), g2.ObjectID) {
		t.Errorf("two teams: %v", err)
	}
	var names []string
	for _, p := range f.Principals(contoso) {
		names = append(names, azure.Fold(p.DisplayName))
	}
	if diff := cmp.Diff([]string{"ada", "id1", "team", "team"}, names); diff != "" {
		t.Error(diff)
	}
	if f.Principals("none") != nil || f.Applications("none") != nil {
		t.Error("an unknown tenant has principals or applications")
	}
}

func TestSetDisabled(t *testing.T) {
	f := newFixture(t)
	mi := f.identity(contoso, "id1")
	set := func(tenantID, objectID string, disabled bool) error {
		return f.update(func(tx *store.Tx) error { return f.SetDisabled(tx, tenantID, objectID, disabled) })
	}
	for _, disabled := range []bool{true, true, false} {
		if err := set(contoso, strings.ToUpper(mi.ObjectID), disabled); err != nil {
			t.Fatal(err)
		}
		mi.Disabled = disabled
		c, ok := f.Client(contoso, mi.AppID)
		if diff := cmp.Diff(mi, c.Principal); !ok || diff != "" {
			t.Errorf("set to %v (-want +got):\n%s", disabled, diff)
		}
	}
	wantError(t, set(fabrikam, mi.ObjectID, true), 404, "Request_ResourceNotFound",
		"Resource '"+mi.ObjectID+"' does not exist or one of its queried reference-property objects are not present.")
}
