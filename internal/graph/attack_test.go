package graph

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/token"
)

// populate makes one object of every kind, so that each route has something to
// act upon.
func (w *world) populate() {
	w.User(tenantID, "ada")
	w.User(tenantID, "bob")
	w.Group(tenantID, "staff", "ada")
	w.do("owner", "POST", "/v1.0/applications/{nobody.app}/federatedIdentityCredentials",
		`{"name":"main","issuer":"https://issuer.example","subject":"s","audiences":["a"]}`).Want(w.TB, 201)
}

// attempt is a request that a route serves.
type attempt struct{ method, path, body string }

// attempts gives a good request for every route.
func attempts() []attempt {
	var all []attempt
	for _, rt := range routes() {
		path := rt.pattern
		for prefix, id := range map[string]string{
			"applications": "{nobody.app}", "servicePrincipals": "{nobody.oid}", "users": "{ada.oid}", "groups": "{staff.oid}",
			"directoryObjects": "{nobody.oid}", "organization": "{tenant}", "domains": "contoso.example",
		} {
			path = strings.Replace(path, prefix+"/{}", prefix+"/"+id, 1)
		}
		path = strings.Replace(path, "federatedIdentityCredentials/{}", "federatedIdentityCredentials/main", 1)
		path = strings.Replace(path, "owners/{}", "owners/{owner.oid}", 1)
		path = strings.Replace(path, "members/{}", "members/{ada.oid}", 1)
		all = append(all, attempt{rt.method, "/v1.0/" + path, goodBody(rt)})
	}
	return all
}

func goodBody(rt route) string {
	last := rt.pattern[strings.LastIndexByte(rt.pattern, '/')+1:]
	switch {
	case rt.method == "GET" || rt.method == "DELETE":
		return ""
	case last == "$ref":
		return `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/{bob.oid}"}`
	case last == "getByIds":
		return `{"ids":["{ada.oid}"]}`
	case strings.HasPrefix(last, "check"):
		return `{"groupIds":["{staff.oid}"]}`
	case last == "federatedIdentityCredentials", rt.method == "PUT":
		return `{"name":"main","issuer":"https://evil.example","subject":"s","audiences":["a"]}`
	case rt.pattern == "users":
		return `{"accountEnabled":true,"displayName":"E","mailNickname":"e","userPrincipalName":"e@contoso.example","passwordProfile":{"password":"x"}}`
	case rt.pattern == "groups":
		return `{"displayName":"e","mailEnabled":false,"mailNickname":"e","securityEnabled":true}`
	case rt.pattern == "servicePrincipals":
		return `{"appId":"{nobody.appid}"}`
	case last == "removePassword":
		return `{"keyId":"{ada.oid}"}`
	case strings.Contains(rt.pattern, "federatedIdentityCredentials"):
		return `{"issuer":"https://evil.example"}`
	case rt.pattern == "applications", rt.method == "PATCH":
		return `{"displayName":"evil"}`
	default:
		return `{}`
	}
}

// everything is the directory as the store has it.
func (w *world) everything() map[string]string {
	w.TB.Helper()
	return w.Entries("directory/")
}

