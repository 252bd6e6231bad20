package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

func (f *fixture) register(tenantID, name string, uris ...string) Application {
	f.t.Helper()
	var app Application
	f.must(func(tx *store.Tx) (err error) {
		app, err = f.RegisterApplication(tx, Application{TenantID: tenantID, DisplayName: name, IdentifierURIs: uris})
		return err
	})
	return app
}

func (f *fixture) change(tenantID, objectID string, change func(*Application)) error {
	return f.update(func(tx *store.Tx) error {
		_, err := f.ChangeApplication(tx, tenantID, objectID, func(a *Application) error { change(a); return nil })
		return err
	})
}

// A registration alone is nobody: it can be found, and cannot sign in.
func TestRegistrationWithoutServicePrincipal(t *testing.T) {
	f := newFixture(t)
	app := f.register(contoso, "Shop", "api://shop")
	if _, ok := f.Client(contoso, app.AppID); ok {
		t.Error("an application without a service principal is a client")
	}
	if p, kind := f.FindByClientOrObjectID(contoso, app.AppID); kind != UnknownID {
		t.Errorf("the client ID leads to %+v", p)
	}
	for name, find := range map[string]func() (Application, bool){
		"object ID": func() (Application, bool) { return f.Application(contoso, strings.ToUpper(app.ObjectID)) },
		"client ID": func() (Application, bool) { return f.ApplicationByAppID(contoso, strings.ToUpper(app.AppID)) },
	} {
		got, ok := find()
		if diff := cmp.Diff(app, got); !ok || diff != "" {
			t.Errorf("by %s: %v (-want +got):\n%s", name, ok, diff)
		}
	}
	if _, ok := f.Application(fabrikam, app.ObjectID); ok {
		t.Error("the other tenant finds it")
	}
	if _, ok := f.ApplicationByAppID(fabrikam, app.AppID); ok {
		t.Error("the other tenant finds it by its client ID")
	}

	var first, second Principal
	f.must(func(tx *store.Tx) (err error) {
		first, err = f.CreateServicePrincipal(tx, contoso, strings.ToUpper(app.AppID))
		return err
	})
	if c, ok := f.Client(contoso, app.AppID); !ok || c.Principal.ObjectID != first.ObjectID || first.DisplayName != "Shop" {
		t.Errorf("the client is %+v, %v", c, ok)
	}
	wantError(t, f.update(func(tx *store.Tx) error {
		_, err := f.CreateServicePrincipal(tx, contoso, app.AppID)
		return err
	}), 409, "Request_MultipleObjectsWithSameKeyValue",
		"The service principal cannot be created, updated, or restored because the service principal name "+app.AppID+" is already in use.")

	find := func(tenantID, appID string) (id string, found bool) {
		f.must(func(tx *store.Tx) error {
			p, ok, err := f.ServicePrincipalIn(tx, tenantID, appID)
			id, found = p.ObjectID, ok
			return err
		})
		return id, found
	}
	if id, ok := find(contoso, strings.ToUpper(app.AppID)); !ok || id != first.ObjectID {
		t.Errorf("its service principal is %q, %v", id, ok)
	}
	for _, id := range []string{app.ObjectID, first.ObjectID, ""} {
		if p, ok := find(contoso, id); ok {
			t.Errorf("the client ID %q leads to %s", id, p)
		}
	}
	if p, ok := find(fabrikam, app.AppID); ok {
		t.Errorf("the other tenant finds %s", p)
	}

	// The service principal goes, with what was put on it, and another comes.
	f.must(func(tx *store.Tx) error {
		_, _, err := f.IssueSecret(tx, contoso, app.AppID, Secret{DisplayName: "there", OnPrincipal: true})
		_, _, errOwn := f.IssueSecret(tx, contoso, app.AppID, Secret{DisplayName: "here"})
		return errors.Join(err, errOwn)
	})
	f.must(func(tx *store.Tx) error { return f.DeleteServicePrincipal(tx, contoso, first.ObjectID) })
	if _, ok := f.Client(contoso, app.AppID); ok {
		t.Error("the application still is a client")
	}
	if _, ok := find(contoso, app.AppID); ok {
		t.Error("the service principal is still found")
	}
	if got, _ := f.Application(contoso, app.ObjectID); len(got.Secrets) != 1 || got.Secrets[0].DisplayName != "here" {
		t.Errorf("the secrets are %+v", got.Secrets)
	}
	f.must(func(tx *store.Tx) (err error) {
		second, err = f.CreateServicePrincipal(tx, contoso, app.AppID)
		return err
	})
	if second.ObjectID == first.ObjectID {
		t.Error("an object ID was given out twice")
	}
	f.must(func(tx *store.Tx) error { return f.DeleteApplication(tx, contoso, app.ObjectID) })
	if _, ok := f.Principal(contoso, second.ObjectID); ok {
		t.Error("the service principal outlives its application")
	}
	for _, k := range f.keys() {
		for _, id := range []string{app.AppID, app.ObjectID, first.ObjectID, second.ObjectID, "shop"} {
			if strings.Contains(k, id) {
				t.Errorf("the key %s is left", k)
			}
		}
	}
}

