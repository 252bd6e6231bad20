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
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// populate makes one object of every kind, so that each route has something to
// act upon.
func (w *world) populate() {
	w.user("ada")
	w.user("bob")
	w.group("staff", "ada")
	w.do("owner", "POST", "/v1.0/applications/{nobody.app}/federatedIdentityCredentials",
		`{"name":"main","issuer":"https://issuer.example","subject":"s","audiences":["a"]}`).want(w.t, 201)
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
	w.t.Helper()
	page, err := w.store.List(w.t.Context(), "directory/", store.ListOptions{})
	must(w.t, err)
	all := map[string]string{}
	for _, e := range page.Entries {
		all[e.Key] = string(e.Value)
	}
	return all
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
			"Resource Manager's": {w.token("owner", func(c *token.Claims) { c.Audience = testCloud.ResourceManager() }), is(401)},
			"Key Vault's":        {w.token("owner", func(c *token.Claims) { c.Audience = "https://vault.azure.net" }), is(401)},
			"Contributor":        {w.token("contributor"), denied(!reads)},
			"Reader":             {w.token("reader"), denied(!reads)},
			"constrained Owner":  {w.token("constrained"), denied(!reads)},
			"no role":            {w.token("uaa", func(c *token.Claims) { c.ObjectID, c.AppID = w.known["bob.oid"], w.known["bob.oid"] }), denied(!strings.HasPrefix(a.path+"/", "/v1.0/me/"))},
		} {
			r := w.request(a.method, w.fill(a.path), w.fill(a.body))
			if tt.authorization != "" {
				r.Header.Set("Authorization", "Bearer "+tt.authorization)
			}
			got := w.send(r)
			if !tt.want(got.status) {
				t.Errorf("%s: %s %s: %d %s", name, a.method, a.path, got.status, got.body)
			}
			if challenged := got.header.Get("WWW-Authenticate") != ""; challenged != (got.status == 401) {
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
		if named && got.status != 404 {
			t.Errorf("%s %s: %d %s", a.method, a.path, got.status, got.body)
		}
		for name, id := range w.known {
			if got.status < 300 && !strings.HasPrefix(name, "foreigner") && name != "other" && strings.Contains(got.body, id) {
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
	p, _ := w.dir.Principal(tenantID, w.known["nobody.oid"])
	w.update(func(tx *store.Tx) error {
		_, _, err := w.guard.PutAssignment(tx, rbac.Assignment{
			Name: "44444444-0000-0000-0000-000000000001", TenantID: tenantID, RoleDefinitionID: azure.RoleOwner, PrincipalID: p.ObjectID,
			Scope: azure.SubscriptionScope("22222222-2222-2222-2222-222222222222"),
		})
		return err
	})
	w.do("nobody", "POST", "/v1.0/applications/{owner.app}/addPassword", `{}`).want(t, 403)
	w.do("nobody", "GET", "/v1.0/applications", "").want(t, 403)
}

// A body is not read before its sender may send it, and a long one not at all.
func TestBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, who := range []string{"", "nobody", "contributor"} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", testCloud.Graph()+"/v1.0/applications", unreadable{t})
		if who != "" {
			r.Header.Set("Authorization", "Bearer "+w.token(who))
		}
		if a := w.send(r); a.status != 401 && a.status != 403 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	long := w.do("owner", "POST", "/v1.0/applications", `{"displayName":"`+strings.Repeat("x", maxBody)+`"}`)
	if long.want(t, 413); errorCode(t, long) != "RequestEntityTooLarge" {
		t.Error(long.body)
	}
	large := w.do("owner", "POST", "/v1.0/applications", `{"displayName":"x","notes":"`+strings.Repeat("x", 300<<10)+`"}`)
	if large.want(t, 400); !strings.Contains(large.body, "too large together") {
		t.Error(large.body)
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
	w.do("uaa", "DELETE", "/v1.0/applications/{owner.app}", "").want(t, 204)
	for _, a := range []attempt{
		{"DELETE", "/v1.0/applications/{uaa.app}", ""},
		{"DELETE", "/v1.0/applications(appId='{uaa.appid}')", ""},
		{"DELETE", "/v1.0/servicePrincipals/{uaa.oid}", ""},
		{"PATCH", "/v1.0/servicePrincipals/{uaa.oid}", `{"accountEnabled":false}`},
	} {
		got := w.do("uaa", a.method, a.path, a.body).want(t, 400)
		if !strings.Contains(got.body, "is the last one that is Owner or User Access Administrator at '/'") {
			t.Error(got.body)
		}
	}
	w.do("uaa", "PATCH", "/v1.0/servicePrincipals/{uaa.oid}", `{"accountEnabled":true,"notes":"still here"}`).want(t, 204)
	w.do("uaa", "DELETE", "/v1.0/applications/{nobody.app}", "").want(t, 204)
	if _, ok := w.dir.Client(tenantID, w.known["uaa.appid"]); !ok {
		t.Error("the last administrator is gone")
	}
}

// Deleting an application ends it at once and leaves its role assignments, which
// belong to nobody from then on.
func TestDeletedApplication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app("shop")
	p, _ := w.dir.Principal(tenantID, w.known["shop.oid"])
	w.assign(p, azure.RoleReader, "")
	w.do("owner", "POST", "/v1.0/applications/{shop.app}/addPassword", `{}`).want(t, 200)
	w.do("owner", "DELETE", "/v1.0/applications/{shop.app}", "").want(t, 204)
	if _, ok := w.dir.Client(tenantID, w.known["shop.appid"]); ok {
		t.Error("the client is still there")
	}
	w.do("owner", "GET", "/v1.0/servicePrincipals/{shop.oid}", "").want(t, 404)
	all, err := w.guard.ListAssignments(t.Context(), tenantID)
	must(t, err)
	if !slices.ContainsFunc(all, func(a rbac.Assignment) bool { return a.PrincipalID == w.known["shop.oid"] }) {
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
		texts = append(texts, parse[struct{ SecretText string }](t, w.do("owner", "POST", path, `{}`).want(t, 200)).SecretText)
	}
	const password = "correct-horse-battery-staple"
	w.do("owner", "POST", "/v1.0/users", `{"accountEnabled":true,"displayName":"E","mailNickname":"e","userPrincipalName":"e@contoso.example",
		"passwordProfile":{"password":"`+password+`"}}`).want(t, 201)
	texts = append(texts, password)
	places := map[string]string{"the log": w.logs.String(), "the audit log": w.auditText()}
	for key, value := range w.everything() {
		places[key] = value
	}
	for _, path := range []string{"/v1.0/applications", "/v1.0/servicePrincipals", "/v1.0/users", "/v1.0/applications/{shop.app}", "/v1.0/directoryObjects/{shop.oid}"} {
		places[path] = w.do("owner", "GET", path, "").want(t, 200).body
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
	w.do("owner", "POST", "/v1.0/applications/{nobody.app}/addPassword", `{}`).want(t, 200)
	w.do("contributor", "POST", "/v1.0/applications/{nobody.app}/addPassword", `{}`).want(t, 403)
	w.do("nobody", "GET", "/v1.0/servicePrincipals/{nobody.oid}", "").want(t, 200)
	type line struct{ Result, ObjectID, Action, Scope string }
	var got []line
	for _, r := range w.records() {
		got = append(got, line{r.Result, r.ObjectID, r.Action, r.Scope})
	}
	want := []line{
		{"allowed", w.known["owner.oid"], "Microsoft.Authorization/directory/applications/write", "/"},
		{"denied", w.known["contributor.oid"], "Microsoft.Authorization/directory/applications/write", "/"},
		{"allowed", w.known["nobody.oid"], "Microsoft.Authorization/directory/servicePrincipals/read", "/"},
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
			l := parse[list](t, w.do("owner", "GET", path, "").want(t, 200))
			for _, v := range l.Value {
				if seen[v.ID] {
					t.Errorf("%s is shown twice", v.ID)
				}
				seen[v.ID] = true
			}
			path = strings.TrimPrefix(l.Next, testCloud.Graph())
		}
		if len(seen) != 5 {
			t.Errorf("by %s: %d applications", size, len(seen))
		}
	}
	first := parse[list](t, w.do("owner", "GET", "/v1.0/applications?$filter=displayName%20eq%20'paged'&$top=2", "").want(t, 200))
	for _, v := range first.Value {
		w.do("owner", "DELETE", "/v1.0/applications/"+v.ID, "").want(t, 204)
	}
	if rest := parse[list](t, w.do("owner", "GET", strings.TrimPrefix(first.Next, testCloud.Graph()), "").want(t, 200)); len(rest.Value) != 2 || rest.Next == "" {
		t.Errorf("the next page is %+v", rest)
	}
}

// An answer says which request it is of, and is not kept by anyone.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, status := range map[string]int{"/v1.0/organization": 200, "/v1.0/nothing": 400} {
		a := w.do("owner", "GET", path, "").want(t, status)
		for name, want := range map[string]string{
			"Request-Id": requestID, "Client-Request-Id": clientRequest, "Cache-Control": "no-cache",
			"Content-Type": "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if !json.Valid([]byte(a.body)) {
			t.Error(a.body)
		}
	}
}