// Nobody gets past any route: no token, another service's, another tenant's, no
// role, a role that may not write, a role with a condition. What is refused
// changes nothing.
func TestEveryRouteIsGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.populate()
	before := w.everything()
	served := routes()
	for i, a := range attempts() {
		reads := served[i].verb == read
		for name, tt := range map[string]struct {
			authorization string
			want          func(status int) bool
		}{
			"no token":           {"", is(401)},
			"Resource Manager's": {w.Token("owner", func(c *token.Claims) { c.Audience = w.Azure.ResourceManager() }), is(401)},
			"Key Vault's":        {w.Token("owner", func(c *token.Claims) { c.Audience = "https://vault.azure.net" }), is(401)},
			"Contributor":        {w.Token("contributor"), denied(!reads)},
			"Reader":             {w.Token("reader"), denied(!reads)},
			"constrained Owner":  {w.Token("constrained"), denied(!reads)},
			"no role":            {w.Token("uaa", func(c *token.Claims) { c.ObjectID, c.AppID = w.Names.ID("bob.oid"), w.Names.ID("bob.oid") }), denied(!strings.HasPrefix(a.path+"/", "/v1.0/me/"))},
		} {
			r := w.request("", a.method, a.path, a.body)
			if tt.authorization != "" {
				r.Header.Set("Authorization", "Bearer "+tt.authorization)
			}
			got := w.send(r)
			if !tt.want(got.Status) {
				t.Errorf("%s: %s %s: %d %s", name, a.method, a.path, got.Status, got.Body)
			}
			if challenged := got.Header.Get("WWW-Authenticate") != ""; challenged != (got.Status == 401) {
				t.Errorf("%s: %s %s: challenged is %t", name, a.method, a.path, challenged)
			}
		}
	}
	if diff := cmp.Diff(before, w.everything()); diff != "" {
		t.Errorf("something was written (-before +after):\n%s", diff)
	}
}

func is(want int) func(int) bool { return func(status int) bool { return status == want } }

// denied wants a 403, or else anything but.
func denied(want bool) func(int) bool {
	return func(status int) bool { return (status == 403) == want && status != 401 }
}

// An Owner of another tenant finds nothing of this one, changes nothing, and
// sees nothing in lists.
func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.populate()
	mine := func() map[string]string {
		all := w.everything()
		for key := range all {
			if strings.Contains(key, otherTenantID) || strings.HasPrefix(key, "directory/objects/") || strings.HasPrefix(key, "directory/clients/") {
				delete(all, key)
			}
		}
		return all
	}
	before := mine()
	for _, a := range attempts() {
		got := w.do("foreigner", a.method, a.path, a.body)
		named := strings.Contains(a.path, "{") || strings.Contains(a.path, "domains/")
		if named && got.Status != 404 {
			t.Errorf("%s %s: %d %s", a.method, a.path, got.Status, got.Body)
		}
		for name, id := range w.Names.All() {
			if got.Status < 300 && !strings.HasPrefix(name, "foreigner") && name != "other" && strings.Contains(got.Body, id) {
				t.Errorf("%s %s shows %s", a.method, a.path, name)
			}
		}
	}
	if diff := cmp.Diff(before, mine()); diff != "" {
		t.Errorf("something was written (-before +after):\n%s", diff)
	}
}

// Of all built-in roles two may write: those that may assign every role anyway.
func TestWhichRolesMayWrite(t *testing.T) {
	t.Parallel()
	for _, rt := range routes() {
		action := actions + rt.collection + rt.verb
		var may []string
		for _, role := range rbac.BuiltIns() {
			p := rbac.NewPolicy([]rbac.Assignment{{Name: "a", TenantID: tenantID, Scope: azure.Root(), RoleDefinitionID: role.ID, PrincipalID: "p"}}, nil)
			if p.Allow(rbac.Question{Principals: []string{"p"}, Action: action, Scope: azure.Root(), Unconditional: rt.verb != read}).Allowed {
				may = append(may, role.RoleName)
			}
		}
		slices.Sort(may)
		if rt.verb != read && !slices.Equal(may, []string{"Owner", "User Access Administrator"}) {
			t.Errorf("%s is given by %q", action, may)
		}
		if rt.verb == read && !slices.Contains(may, "Reader") {
			t.Errorf("%s is not given by Reader", action)
		}
		if writes := rt.method != "GET" && !slices.Contains(asking, rt.pattern[strings.LastIndexByte(rt.pattern, '/')+1:]); writes != (rt.verb != read) {
			t.Errorf("%s %s takes %s", rt.method, rt.pattern, action)
		}
	}
}

// asking are the POST requests that change nothing.
var asking = []string{"getByIds", "getMemberGroups", "checkMemberGroups", "getMemberObjects", "checkMemberObjects"}