func TestServicePrincipalRefusals(t *testing.T) {
	f := newFixture(t)
	app := f.register(contoso, "Shop")
	mi := f.identity(contoso, "id1")
	const invalid = "The appId '%s' of the service principal does not reference a valid application object."
	for name, tt := range map[string]struct{ tenant, appID string }{
		"another tenant": {fabrikam, app.AppID}, "an identity's": {contoso, mi.AppID}, "the object ID": {contoso, app.ObjectID},
		"nobody's": {contoso, "11111111-2222-3333-4444-555555555555"}, "no GUID": {contoso, "../x"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, f.update(func(tx *store.Tx) error {
				_, err := f.CreateServicePrincipal(tx, tt.tenant, tt.appID)
				return err
			}), 400, "Request_BadRequest", fmt.Sprintf(invalid, tt.appID))
		})
	}
	wantError(t, f.update(func(tx *store.Tx) error { return f.DeleteServicePrincipal(tx, contoso, mi.ObjectID) }),
		400, "Request_BadRequest", "The service principal '"+mi.ObjectID+"' is not an application's.")
	for _, tenant := range []string{contoso, fabrikam} {
		id := app.ObjectID
		if tenant == contoso {
			id = "11111111-2222-3333-4444-555555555555"
		}
		missing := "Resource '" + id + "' does not exist or one of its queried reference-property objects are not present."
		wantError(t, f.update(func(tx *store.Tx) error { return f.DeleteServicePrincipal(tx, tenant, id) }), 404, "Request_ResourceNotFound", missing)
		wantError(t, f.update(func(tx *store.Tx) error { return f.DeleteApplication(tx, tenant, id) }), 404, "Request_ResourceNotFound", missing)
		wantError(t, f.change(tenant, id, func(*Application) {}), 404, "Request_ResourceNotFound", missing)
	}
}

