package entra_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/entra"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

const (
	contoso  = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	fabrikam = "8d3f1ab4-6f4a-4a1e-9d3c-0c5a7b1e2f60"

	subject          = "system:serviceaccount:shop:orders"
	exchangeAudience = "api://AzureADTokenExchange"
	management       = "https://management.azure.com"
)

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

// cloud is a token service on a store of its own, with somebody in it.
type cloud struct {
	t         testing.TB
	names     azure.Cloud
	clock     *clock
	store     *store.Store
	directory *directory.Directory
	guard     *rbac.Guard
	keys      *token.Keys
	handler   *entra.Handler
	registry  *prometheus.Registry
	auditPath string
	audit     *audit.Log
	logs      *logBuffer
	issuer    *issuer
	stale     error // what Fresh gives

	// app has two secrets, the first of which is over, and trusts mi.
	app                      directory.Application
	appPrincipal             directory.Principal
	appSecret, expiredSecret string
	// api is a resource with version 2 tokens.
	api directory.Application
	// disabled has a secret and is disabled.
	disabled          directory.Application
	disabledPrincipal directory.Principal
	disabledSecret    string
	// signer proves itself by certificates: "rsa" and "ec" of certificates are
	// its own, and "old", which is over; "other" is another application's and
	// "stranger" nobody's.
	signer          directory.Application
	signerPrincipal directory.Principal
	certificates    map[string]*clientCertificate
	// mi accepts subject of issuer; bare accepts nobody.
	mi, bare directory.Principal
	// deploy and patterns trust issuer by expressions.
	deploy          directory.Application
	deployPrincipal directory.Principal
	patterns        directory.Principal
	// foreign is a tenant's other application.
	foreign          directory.Application
	foreignPrincipal directory.Principal
	foreignSecret    string
}

// options change what newCloud makes.
type options struct {
	strict        bool
	defaultTenant string
	now           time.Time
	noIssuerAllow bool
	aliases       []string
	propagation   time.Duration
	groupClaims   bool
}

// newCloud makes a cloud with two tenants and those who are in them.
func newCloud(tb testing.TB, opts options) *cloud {
	tb.Helper()
	c := newEmptyCloud(tb, opts)
	c.populate()
	return c
}