// A role at a subscription is no role at the root.
func TestRoleBelowTheRoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Assign("nobody", azure.RoleOwner, azure.SubscriptionScope(cloudtest.SubscriptionID))
	w.do("nobody", "POST", "/v1.0/applications/{owner.app}/addPassword", `{}`).Want(t, 403)
	w.do("nobody", "GET", "/v1.0/applications", "").Want(t, 403)
}

// A body is not read before its sender may send it, and a long one not at all.
func TestBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, who := range []string{"", "nobody", "contributor"} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", w.Azure.Graph()+"/v1.0/applications", unreadable{t})
		if who != "" {
			r.Header.Set("Authorization", "Bearer "+w.Token(who))
		}
		if a := w.send(r); a.Status != 401 && a.Status != 403 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	long := w.do("owner", "POST", "/v1.0/applications", `{"displayName":"`+strings.Repeat("x", maxBody)+`"}`)
	if long.Want(t, 413); long.ErrorCode() != "RequestEntityTooLarge" {
		t.Error(long.Body)
	}
	large := w.do("owner", "POST", "/v1.0/applications", `{"displayName":"x","notes":"`+strings.Repeat("x", 300<<10)+`"}`)
	if large.Want(t, 400); !strings.Contains(large.Body, "too large together") {
		t.Error(large.Body)
	}
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, os.ErrInvalid
}

// The last service principal that can manage access at the root stays, however
// its end is asked for.
func TestLastAdministratorStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("uaa", "DELETE", "/v1.0/applications/{owner.app}", "").Want(t, 204)
	for _, a := range []attempt{
		{"DELETE", "/v1.0/applications/{uaa.app}", ""},
		{"DELETE", "/v1.0/applications(appId='{uaa.appid}')", ""},
		{"DELETE", "/v1.0/servicePrincipals/{uaa.oid}", ""},
		{"PATCH", "/v1.0/servicePrincipals/{uaa.oid}", `{"accountEnabled":false}`},
	} {
		got := w.do("uaa", a.method, a.path, a.body).Want(t, 400)
		if !strings.Contains(got.Body, "is the last one that is Owner or User Access Administrator at '/'") {
			t.Error(got.Body)
		}
	}
	w.do("uaa", "PATCH", "/v1.0/servicePrincipals/{uaa.oid}", `{"accountEnabled":true,"notes":"still here"}`).Want(t, 204)
	w.do("uaa", "DELETE", "/v1.0/applications/{nobody.app}", "").Want(t, 204)
	if _, ok := w.Directory.Client(tenantID, w.Names.ID("uaa.appid")); !ok {
		t.Error("the last administrator is gone")
	}
}

// Deleting an application ends it at once and leaves its role assignments, which
// belong to nobody from then on.
func TestDeletedApplication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app("shop")
	w.Assign("shop", azure.RoleReader, azure.Root())
	w.do("owner", "POST", "/v1.0/applications/{shop.app}/addPassword", `{}`).Want(t, 200)
	w.do("owner", "DELETE", "/v1.0/applications/{shop.app}", "").Want(t, 204)
	if _, ok := w.Directory.Client(tenantID, w.Names.ID("shop.appid")); ok {
		t.Error("the client is still there")
	}
	w.do("owner", "GET", "/v1.0/servicePrincipals/{shop.oid}", "").Want(t, 404)
	all, err := w.Guard.ListAssignments(t.Context(), tenantID)
	cloudtest.Must(t, err)
	if !slices.ContainsFunc(all, func(a rbac.Assignment) bool { return a.PrincipalID == w.Names.ID("shop.oid") }) {
		t.Error("the role assignment went too")
	}
}

