package keyvault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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
	tenantID       = "11111111-1111-1111-1111-111111111111"
	otherTenantID  = "11111111-1111-1111-1111-222222222222"
	subscriptionID = "22222222-2222-2222-2222-222222222222"
	otherSubID     = "22222222-2222-2222-2222-333333333333"
)

// start is when the clocks of tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var testCloud = azure.Cloud{
	Domain: "lanyard.test", Port: 8443,
	Aliases: []string{"*.vault.azure.net", "login-us.microsoftonline.com"},
}

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

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// vaultMap is a Vaults that tests change.
type vaultMap struct {
	mu     sync.Mutex
	vaults map[string]Vault
}

func (m *vaultMap) Vault(name string) (Vault, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.vaults[name]
	return v, ok
}

func (m *vaultMap) set(v Vault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vaults = maps.Clone(m.vaults)
	m.vaults[azure.Fold(v.Name)] = v
}

// world is a plane over a real store, directory, guard and key set, with a few
// vaults and principals whose rights their names say.
type world struct {
	t        testing.TB
	handler  *Handler
	store    *store.Store
	guard    *rbac.Guard
	dir      *directory.Directory
	keys     *token.Keys
	clock    *clock
	vaults   *vaultMap
	logs     *bytes.Buffer // of every part
	auditLog string        // its path
	audit    *audit.Log
}

// principals are fixed so that golden files are.
var principals = map[string]string{
	"officer": "33333333-0000-0000-0000-000000000001", // Secrets Officer at the subscriptions
	"reader":  "33333333-0000-0000-0000-000000000002", // Secrets User at the vault "one"
	"single":  "33333333-0000-0000-0000-000000000003", // Secrets User at one/secrets/db
	"owner":   "33333333-0000-0000-0000-000000000004", // Owner at the subscription
	"nobody":  "33333333-0000-0000-0000-000000000005",
	"foreign": "33333333-0000-0000-0000-000000000006", // of another tenant
	"admin":   "33333333-0000-0000-0000-000000000007", // Key Vault Administrator at the subscription
	"viewer":  "33333333-0000-0000-0000-000000000008", // Key Vault Reader at the vault "one"
}

