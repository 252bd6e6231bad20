package directory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestCreateApplication(t *testing.T) {
	f := newFixture(t)
	app, p := f.application(contoso, "Shop", "https://shop.example/API", "api://shop")
	want := Client{
		Principal: Principal{
			TenantID: contoso, ObjectID: p.ObjectID, Type: azure.ServicePrincipal, DisplayName: "Shop",
			AppID: app.AppID, ServicePrincipalType: "Application", Created: standin.Start,
		},
		Application: &Application{
			TenantID: contoso, ObjectID: app.ObjectID, AppID: app.AppID, DisplayName: "Shop",
			IdentifierURIs: []string{"https://shop.example/API", "api://shop"}, Created: standin.Start,
		},
	}
	got, ok := f.Client(contoso, strings.ToUpper(app.AppID))
	if !ok {
		t.Fatal("the client is not found")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the client (-want +got):\n%s", diff)
	}
	ids := map[string]bool{app.AppID: true, app.ObjectID: true, p.ObjectID: true}
	for id := range ids {
		if c, ok := canonicalGUID(id); !ok || c != id {
			t.Errorf("%q is not a GUID in lower case", id)
		}
	}
	if len(ids) != 3 {
		t.Errorf("the IDs are not three: %v", ids)
	}
	if diff := cmp.Diff([]Application{app}, f.Applications(contoso)); diff != "" {
		t.Error(diff)
	}
	if other := f.Applications(fabrikam); len(other) != 0 {
		t.Errorf("the other tenant has %v", other)
	}
}

func TestIdentifierURIs(t *testing.T) {
	f := newFixture(t)
	first, _ := f.application(contoso, "first", "https://first.example", "api://first")
	notURI := func(uri string) string {
		return "Invalid value specified for property 'identifierUris' of resource 'Application'. '" + uri +
			"' is not an absolute URI of at most 255 characters."
	}
	const taken = "Another object with the same value for property identifierUris already exists."
	many := make([]string, 21)
	for i := range many {
		many[i] = fmt.Sprintf("api://many%d", i)
	}
	for _, tt := range []struct {
		name    string
		uris    []string
		code    string
		message string
	}{
		{"another's", []string{"https://first.example"}, "Request_MultipleObjectsWithSameKeyValue", taken},
		{"another's in another case", []string{"HTTPS://First.example"}, "Request_MultipleObjectsWithSameKeyValue", taken},
		{"another's with a slash", []string{"https://first.example/"}, "Request_MultipleObjectsWithSameKeyValue", taken},
		{"twice the same", []string{"https://a.example", "https://a.example/"}, "Request_MultipleObjectsWithSameKeyValue", taken},
		{"a service's", []string{"https://vault.azure.net"}, "Request_MultipleObjectsWithSameKeyValue", taken},
		{"a service's under the domain", []string{"https://Management.lanyard.localhost:8443/"}, "Request_MultipleObjectsWithSameKeyValue", taken},
		{"a word", []string{"shop"}, "Request_BadRequest", notURI("shop")},
		{"a path", []string{"/shop"}, "Request_BadRequest", notURI("/shop")},
		{"a scheme alone", []string{"https://"}, "Request_BadRequest", notURI("https://")},
		{"a fragment", []string{"https://a.example/#x"}, "Request_BadRequest", notURI("https://a.example/#x")},
		{"a space", []string{"api://a b"}, "Request_BadRequest", notURI("api://a b")},
		{"empty", []string{""}, "Request_BadRequest", notURI("")},
		{"the URI that every client ID has", []string{"api://" + strings.ToUpper(first.AppID)}, "Request_BadRequest",
			"Invalid value specified for property 'identifierUris' of resource 'Application'. 'api://" + strings.ToUpper(first.AppID) +
				"' stands for the application with that client ID, and need not be given."},
		{"too many", many, "Request_BadRequest",
			"Invalid value specified for property 'identifierUris' of resource 'Application'. It has more than 20 entries."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := f.keys()
			wantError(t, f.update(func(tx *store.Tx) error {
				_, _, err := f.CreateApplication(tx, contoso, "second", tt.uris...)
				return err
			}), 400, tt.code, tt.message)
			if diff := cmp.Diff(before, f.keys()); diff != "" {
				t.Errorf("something was written:\n%s", diff)
			}
		})
	}
	// Another tenant has its own names, and the most that is allowed can be deleted.
	_, p := f.application(fabrikam, "first", append(many[:19], "https://first.example")...)
	before := f.keys()
	f.must(func(tx *store.Tx) error { return f.DeletePrincipal(tx, fabrikam, p.ObjectID) })
	if gone := len(before) - len(f.keys()); gone != 20+5 {
		t.Errorf("deleting the application removed %d keys", gone)
	}
}