func TestChangeApplication(t *testing.T) {
	f := newFixture(t)
	app, sp := f.application(contoso, "Shop", "api://shop", "https://shop.example")
	user := f.user(contoso, "ada@contoso.example", "Ada")
	if err := f.change(contoso, app.ObjectID, func(a *Application) {
		a.DisplayName = "Store"
		a.IdentifierURIs = []string{"HTTPS://shop.example/", "api://" + a.AppID, "api://store"}
		a.AccessTokenVersion = 2
		a.Owners = []string{user.ObjectID, sp.ObjectID}
		a.Properties = map[string]json.RawMessage{"notes": []byte(`"n"`)}
	}); err != nil {
		t.Fatal(err)
	}
	got, _ := f.Application(contoso, app.ObjectID)
	want := app
	want.DisplayName, want.AccessTokenVersion = "Store", 2
	want.IdentifierURIs = []string{"HTTPS://shop.example/", "api://" + app.AppID, "api://store"}
	want.Owners, want.Properties = []string{user.ObjectID, sp.ObjectID}, map[string]json.RawMessage{"notes": []byte(`"n"`)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p, _ := f.Principal(contoso, sp.ObjectID); p.DisplayName != "Store" {
		t.Errorf("the service principal is called %q", p.DisplayName)
	}
	for audience, known := range map[string]bool{"api://shop": false, "https://shop.example": true, "api://store": true, "api://" + app.AppID: true} {
		if _, _, ok := f.Resource(contoso, audience); ok != known {
			t.Errorf("%s is a resource: %v", audience, ok)
		}
	}
	f.register(contoso, "Other", "api://shop") // given up, and free
	group, stranger := f.group(contoso, "g"), f.user(fabrikam, "eve@fabrikam.example", "Eve")
	before := f.keys()
	for name, tt := range map[string]struct {
		change  func(*Application)
		code    string
		message string
	}{
		"no name":        {func(a *Application) { a.DisplayName = "" }, "Request_BadRequest", "Invalid value specified for property 'displayName' of resource 'Application'. It must not be empty."},
		"version 3":      {func(a *Application) { a.AccessTokenVersion = 3 }, "Request_BadRequest", "Invalid value specified for property 'requestedAccessTokenVersion' of resource 'Application'. It is 1, 2 or null."},
		"another's URI":  {func(a *Application) { a.IdentifierURIs = []string{"api://shop"} }, "Request_MultipleObjectsWithSameKeyValue", "Another object with the same value for property identifierUris already exists."},
		"one URI twice":  {func(a *Application) { a.IdentifierURIs = []string{"api://b", "api://B/"} }, "Request_MultipleObjectsWithSameKeyValue", "Another object with the same value for property identifierUris already exists."},
		"owner twice":    {func(a *Application) { a.Owners = []string{user.ObjectID, user.ObjectID} }, "Request_BadRequest", "One or more added object references already exist for the following modified properties: 'owners'."},
		"group as owner": {func(a *Application) { a.Owners = []string{group.ObjectID} }, "Request_BadRequest", "Invalid value specified for property 'owners' of resource 'Application'. An owner is a user or a service principal."},
		"too large": {func(a *Application) {
			a.Properties = map[string]json.RawMessage{"notes": []byte(`"` + strings.Repeat("n", 256<<10) + `"`)}
		}, "Request_BadRequest", "The properties of the resource 'Application' are too large together: at most 262144 bytes are kept."},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, f.change(contoso, app.ObjectID, tt.change), 400, tt.code, tt.message) })
	}
	wantError(t, f.change(contoso, app.ObjectID, func(a *Application) { a.Owners = append(a.Owners, stranger.ObjectID) }), 404, "Request_ResourceNotFound",
		"Resource '"+stranger.ObjectID+"' does not exist or one of its queried reference-property objects are not present.")
	for name, change := range map[string]func(*Application){
		"tenant": func(a *Application) { a.TenantID = fabrikam }, "client ID": func(a *Application) { a.AppID = sp.ObjectID },
		"object ID": func(a *Application) { a.ObjectID = sp.ObjectID }, "creation": func(a *Application) { a.Created = a.Created.Add(1) },
	} {
		if err := f.change(contoso, app.ObjectID, change); err == nil {
			t.Errorf("the %s was changed", name)
		}
	}
	if diff := cmp.Diff(before, f.keys()); diff != "" {
		t.Errorf("something was written:\n%s", diff)
	}
	if again, _ := f.Application(contoso, app.ObjectID); cmp.Diff(want, again) != "" {
		t.Error("a refused change was kept")
	}
}

func TestChangePrincipal(t *testing.T) {
	f := newFixture(t)
	_, sp := f.application(contoso, "Shop")
	user, group := f.user(contoso, "ada@contoso.example", "Ada"), f.group(contoso, "Staff")
	f.must(func(tx *store.Tx) error { return f.AddMember(tx, contoso, group.ObjectID, user.ObjectID) })
	change := func(id string, change func(*Principal)) error {
		return f.update(func(tx *store.Tx) error {
			_, err := f.ChangePrincipal(tx, contoso, id, func(p *Principal) error { change(p); return nil })
			return err
		})
	}
	if err := errors.Join(
		change(user.ObjectID, func(p *Principal) {
			p.DisplayName, p.UserPrincipalName, p.Disabled = "Ada L.", "Lovelace@contoso.example", true
		}),
		change(group.ObjectID, func(p *Principal) { p.Owners = []string{sp.ObjectID} }),
		change(sp.ObjectID, func(p *Principal) { p.Properties = map[string]json.RawMessage{"notes": []byte(`"n"`)} }),
	); err != nil {
		t.Fatal(err)
	}
	got, ok := f.User(contoso, "LOVELACE@contoso.example")
	if !ok || got.DisplayName != "Ada L." || !got.Disabled {
		t.Errorf("the user is %+v, %v", got, ok)
	}
	for _, who := range []string{"ada@contoso.example", sp.ObjectID, ""} {
		if p, ok := f.User(contoso, who); ok {
			t.Errorf("%q is the user %+v", who, p)
		}
	}
	f.user(contoso, "ada@contoso.example", "another Ada") // the former name is free
	if groups := f.DirectGroupsOf(contoso, strings.ToUpper(user.ObjectID)); len(groups) != 1 || groups[0] != group.ObjectID {
		t.Errorf("the user's groups are %v", groups)
	}
	wantError(t, change(user.ObjectID, func(p *Principal) { p.UserPrincipalName = "ADA@contoso.example" }), 400,
		"Request_MultipleObjectsWithSameKeyValue", "Another object with the same value for property userPrincipalName already exists.")
	wantError(t, change(group.ObjectID, func(p *Principal) { p.DisplayName = "" }), 400, "Request_BadRequest",
		"Invalid value specified for property 'displayName' of resource 'Group'. It must not be empty.")
	for name, c := range map[string]func(*Principal){
		"tenant": func(p *Principal) { p.TenantID = fabrikam }, "client ID": func(p *Principal) { p.AppID = sp.ObjectID },
		"object ID": func(p *Principal) { p.ObjectID = user.ObjectID }, "type": func(p *Principal) { p.Type = azure.User },
		"kind": func(p *Principal) { p.ServicePrincipalType = ManagedIdentityPrincipal }, "name": func(p *Principal) { p.DisplayName = "x" },
		"members": func(p *Principal) { p.Members = []string{user.ObjectID} }, "resource": func(p *Principal) { p.ResourceID = "/x" },
		"user name": func(p *Principal) { p.UserPrincipalName = "x@contoso.example" },
	} {
		if change(sp.ObjectID, c) == nil {
			t.Errorf("a service principal's %s was changed", name)
		}
	}
}

