package keyvault

import (
	"bytes"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// every is one request of each operation of the plane.
var every = []struct{ method, path, body string }{
	{"GET", "/secrets", ""}, {"GET", "/secrets/db", ""}, {"PUT", "/secrets/db", `{"value":"x"}`},
	{"PATCH", "/secrets/db", `{}`}, {"PATCH", "/secrets/db/" + strings.Repeat("0", 32), `{}`}, {"DELETE", "/secrets/db", ""},
	{"GET", "/secrets/db/versions", ""}, {"GET", "/secrets/db/" + strings.Repeat("0", 32), ""},
	{"POST", "/secrets/db/backup", ""}, {"POST", "/secrets/restore", `{"value":""}`},
	{"GET", "/deletedsecrets", ""}, {"GET", "/deletedsecrets/db", ""}, {"DELETE", "/deletedsecrets/db", ""},
	{"POST", "/deletedsecrets/db/recover", ""}, {"GET", "/certificates/contacts", ""},
}

// Nobody gets past any operation: without a role 403, with a token that is not
// this vault's 401.
func TestEveryOperationIsGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set("one", "db", "x")
	if len(every) < len(operations) {
		t.Fatalf("%d operations, %d requests here", len(operations), len(every))
	}
	tokens := map[string]struct {
		raw    string
		status int
	}{
		"none":               {"", 401},
		"another tenant":     {w.Token("foreign"), 401},
		"Resource Manager's": {w.Token("officer", func(c *token.Claims) { c.Audience = testCloud.ResourceManager() }), 401},
		"no role":            {w.Token("nobody"), 403},
		"Owner":              {w.Token("owner"), 403},
	}
	for name, tok := range tokens {
		for _, e := range every {
			r := httptest.NewRequestWithContext(t.Context(), e.method, "https://"+host("one")+e.path+v, strings.NewReader(e.body))
			if tok.raw != "" {
				r.Header.Set("Authorization", "Bearer "+tok.raw)
			}
			a := w.send(r)
			if a.Status != tok.status {
				t.Errorf("%s: %s %s: %d, want %d", name, e.method, e.path, a.Status, tok.status)
			}
			if challenged := a.Header.Get("WWW-Authenticate") != ""; challenged != (tok.status == 401) {
				t.Errorf("%s: %s %s: challenged is %t", name, e.method, e.path, challenged)
			}
		}
	}
	for _, e := range every {
		for _, who := range []string{"officer", "admin"} {
			if who == "officer" && e.path == "/certificates/contacts" {
				continue
			}
			if a := w.do(who, "one", e.method, e.path+v, e.body); a.Status == 401 || a.Status == 403 {
				t.Errorf("%s is refused %s %s: %s", who, e.method, e.path, a.Body)
			}
		}
	}
}

// A body is not read before its sender may send it.
func TestBodyIsNotReadFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, who := range []string{"", "nobody"} {
		r := httptest.NewRequestWithContext(t.Context(), "PUT", "https://"+host("one")+"/secrets/db"+v, unreadable{t})
		if who != "" {
			r.Header.Set("Authorization", "Bearer "+w.Token(who))
		}
		if a := w.send(r); a.Status != 401 && a.Status != 403 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, os.ErrInvalid
}

// Access policies: groups (nested, and those of the token), and entries that
// are for users of one application alone.
func TestAccessPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.User(tenantID, "ada").ObjectID
	w.Group(tenantID, "inner", "ada")
	outer := w.Group(tenantID, "outer", "inner").ObjectID
	user := func(c *token.Claims) {
		c.ObjectID, c.Subject, c.IDType, c.UPN, c.Scopes = ada, ada, token.IDTypeUser, "ada@example.com", "user_impersonation"
	}
	inToken := func(c *token.Claims) { c.Groups = []string{"99999999-0000-0000-0000-000000000001"} }
	for name, tt := range map[string]struct {
		policy AccessPolicy
		token  string
		want   int
	}{
		"through nested groups":    {AccessPolicy{ObjectID: outer, Secrets: []string{"list"}}, w.Token("nobody", user), 200},
		"case":                     {AccessPolicy{ObjectID: strings.ToUpper(outer), Secrets: []string{"LIST"}}, w.Token("nobody", user), 200},
		"a group of the token":     {AccessPolicy{ObjectID: "99999999-0000-0000-0000-000000000001", Secrets: []string{"list"}}, w.Token("nobody", inToken), 200},
		"another group":            {AccessPolicy{ObjectID: "99999999-0000-0000-0000-000000000002", Secrets: []string{"list"}}, w.Token("nobody", inToken), 403},
		"another permission":       {AccessPolicy{ObjectID: principals["nobody"], Secrets: []string{"get", "set"}}, w.Token("nobody"), 403},
		"certificates' permission": {AccessPolicy{ObjectID: principals["nobody"], Certificates: []string{"all"}}, w.Token("nobody"), 403},
		"user through the application": {AccessPolicy{ObjectID: ada, ApplicationID: w.Claims("nobody").AppID, Secrets: []string{"list"}},
			w.Token("nobody", user), 200},
		"user through another application": {AccessPolicy{ObjectID: ada, ApplicationID: w.Claims("reader").AppID, Secrets: []string{"list"}},
			w.Token("nobody", user), 403},
		"the application alone": {AccessPolicy{ObjectID: principals["nobody"], ApplicationID: w.Claims("nobody").AppID, Secrets: []string{"list"}},
			w.Token("nobody"), 403},
	} {
		vault, _ := w.vaults.Vault("policies")
		vault.AccessPolicies = []AccessPolicy{tt.policy}
		w.vaults.set(vault)
		r := httptest.NewRequestWithContext(t.Context(), "GET", "https://"+host("policies")+"/secrets"+v, nil)
		r.Header.Set("Authorization", "Bearer "+tt.token)
		if a := w.send(r); a.Status != tt.want {
			t.Errorf("%s: %d, want %d: %s", name, a.Status, tt.want, a.Body)
		}
	}
}