func TestResource(t *testing.T) {
	f := newFixture(t)
	v1, _ := f.application(contoso, "one", "https://one.example/api", "api://one")
	v2, _ := f.application(contoso, "two", "https://two.example/")
	f.must(func(tx *store.Tx) error { return f.SetAccessTokenVersion(tx, contoso, v2.AppID, 2) })
	mi := f.identity(contoso, "id1")
	for _, tt := range []struct {
		tenant, audience string
		appID            string
		version          int
	}{
		{contoso, "https://vault.azure.net", azure.ServiceKeyVault, 1},
		{contoso, "https://vault.azure.net/", azure.ServiceKeyVault, 1},
		{contoso, azure.ServiceKeyVault, azure.ServiceKeyVault, 1},
		{contoso, "https://management.azure.com/", azure.ServiceResourceManager, 1},
		{contoso, "https://management.core.windows.net", azure.ServiceResourceManager, 1},
		{contoso, "https://management.lanyard.localhost:8443", azure.ServiceResourceManager, 1},
		{fabrikam, "https://graph.microsoft.com", azure.ServiceGraph, 1},
		{contoso, "api://AzureADTokenExchange", azure.ServiceTokenExchange, 2},
		{contoso, v1.AppID, v1.AppID, 1},
		{contoso, strings.ToUpper(v1.AppID), v1.AppID, 1},
		{contoso, "api://" + v1.AppID, v1.AppID, 1},
		{contoso, "api://" + v1.AppID + "/", v1.AppID, 1},
		{contoso, "API://" + strings.ToUpper(v1.AppID), v1.AppID, 1},
		{contoso, "https://one.example/api", v1.AppID, 1},
		{contoso, "https://ONE.example/api/", v1.AppID, 1},
		{strings.ToUpper(contoso), "api://one", v1.AppID, 1},
		{"contoso.example", "api://one", "", 0}, // a domain is resolved before
		{contoso, v2.AppID, v2.AppID, 2},
		{contoso, "https://two.example", v2.AppID, 2},
		{contoso, "https://two.example/", v2.AppID, 2},

		{fabrikam, v1.AppID, "", 0},
		{fabrikam, "api://" + v1.AppID, "", 0},
		{fabrikam, "https://one.example/api", "", 0},
		{contoso, "https://one.example", "", 0},
		{contoso, "https://one.example/api//", "", 0},
		{contoso, "https://one.example/api/x", "", 0},
		{contoso, mi.AppID, "", 0}, // a managed identity is no resource
		{contoso, "api://" + mi.AppID, "", 0},
		{contoso, "api://", "", 0},
		{contoso, "", "", 0},
		{contoso, "/", "", 0},
		{"none", "https://vault.azure.net", "", 0},
	} {
		appID, version, ok := f.Resource(tt.tenant, tt.audience)
		if appID != tt.appID || version != tt.version || ok != (tt.appID != "") {
			t.Errorf("Resource(%q, %q) = %q, %d, %v; want %q, %d", tt.tenant, tt.audience, appID, version, ok, tt.appID, tt.version)
		}
	}
}

func TestSetAccessTokenVersion(t *testing.T) {
	f := newFixture(t)
	app, _ := f.application(contoso, "app")
	set := func(tenantID string, version int) error {
		return f.update(func(tx *store.Tx) error { return f.SetAccessTokenVersion(tx, tenantID, app.AppID, version) })
	}
	for _, tt := range []struct{ set, want int }{{2, 2}, {1, 1}, {2, 2}, {0, 1}} {
		if err := set(contoso, tt.set); err != nil {
			t.Fatal(err)
		}
		if _, version, _ := f.Resource(contoso, app.AppID); version != tt.want {
			t.Errorf("set to %d, tokens are of version %d", tt.set, version)
		}
	}
	for _, version := range []int{-1, 3} {
		wantError(t, set(contoso, version), 400, "Request_BadRequest",
			"Invalid value specified for property 'requestedAccessTokenVersion' of resource 'Application'. It is 1, 2 or null.")
	}
	wantError(t, set(fabrikam, 2), 404, "Request_ResourceNotFound",
		"Resource '"+app.AppID+"' does not exist or one of its queried reference-property objects are not present.")
}
