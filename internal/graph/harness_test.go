package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID      = "11111111-1111-1111-1111-111111111111"
	otherTenantID = "11111111-1111-1111-1111-222222222222"
	requestID     = "77777777-7777-7777-7777-777777777777"
	clientRequest = "88888888-8888-8888-8888-888888888888"
)

// start is when the clocks of tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var testCloud = azure.Cloud{Domain: "lanyard.test", Port: 8443}

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a plane over a real store, directory, guard and key set, with a few
// applications whose rights their names say.
type world struct {
	t        testing.TB
	handler  *Handler
	store    *store.Store
	guard    *rbac.Guard
	dir      *directory.Directory
	keys     *token.Keys
	clock    *clock
	logs     *bytes.Buffer
	audit    *audit.Log
	auditLog string // its path
	// known are identifiers by the names that tests give them: "owner.oid".
	known map[string]string
}

// constraint withholds assigning roles, as Azure's portal writes it.
const constraint = "!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})"

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: start}, logs: &bytes.Buffer{}, known: map[string]string{"tenant": tenantID, "other": otherTenantID}}
	logger := slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ring, err := store.NewKeyring(bytes.Repeat([]byte{7}, 32))
	must(t, err)
	w.store, err = store.Open(t.Context(), store.Config{Dir: t.TempDir(), Keyring: ring, Logger: logger})
	must(t, err)
	t.Cleanup(func() { must(t, w.store.Close()) })
	w.dir, err = directory.Open(t.Context(), w.store, testCloud, w.clock.Now)
	must(t, err)
	w.auditLog = filepath.Join(t.TempDir(), "audit.log")
	w.audit, err = audit.Open(audit.Config{Path: w.auditLog})
	must(t, err)
	t.Cleanup(func() { must(t, w.audit.Close()) })
	w.guard, err = rbac.NewGuard(t.Context(), rbac.Config{Store: w.store, Directory: w.dir, Audit: w.audit, Now: w.clock.Now})
	must(t, err)
	w.keys, err = token.OpenKeys(t.Context(), w.store, w.clock.Now, logger)
	must(t, err)

	w.update(func(tx *store.Tx) error {
		for id, name := range map[string]string{tenantID: "contoso", otherTenantID: "fabrikam"} {
			t := directory.Tenant{ID: id, DisplayName: name, DefaultDomain: name + ".example", Domains: []string{name + ".test"}}
			if err := w.dir.CreateTenant(tx, t); err != nil {
				return err
			}
		}
		return nil
	})
	w.principal("owner", tenantID, azure.RoleOwner, "")
	w.principal("uaa", tenantID, azure.RoleUserAccessAdministrator, "")
	w.principal("contributor", tenantID, azure.RoleContributor, "")
	w.principal("reader", tenantID, azure.RoleReader, "")
	w.principal("constrained", tenantID, azure.RoleOwner, constraint)
	w.principal("nobody", tenantID, "", "")
	w.principal("foreigner", otherTenantID, azure.RoleOwner, "")
	cfg := Config{
		Store: w.store, Directory: w.dir, Guard: w.guard, Audit: w.audit, Cloud: testCloud, Now: w.clock.Now, Logger: logger,
		Verifier: token.NewVerifier(w.keys, testCloud, testCloud.Service(azure.ServiceGraph), w.clock.Now),
	}
	for _, f := range change {
		f(&cfg)
	}
	w.handler, err = New(cfg)
	must(t, err)
	return w
}

func strict(cfg *Config) { cfg.Strict = true }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) update(do func(tx *store.Tx) error) {
	w.t.Helper()
	_, err := w.store.Update(w.t.Context(), do)
	must(w.t, err)
}

// principal makes an application, and gives it a role at the root if it is
// named.
func (w *world) principal(name, tenant, role, condition string) {
	w.t.Helper()
	var p directory.Principal
	w.update(func(tx *store.Tx) error {
		app, principal, err := w.dir.CreateApplication(tx, tenant, name)
		p = principal
		w.known[name+".oid"], w.known[name+".appid"], w.known[name+".app"] = p.ObjectID, app.AppID, app.ObjectID
		return err
	})
	if role != "" {
		w.assign(p, role, condition)
	}
}

func (w *world) assign(p directory.Principal, role, condition string) {
	w.t.Helper()
	a := rbac.Assignment{Name: uuid.NewString(), TenantID: p.TenantID, Scope: azure.Root(), RoleDefinitionID: role, PrincipalID: p.ObjectID}
	if condition != "" {
		a.Condition, a.ConditionVersion = condition, "2.0"
	}
	w.update(func(tx *store.Tx) error {
		_, _, err := w.guard.PutAssignment(tx, a)
		return err
	})
}

// user makes a user, known as "name.oid".
func (w *world) user(name string) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		p, err := w.dir.CreateUser(tx, tenantID, name+"@contoso.example", name)
		w.known[name+".oid"] = p.ObjectID
		return err
	})
}