func newEmptyCloud(tb testing.TB, opts options) *cloud {
	tb.Helper()
	c := &cloud{
		t: tb,
		names: azure.Cloud{Domain: "lanyard.test", Port: 8443, Aliases: append(opts.aliases,
			"login-us.microsoftonline.com", "login.microsoftonline.com", "*.vault.azure.net")},
		clock:     &clock{now: opts.now},
		logs:      &logBuffer{},
		registry:  prometheus.NewRegistry(),
		auditPath: filepath.Join(tb.TempDir(), "audit.jsonl"),
		issuer:    newIssuer(tb),
	}
	if opts.now.IsZero() {
		c.clock.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	}
	logger := slog.New(slog.NewJSONHandler(c.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))

	sealing, err := store.ParseSealingKey(store.NewSealingKey())
	must(tb, err)
	keyring, err := store.NewKeyring(sealing)
	must(tb, err)
	c.store, err = store.Open(tb.Context(), store.Config{Dir: tb.TempDir(), Keyring: keyring, Logger: logger})
	must(tb, err)
	tb.Cleanup(func() { must(tb, c.store.Close()) })
	c.directory, err = directory.Open(tb.Context(), c.store, c.names, c.clock.Now)
	must(tb, err)
	c.keys, err = token.OpenKeys(tb.Context(), c.store, c.clock.Now, logger)
	must(tb, err)
	c.audit, err = audit.Open(audit.Config{Path: c.auditPath, Now: c.clock.Now})
	must(tb, err)
	tb.Cleanup(func() { c.audit.Close() })

	c.guard, err = rbac.NewGuard(tb.Context(), rbac.Config{Store: c.store, Directory: c.directory, Audit: c.audit, Now: c.clock.Now, Logger: logger})
	must(tb, err)

	issuers := token.IssuersConfig{CAs: c.issuer.roots, Now: c.clock.Now, Logger: logger}
	if !opts.noIssuerAllow {
		issuers.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	c.handler, err = entra.New(entra.Config{
		Directory: c.directory, Keys: c.keys, Issuers: token.NewIssuers(issuers), Audit: c.audit,
		Fresh: func() error {
			if c.stale != nil {
				return c.stale
			}
			return c.store.Fresh()
		},
		Guard: c.guard, Cloud: c.names, DefaultTenant: opts.defaultTenant, Now: c.clock.Now,
		Logger: logger, Strict: opts.strict, Registerer: c.registry,
		CredentialPropagation: opts.propagation, GroupClaims: opts.groupClaims,
	})
	must(tb, err)
	return c
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// in gives the cloud for use in a subtest or fuzz target.
func (c *cloud) in(tb testing.TB) *cloud {
	tb.Helper()
	same := *c
	same.t = tb
	return &same
}

// update runs f in a transaction.
func (c *cloud) update(f func(tx *store.Tx) error) {
	c.t.Helper()
	_, err := c.store.Update(c.t.Context(), f)
	must(c.t, err)
}

func (c *cloud) populate() {
	c.t.Helper()
	c.update(func(tx *store.Tx) error {
		return c.directory.CreateTenant(tx, directory.Tenant{ID: contoso, DisplayName: "Contoso", DefaultDomain: "contoso.example", Domains: []string{"contoso.example"}})
	})
	c.update(func(tx *store.Tx) error {
		return c.directory.CreateTenant(tx, directory.Tenant{ID: fabrikam, DisplayName: "Fabrikam", DefaultDomain: "fabrikam.example", Domains: []string{"fabrikam.example"}})
	})
	c.app, c.appPrincipal = c.application(contoso, "orders-cli")
	c.expiredSecret = c.secret(c.app, c.clock.Now().Add(time.Hour))
	c.populateCertificates()
	c.clock.Advance(2 * time.Hour)
	c.appSecret = c.secret(c.app, time.Time{})
	c.app = c.reread(c.app)
	c.api, _ = c.application(contoso, "orders-api", "api://orders")
	c.update(func(tx *store.Tx) error { return c.directory.SetAccessTokenVersion(tx, contoso, c.api.AppID, 2) })
	c.disabled, c.disabledPrincipal = c.application(contoso, "retired")
	c.disabledSecret = c.secret(c.disabled, time.Time{})
	c.update(func(tx *store.Tx) error {
		return c.directory.SetDisabled(tx, contoso, c.disabledPrincipal.ObjectID, true)
	})
	c.foreign, c.foreignPrincipal = c.application(fabrikam, "partner")
	c.foreignSecret = c.secret(c.foreign, time.Time{})
	c.foreign = c.reread(c.foreign)
	c.mi = c.identity(contoso, "id-orders")
	c.bare = c.identity(contoso, "id-bare")
	c.credential(c.mi.ObjectID, "shop-orders", c.issuer.URL, subject)
	c.credential(c.app.ObjectID, "trusts-identity", c.names.IssuerV2(contoso), c.mi.ObjectID)
	c.populateFlexible()
}

func (c *cloud) application(tenant, name string, uris ...string) (app directory.Application, p directory.Principal) {
	c.t.Helper()
	c.update(func(tx *store.Tx) (err error) {
		app, p, err = c.directory.CreateApplication(tx, tenant, name, uris...)
		return err
	})
	return app, p
}

// reread gives the application as the directory has it, with its secrets.
func (c *cloud) reread(app directory.Application) directory.Application {
	client, _ := c.directory.Client(app.TenantID, app.AppID)
	return *client.Application
}

func (c *cloud) secret(app directory.Application, end time.Time) (text string) {
	c.t.Helper()
	c.update(func(tx *store.Tx) (err error) {
		_, text, err = c.directory.AddSecret(tx, app.TenantID, app.AppID, "", end)
		return err
	})
	return text
}

func (c *cloud) identity(tenant, name string) (p directory.Principal) {
	c.t.Helper()
	id, err := azure.ParseResourceID("/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/Shop-RG/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name)
	must(c.t, err)
	c.update(func(tx *store.Tx) (err error) {
		p, err = c.directory.CreateManagedIdentity(tx, tenant, id, false)
		return err
	})
	return p
}

func (c *cloud) credential(owner, name, issuer, subject string, audience ...string) {
	c.t.Helper()
	if audience == nil {
		audience = []string{exchangeAudience}
	}
	c.update(func(tx *store.Tx) error {
		_, err := c.directory.PutFederatedCredential(tx, directory.FederatedCredential{
			TenantID: contoso, Owner: owner, Name: name, Issuer: issuer, Subject: subject, Audiences: audience,
		})
		return err
	})
}

// serve sends a request to the handler.
func (c *cloud) serve(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Result()
}

// post sends a form to the token endpoint and gives the status and the answer.
func (c *cloud) post(path string, form url.Values) (int, map[string]any) {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), http.MethodPost, "https://login.lanyard.test:8443"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response := c.serve(r)
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		c.t.Fatalf("the answer (%d) is no JSON: %v", response.StatusCode, err)
	}
	return response.StatusCode, answer
}

// federated posts an assertion as the managed identity mi, and gives the AADSTS
// number of the refusal, or 0 and the token.
func (c *cloud) federated(assertion string) (int, string) {
	c.t.Helper()
	return c.as(c.mi.AppID, url.Values{
		"client_assertion":      {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
}

// bySecret posts a secret as the application app.
func (c *cloud) bySecret(secret string) (int, string) {
	c.t.Helper()
	return c.as(c.app.AppID, url.Values{"client_secret": {secret}})
}

func (c *cloud) as(clientID string, form url.Values) (int, string) {
	c.t.Helper()
	form.Set("client_id", clientID)
	form.Set("grant_type", "client_credentials")
	if !form.Has("scope") {
		form.Set("scope", management+"/.default")
	}
	status, answer := c.post("/"+contoso+"/oauth2/v2.0/token", form)
	if status == http.StatusOK {
		return 0, answer["access_token"].(string)
	}
	if _, ok := answer["access_token"]; ok {
		c.t.Fatalf("a refusal with status %d carries a token", status)
	}
	return int(answer["error_codes"].([]any)[0].(float64)), ""
}

// auditText closes the audit log and gives what it holds.
func (c *cloud) auditText() string {
	c.t.Helper()
	must(c.t, c.audit.Close())
	text, err := os.ReadFile(c.auditPath)
	must(c.t, err)
	return string(text)
}

// claimsOf decodes a token's claims without verifying it.
func claimsOf(tb testing.TB, raw string) map[string]any {
	tb.Helper()
	return decodePart(tb, strings.Split(raw, ".")[1])
}

func decodePart(tb testing.TB, part string) map[string]any {
	tb.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	must(tb, err)
	var m map[string]any
	must(tb, json.Unmarshal(text, &m))
	return m
}

// logBuffer collects the log.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// rootsOf gives a pool with the certificate of a test server.
func rootsOf(server *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}