func newWorld(tb testing.TB, change ...func(*Config)) *world {
	tb.Helper()
	w := &world{t: tb, clock: &clock{now: start}, vaults: &vaultMap{vaults: map[string]Vault{}}, logs: &bytes.Buffer{}}
	logger := slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ring, err := store.NewKeyring(bytes.Repeat([]byte{7}, 32))
	must(tb, err)
	w.store, err = store.Open(tb.Context(), store.Config{Dir: tb.TempDir(), Keyring: ring, Logger: logger})
	must(tb, err)
	tb.Cleanup(func() { must(tb, w.store.Close()) })
	w.dir, err = directory.Open(tb.Context(), w.store, testCloud, w.clock.Now)
	must(tb, err)
	w.auditLog = filepath.Join(tb.TempDir(), "audit.log")
	w.audit, err = audit.Open(audit.Config{Path: w.auditLog})
	must(tb, err)
	tb.Cleanup(func() { must(tb, w.audit.Close()) })
	w.guard, err = rbac.NewGuard(tb.Context(), rbac.Config{Store: w.store, Directory: w.dir, Audit: w.audit, Now: w.clock.Now})
	must(tb, err)
	w.keys, err = token.OpenKeys(tb.Context(), w.store, w.clock.Now, logger)
	must(tb, err)

	w.seed()
	cfg := Config{
		Store: w.store, Guard: w.guard, Audit: w.audit, Cloud: testCloud, Vaults: w.vaults,
		Verifier: token.NewVerifier(w.keys, testCloud, testCloud.Service(azure.ServiceKeyVault), w.clock.Now),
		Now:      w.clock.Now, Logger: logger,
	}
	for _, f := range change {
		f(&cfg)
	}
	w.handler, err = New(cfg)
	must(tb, err)
	return w
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func vaultID(name string) azure.ResourceID {
	return azure.ResourceGroupScope(subscriptionID, "rg1").Resource("Microsoft.KeyVault", "vaults", name)
}

func (w *world) seed() {
	_, err := w.store.Update(w.t.Context(), func(tx *store.Tx) error {
		for id, subs := range map[string][]string{tenantID: {subscriptionID, otherSubID}, otherTenantID: nil} {
			if err := w.dir.CreateTenant(tx, directory.Tenant{ID: id, DisplayName: "Tenant", DefaultDomain: id[28:] + ".example.com"}); err != nil {
				return err
			}
			for _, sub := range subs {
				if err := w.dir.CreateSubscription(tx, directory.Subscription{ID: sub, TenantID: id, DisplayName: "Sub"}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	must(w.t, err)
	sub := azure.SubscriptionScope(subscriptionID)
	w.assign("officer", azure.RoleKeyVaultSecretsOfficer, sub)
	w.assign("officer", azure.RoleKeyVaultSecretsOfficer, azure.SubscriptionScope(otherSubID))
	w.assign("reader", azure.RoleKeyVaultSecretsUser, vaultID("one"))
	w.assign("single", azure.RoleKeyVaultSecretsUser, vaultID("one").Child("secrets", "db"))
	w.assign("owner", azure.RoleOwner, sub)
	w.assign("admin", azure.RoleKeyVaultAdministrator, sub)
	w.assign("viewer", azure.RoleKeyVaultReader, vaultID("one"))

	plain := Vault{TenantID: tenantID, Location: "westeurope", Geography: "Europe", RBAC: true, RetentionDays: 90}
	for name, change := range map[string]func(*Vault){
		"one":       func(*Vault) {},
		"two":       func(v *Vault) { v.Location = "northeurope" },
		"protected": func(v *Vault) { v.PurgeProtection, v.RetentionDays = true, 7 },
		"policies": func(v *Vault) {
			v.RBAC = false
			v.AccessPolicies = []AccessPolicy{
				{ObjectID: principals["reader"], Secrets: []string{"Get"}},
				{ObjectID: principals["nobody"], Secrets: []string{"all"}},
			}
		},
		"walled": func(v *Vault) {
			v.Network = Network{Deny: true, Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
		},
		"closed":  func(v *Vault) { v.Network.Disabled = true },
		"distant": func(v *Vault) { v.Location, v.Geography = "eastus", "United States" },
		"elsewhere": func(v *Vault) {
			v.ID = azure.ResourceGroupScope(otherSubID, "rg1").Resource("Microsoft.KeyVault", "vaults", "elsewhere")
		},
	} {
		v := plain
		v.Name, v.ID, v.Instance = name, vaultID(name), "instance-"+name
		change(&v)
		w.vaults.set(v)
	}
}

func (w *world) assign(who, role string, scope azure.ResourceID) {
	w.t.Helper()
	_, err := w.store.Update(w.t.Context(), func(tx *store.Tx) error {
		_, _, err := w.guard.PutAssignment(tx, rbac.Assignment{
			Name: fmt.Sprintf("44444444-0000-0000-0000-%012x", w.nextAssignment()), TenantID: tenantID, Scope: scope,
			RoleDefinitionID: role, PrincipalID: principals[who], PrincipalType: azure.ServicePrincipal,
		})
		return err
	})
	must(w.t, err)
}

var assignments struct {
	sync.Mutex
	n int
}

func (w *world) nextAssignment() int {
	assignments.Lock()
	defer assignments.Unlock()
	assignments.n++
	return assignments.n
}

// claims are those of a good token for the plane.
func (w *world) claims(who string) token.Claims {
	tenant := tenantID
	if who == "foreign" {
		tenant = otherTenantID
	}
	now := w.clock.Now().Unix()
	oid := principals[who]
	return token.Claims{
		Audience: "https://vault.lanyard.test:8443", Issuer: testCloud.IssuerV1(tenant), TenantID: tenant, ObjectID: oid,
		AppID: "aaaaaaaa" + oid[8:], AppIDACR: token.ACRSecret, IDType: token.IDTypeApp, Version: token.Version1,
		IssuedAt: now, NotBefore: now, Expiry: now + 3600, TokenID: "uti-" + who,
	}
}

func (w *world) token(who string, change ...func(*token.Claims)) string {
	w.t.Helper()
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

// do sends a request as who ("" for no token) to a vault.
func (w *world) do(who, vault, method, path, body string) answer {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, "https://"+host(vault)+path, strings.NewReader(body))
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+w.token(who))
	}
	return w.send(r)
}

func host(vault string) string {
	if strings.Contains(vault, ".") {
		return vault
	}
	return vault + ".vault.lanyard.test:8443"
}

func (w *world) send(r *http.Request) answer {
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

// want fails unless the answer has the status.
func (a answer) want(tb testing.TB, status int) answer {
	tb.Helper()
	if a.status != status {
		tb.Fatalf("got %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// parse decodes the answer's body.
func parse[T any](tb testing.TB, a answer) T {
	tb.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		tb.Fatalf("%v in %s", err, a.body)
	}
	return v
}

const v = "?api-version=7.4"

// set sets a secret as the officer and gives the version's identifier.
func (w *world) set(vault, name, value string) string {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"value": value})
	must(w.t, err)
	b := parse[bundle](w.t, w.do("officer", vault, "PUT", "/secrets/"+name+v, string(body)).want(w.t, 200))
	return b.ID[strings.LastIndexByte(b.ID, '/')+1:]
}