func TestIssueSecret(t *testing.T) {
	f := newFixture(t)
	app := f.register(contoso, "Shop")
	issue := func(s Secret) (Secret, string, error) {
		var made Secret
		var text string
		err := f.update(func(tx *store.Tx) (err error) {
			made, text, err = f.IssueSecret(tx, contoso, app.AppID, s)
			return err
		})
		return made, text, err
	}
	later := standin.Start.Add(time.Hour)
	s, text, err := issue(Secret{DisplayName: "later", Start: later})
	if err != nil || !s.Start.Equal(later) || !s.End.Equal(later.AddDate(2, 0, 0)) || s.DisplayName != "later" {
		t.Errorf("got %+v, %v", s, err)
	}
	got, _ := f.Application(contoso, app.ObjectID)
	for now, want := range map[time.Time]bool{standin.Start: false, later: true, s.End: false} {
		if ok, _ := got.CheckSecret(text, now); ok != want {
			t.Errorf("at %s the secret is valid: %v", now, ok)
		}
	}
	for why, s := range map[string]Secret{
		"The end date is in the past.":                   {End: standin.Start},
		"The end date is not after the start date.":      {Start: later, End: later},
		"The display name has more than 256 characters.": {DisplayName: strings.Repeat("n", 257)},
	} {
		_, _, err := issue(s)
		wantError(t, err, 400, "Request_BadRequest", "Invalid value specified for property 'passwordCredentials' of resource 'Application'. "+why)
	}
}

func TestCredentialIDs(t *testing.T) {
	f := newFixture(t)
	app := f.register(contoso, "Shop")
	mi := f.identity(contoso, "id1")
	for _, owner := range []string{app.ObjectID, mi.ObjectID} {
		f.must(func(tx *store.Tx) error {
			_, err := f.PutFederatedCredential(tx, credential(contoso, owner, "fc1"))
			return err
		})
	}
	first := f.FederatedCredentialsOf(contoso, strings.ToUpper(app.ObjectID))
	if _, ok := canonicalGUID(first[0].ID); len(first) != 1 || !ok {
		t.Fatalf("an application's credentials are %+v", first)
	}
	if c := f.FederatedCredentialsOf(contoso, mi.ObjectID); len(c) != 1 || c[0].ID != "" {
		t.Errorf("an identity's credentials are %+v", c)
	}
	f.must(func(tx *store.Tx) error {
		_, err := f.PutFederatedCredential(tx, credential(contoso, app.ObjectID, "FC1", func(c *FederatedCredential) { c.ID, c.Subject = "x", "new" }))
		return err
	})
	if again := f.FederatedCredentialsOf(contoso, app.ObjectID); again[0].ID != first[0].ID || again[0].Subject != "new" {
		t.Errorf("after a change it is %+v, before %+v", again, first)
	}
	if c := f.FederatedCredentialsOf(fabrikam, app.ObjectID); c != nil {
		t.Errorf("the other tenant sees %v", c)
	}
}