// group makes a group, known as "name.oid".
func (w *world) group(name string, members ...string) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		p, err := w.dir.CreateGroup(tx, tenantID, name)
		w.known[name+".oid"] = p.ObjectID
		return err
	})
	for _, m := range members {
		w.update(func(tx *store.Tx) error {
			return w.dir.AddMember(tx, tenantID, w.known[name+".oid"], w.known[m+".oid"])
		})
	}
}

// identity makes a managed identity, known as "name.oid" and "name.appid".
func (w *world) identity(name string, systemAssigned bool) {
	w.t.Helper()
	id := azure.ResourceGroupScope("22222222-2222-2222-2222-222222222222", "rg1").Resource("Microsoft.ManagedIdentity", "userAssignedIdentities", name)
	if systemAssigned {
		id = azure.ResourceGroupScope("22222222-2222-2222-2222-222222222222", "rg1").Resource("Microsoft.Compute", "virtualMachines", name)
	}
	w.update(func(tx *store.Tx) error {
		p, err := w.dir.CreateManagedIdentity(tx, tenantID, id, systemAssigned)
		w.known[name+".oid"], w.known[name+".appid"] = p.ObjectID, p.AppID
		return err
	})
}

// claims are those of a good token for the plane.
func (w *world) claims(who string) token.Claims {
	tenant := tenantID
	if who == "foreigner" {
		tenant = otherTenantID
	}
	now := w.clock.Now().Unix()
	c := token.Claims{
		Audience: testCloud.Graph(), Issuer: testCloud.IssuerV1(tenant), TenantID: tenant, ObjectID: w.known[who+".oid"],
		AppID: w.known[who+".appid"], AppIDACR: token.ACRSecret, IDType: token.IDTypeApp, Version: token.Version1,
		IssuedAt: now, NotBefore: now, Expiry: now + 3600, TokenID: "uti-" + who,
	}
	if c.AppID == "" { // a user
		c.AppID, c.IDType, c.Scopes = "04b07795-8ddb-461a-bbee-02f9e1bf7b46", token.IDTypeUser, "user_impersonation"
		c.Name = who
	}
	return c
}

func (w *world) token(who string, change ...func(*token.Claims)) string {
	w.t.Helper()
	if w.known[who+".oid"] == "" {
		w.t.Fatalf("there is no principal %q", who)
	}
	c := w.claims(who)
	for _, f := range change {
		f(&c)
	}
	raw, err := w.keys.Mint(c)
	must(w.t, err)
	return raw
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request as who ("" for no token); placeholders are filled in.
func (w *world) do(who, method, path, body string) answer {
	w.t.Helper()
	r := w.request(method, w.fill(path), w.fill(body))
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+w.token(who))
	}
	return w.send(r)
}

func (w *world) request(method, path, body string) *http.Request {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, testCloud.Graph()+strings.ReplaceAll(path, " ", "%20"), strings.NewReader(body))
	return r.WithContext(azure.WithRequest(r.Context(), azure.Request{RequestID: requestID, CorrelationID: clientRequest, RemoteAddr: r.RemoteAddr}))
}

func (w *world) send(r *http.Request) answer {
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

// fill puts known identifiers in the place of "{name}".
func (w *world) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(m string) string {
		if id, ok := w.known[m[1:len(m)-1]]; ok {
			return id
		}
		return m
	})
}

// want fails unless the answer has the status.
func (a answer) want(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("got %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// parse decodes the answer's body.
func parse[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return v
}

// errorCode gives the code of an error document.
func errorCode(t testing.TB, a answer) string {
	t.Helper()
	return parse[errorDocument](t, a).Error.Code
}

// auditText gives the audit log as it is on disk.
func (w *world) auditText() string {
	w.t.Helper()
	must(w.t, w.audit.Flush())
	raw, err := os.ReadFile(w.auditLog)
	must(w.t, err)
	return string(raw)
}

// records gives the audit log.
func (w *world) records() []audit.Record {
	w.t.Helper()
	var all []audit.Record
	for line := range strings.Lines(w.auditText()) {
		var r audit.Record
		must(w.t, json.Unmarshal([]byte(line), &r))
		all = append(all, r)
	}
	return all
}

// app creates an application over the wire, known as "name.app" and
// "name.appid", with a service principal, known as "name.oid".
func (w *world) app(name string) {
	w.t.Helper()
	type made struct{ ID, AppID string }
	a := parse[made](w.t, w.do("owner", "POST", "/v1.0/applications", fmt.Sprintf(`{"displayName":%q}`, name)).want(w.t, 201))
	sp := parse[made](w.t, w.do("owner", "POST", "/v1.0/servicePrincipals", fmt.Sprintf(`{"appId":%q}`, a.AppID)).want(w.t, 201))
	w.known[name+".app"], w.known[name+".appid"], w.known[name+".oid"] = a.ID, a.AppID, sp.ID
}
