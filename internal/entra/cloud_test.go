package entra_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/entra"
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

// cloud is a token service on a store of its own, with somebody in it.
type cloud struct {
	*cloudtest.Cloud
	handler  *entra.Handler
	registry *prometheus.Registry
	issuer   *issuer
	stale    error // what Fresh gives

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
		Cloud: cloudtest.New(tb, cloudtest.Config{Start: opts.now, Azure: azure.Cloud{
			Domain: "lanyard.test", Port: 8443,
			Aliases: append(opts.aliases, "login-us.microsoftonline.com", "login.microsoftonline.com", "*.vault.azure.net"),
		}}),
		registry: prometheus.NewRegistry(),
		issuer:   newIssuer(tb),
	}
	issuers := token.IssuersConfig{CAs: c.issuer.roots, Now: c.Clock.Now, Logger: c.Logger}
	if !opts.noIssuerAllow {
		issuers.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	var err error
	c.handler, err = entra.New(entra.Config{
		Directory: c.Directory, Keys: c.Keys, Issuers: token.NewIssuers(issuers), Audit: c.Audit,
		Fresh: func() error {
			if c.stale != nil {
				return c.stale
			}
			return c.Store.Fresh()
		},
		Guard: c.Guard, Cloud: c.Azure, DefaultTenant: opts.defaultTenant, Now: c.Clock.Now,
		Logger: c.Logger, Strict: opts.strict, Registerer: c.registry,
		CredentialPropagation: opts.propagation, GroupClaims: opts.groupClaims,
	})
	cloudtest.Must(tb, err)
	return c
}

// in gives the cloud for use in a subtest or fuzz target.
func (c *cloud) in(tb testing.TB) *cloud {
	tb.Helper()
	same := *c
	same.Cloud = c.In(tb)
	return &same
}

func (c *cloud) populate() {
	c.TB.Helper()
	c.Tenant(directory.Tenant{ID: contoso, DisplayName: "Contoso", DefaultDomain: "contoso.example", Domains: []string{"contoso.example"}})
	c.Tenant(directory.Tenant{ID: fabrikam, DisplayName: "Fabrikam", DefaultDomain: "fabrikam.example", Domains: []string{"fabrikam.example"}})
	c.app, c.appPrincipal = c.Application(contoso, "orders-cli")
	c.expiredSecret = c.secret(c.app, c.Clock.Now().Add(time.Hour))
	c.populateCertificates()
	c.Clock.Advance(2 * time.Hour)
	c.appSecret = c.secret(c.app, time.Time{})
	c.app = c.reread(c.app)
	c.api, _ = c.Application(contoso, "orders-api", "api://orders")
	c.Update(func(tx *store.Tx) error { return c.Directory.SetAccessTokenVersion(tx, contoso, c.api.AppID, 2) })
	c.disabled, c.disabledPrincipal = c.Application(contoso, "retired")
	c.disabledSecret = c.secret(c.disabled, time.Time{})
	c.Update(func(tx *store.Tx) error {
		return c.Directory.SetDisabled(tx, contoso, c.disabledPrincipal.ObjectID, true)
	})
	c.foreign, c.foreignPrincipal = c.Application(fabrikam, "partner")
	c.foreignSecret = c.secret(c.foreign, time.Time{})
	c.foreign = c.reread(c.foreign)
	c.mi = c.identity(contoso, "id-orders")
	c.bare = c.identity(contoso, "id-bare")
	c.credential(c.mi.ObjectID, "shop-orders", c.issuer.URL, subject)
	c.credential(c.app.ObjectID, "trusts-identity", c.Azure.IssuerV2(contoso), c.mi.ObjectID)
	c.populateFlexible()
}

// reread gives the application as the directory has it, with its secrets.
func (c *cloud) reread(app directory.Application) directory.Application {
	client, _ := c.Directory.Client(app.TenantID, app.AppID)
	return *client.Application
}

func (c *cloud) secret(app directory.Application, end time.Time) (text string) {
	c.TB.Helper()
	c.Update(func(tx *store.Tx) (err error) {
		_, text, err = c.Directory.AddSecret(tx, app.TenantID, app.AppID, "", end)
		return err
	})
	return text
}

func (c *cloud) identity(tenant, name string) directory.Principal {
	c.TB.Helper()
	group := azure.ResourceGroupScope("11111111-2222-3333-4444-555555555555", "Shop-RG")
	return c.ManagedIdentity(tenant, group.Resource("Microsoft.ManagedIdentity", "userAssignedIdentities", name))
}

func (c *cloud) credential(owner, name, issuer, subject string, audience ...string) {
	c.TB.Helper()
	if audience == nil {
		audience = []string{exchangeAudience}
	}
	c.Update(func(tx *store.Tx) error {
		_, err := c.Directory.PutFederatedCredential(tx, directory.FederatedCredential{
			TenantID: contoso, Owner: owner, Name: name, Issuer: issuer, Subject: subject, Audiences: audience,
		})
		return err
	})
}

func (c *cloud) send(r *http.Request) cloudtest.Answer { return cloudtest.Send(c.handler, r) }

// post sends a form to the token endpoint and gives the status and the answer.
func (c *cloud) post(path string, form url.Values) (int, map[string]any) {
	c.TB.Helper()
	answer := c.send(formRequest(c.TB, path, form.Encode()))
	return answer.Status, cloudtest.Decode[map[string]any](c.TB, answer)
}

func formRequest(tb testing.TB, path, body string) *http.Request {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, "https://login.lanyard.test:8443"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// federated posts an assertion as the managed identity mi, and gives the AADSTS
// number of the refusal, or 0 and the token.
func (c *cloud) federated(assertion string) (int, string) {
	c.TB.Helper()
	return c.as(c.mi.AppID, url.Values{
		"client_assertion":      {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
}

// bySecret posts a secret as the application app.
func (c *cloud) bySecret(secret string) (int, string) {
	c.TB.Helper()
	return c.as(c.app.AppID, url.Values{"client_secret": {secret}})
}

func (c *cloud) as(clientID string, form url.Values) (int, string) {
	c.TB.Helper()
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
		c.TB.Fatalf("a refusal with status %d carries a token", status)
	}
	return int(answer["error_codes"].([]any)[0].(float64)), ""
}

// claimsOf decodes a token's claims without verifying it.
func claimsOf(tb testing.TB, raw string) map[string]any {
	tb.Helper()
	return decodePart(tb, strings.Split(raw, ".")[1])
}

func decodePart(tb testing.TB, part string) map[string]any {
	tb.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	cloudtest.Must(tb, err)
	var m map[string]any
	cloudtest.Must(tb, json.Unmarshal(text, &m))
	return m
}

// rootsOf gives a pool with the certificate of a test server.
func rootsOf(server *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}