// No secret is in the store, in a log, or in any answer but the one.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app("shop")
	var texts []string
	for _, path := range []string{"/v1.0/applications/{shop.app}/addPassword", "/v1.0/servicePrincipals/{shop.oid}/addPassword"} {
		texts = append(texts, cloudtest.Decode[struct{ SecretText string }](t, w.do("owner", "POST", path, `{}`).Want(t, 200)).SecretText)
	}
	const password = "correct-horse-battery-staple"
	w.do("owner", "POST", "/v1.0/users", `{"accountEnabled":true,"displayName":"E","mailNickname":"e","userPrincipalName":"e@contoso.example",
		"passwordProfile":{"password":"`+password+`"}}`).Want(t, 201)
	texts = append(texts, password)
	places := map[string]string{"the log": w.Log.String(), "the audit log": w.AuditText()}
	for key, value := range w.everything() {
		places[key] = value
	}
	for _, path := range []string{"/v1.0/applications", "/v1.0/servicePrincipals", "/v1.0/users", "/v1.0/applications/{shop.app}", "/v1.0/directoryObjects/{shop.oid}"} {
		places[path] = w.do("owner", "GET", path, "").Want(t, 200).Body
	}
	for _, text := range texts {
		if len(text) < 20 {
			t.Fatalf("%q is no secret", text)
		}
		for place, content := range places {
			if strings.Contains(content, text) {
				t.Errorf("a secret is in %s", place)
			}
		}
	}
}

// Every decision is on record: whether allowed, denied, or the principal's own
// affair.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("owner", "POST", "/v1.0/applications/{nobody.app}/addPassword", `{}`).Want(t, 200)
	w.do("contributor", "POST", "/v1.0/applications/{nobody.app}/addPassword", `{}`).Want(t, 403)
	w.do("nobody", "GET", "/v1.0/servicePrincipals/{nobody.oid}", "").Want(t, 200)
	type line struct{ Result, ObjectID, Action, Scope string }
	var got []line
	for _, r := range w.Records() {
		got = append(got, line{r.Result, r.ObjectID, r.Action, r.Scope})
	}
	want := []line{
		{"allowed", w.Names.ID("owner.oid"), "Microsoft.Authorization/directory/applications/write", "/"},
		{"denied", w.Names.ID("contributor.oid"), "Microsoft.Authorization/directory/applications/write", "/"},
		{"allowed", w.Names.ID("nobody.oid"), "Microsoft.Authorization/directory/servicePrincipals/read", "/"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A list is complete, whatever the size of its pages, and stays so while what was
// shown already goes.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 5 {
		w.app("paged")
	}
	type list struct {
		Next  string `json:"@odata.nextLink"`
		Value []struct{ ID string }
	}
	for _, size := range []string{"1", "2", "5", "999"} {
		seen := map[string]bool{}
		path := "/v1.0/applications?$filter=displayName%20eq%20'paged'&$top=" + size
		for path != "" {
			l := cloudtest.Decode[list](t, w.do("owner", "GET", path, "").Want(t, 200))
			for _, v := range l.Value {
				if seen[v.ID] {
					t.Errorf("%s is shown twice", v.ID)
				}
				seen[v.ID] = true
			}
			path = strings.TrimPrefix(l.Next, w.Azure.Graph())
		}
		if len(seen) != 5 {
			t.Errorf("by %s: %d applications", size, len(seen))
		}
	}
	first := cloudtest.Decode[list](t, w.do("owner", "GET", "/v1.0/applications?$filter=displayName%20eq%20'paged'&$top=2", "").Want(t, 200))
	for _, v := range first.Value {
		w.do("owner", "DELETE", "/v1.0/applications/"+v.ID, "").Want(t, 204)
	}
	if rest := cloudtest.Decode[list](t, w.do("owner", "GET", strings.TrimPrefix(first.Next, w.Azure.Graph()), "").Want(t, 200)); len(rest.Value) != 2 || rest.Next == "" {
		t.Errorf("the next page is %+v", rest)
	}
}

// An answer says which request it is of, and is not kept by anyone.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, status := range map[string]int{"/v1.0/organization": 200, "/v1.0/nothing": 400} {
		a := w.do("owner", "GET", path, "").Want(t, status)
		for name, want := range map[string]string{
			"Request-Id": cloudtest.RequestID, "Client-Request-Id": cloudtest.CorrelationID, "Cache-Control": "no-cache",
			"Content-Type": "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if !json.Valid([]byte(a.Body)) {
			t.Error(a.Body)
		}
	}
}