func TestFirewall(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix
	for name, tt := range map[string]struct {
		network Network
		peer    string
		want    bool
	}{
		"open":                      {Network{}, "203.0.113.9", true},
		"rules without deny":        {Network{Allow: []netip.Prefix{prefix("10.0.0.0/8")}}, "203.0.113.9", true},
		"inside":                    {Network{Deny: true, Allow: []netip.Prefix{prefix("10.0.0.0/8")}}, "10.9.9.9", true},
		"mapped":                    {Network{Deny: true, Allow: []netip.Prefix{prefix("10.0.0.0/8")}}, "::ffff:10.9.9.9", true},
		"outside":                   {Network{Deny: true, Allow: []netip.Prefix{prefix("10.0.0.0/8")}}, "11.0.0.1", false},
		"no rules":                  {Network{Deny: true}, "10.9.9.9", false},
		"an address that isn't one": {Network{Deny: true, Allow: []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}}, "", false},
		"disabled":                  {Network{Disabled: true, Allow: []netip.Prefix{prefix("0.0.0.0/0")}}, "10.9.9.9", false},
	} {
		addr, _ := netip.ParseAddr(tt.peer)
		if got := tt.network.allows(addr); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// The server's own note of the peer counts, not the connection to the server.
func TestPeerOfTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := azure.WithRequest(t.Context(), azure.Request{RemoteAddr: "10.1.0.1:5", RequestID: "id"})
	r := httptest.NewRequestWithContext(ctx, "GET", "https://"+host("walled")+"/secrets"+v, nil)
	r.Header.Set("Authorization", "Bearer "+w.Token("officer"))
	a := w.send(r).Want(t, 200)
	if a.Header.Get("X-Ms-Request-Id") != "id" {
		t.Error(a.Header)
	}
}

// Neither the logs, nor the audit log, nor the store hold a value or a token,
// whatever fails; and every decision is in the audit log.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	const value = "sup3r-s3cret-value"
	w := newWorld(t)
	w.set("one", "db", value)
	w.do("reader", "one", "GET", "/secrets/db"+v, "").Want(t, 200)
	w.do("nobody", "one", "GET", "/secrets/db"+v, "").Want(t, 403)
	w.do("nobody", "policies", "PUT", "/secrets/db"+v, `{"value":"`+value+`"}`).Want(t, 200)
	w.do("officer", "policies", "GET", "/secrets/db"+v, "").Want(t, 403)
	w.do("officer", "closed", "GET", "/secrets/db"+v, "").Want(t, 403)
	w.do("officer", "one", "PUT", "/secrets/db"+v, `{"value":"`+value+`","attributes":{"exp":"`+value+`"}}`).Want(t, 400)
	w.do("officer", "one", "PUT", "/secrets/db"+v, `{"value":"`+value).Want(t, 400)
	// A value that has been tampered with cannot be opened: an error that is
	// logged.
	page, err := w.Store.List(t.Context(), "keyvault/one/instance-one/values/", store.ListOptions{})
	cloudtest.Must(t, err)
	if bytes.Contains(page.Entries[0].Value, []byte(value)) {
		t.Error("the store holds the value in clear")
	}
	w.Update(func(tx *store.Tx) error {
		tx.Put(page.Entries[0].Key, page.Entries[0].Value[:len(page.Entries[0].Value)-1])
		return nil
	})
	a := w.do("reader", "one", "GET", "/secrets/db"+v, "").Want(t, 500)
	if !strings.Contains(a.Body, "An internal error occurred.") || strings.Contains(a.Body, "seal") {
		t.Error(a.Body)
	}
	log := w.AuditText()
	for name, text := range map[string]string{"log": w.Log.String(), "audit log": log} {
		for _, secret := range []string{value, w.Token("reader")[:40]} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s holds %q", name, secret)
			}
		}
	}
	if !strings.Contains(w.Log.String(), "key vault request failed") {
		t.Error("the failure was not logged")
	}
	for _, want := range []string{
		`"no access policy grants secrets get"`, `"an access policy grants secrets set"`, "the vault's firewall refuses",
		`"action":"` + actionGet + `"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit log has no %s", want)
		}
	}
	if s := secretValue(value); s.String() == value || s.GoString() == value {
		t.Error("a value prints itself")
	}
}

// Where decisions cannot be kept, nothing is decided.
func TestNoAuditNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cloudtest.Must(t, w.Audit.Close())
	w.do("reader", "one", "GET", "/secrets/db"+v, "").Want(t, 503)
	w.do("reader", "policies", "GET", "/secrets/db"+v, "").Want(t, 503)
	w.do("reader", "closed", "GET", "/secrets/db"+v, "").Want(t, 503)
}
