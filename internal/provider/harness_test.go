package provider

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/arm"
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

// testStart is when the clocks of tests begin.
var testStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var testCloud = azure.Cloud{Domain: "lanyard.test", Port: 8443}

// testClock is a clock that tests move.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// testWorld is the engine with all types over a real store, directory, guard
// and key set, in which the principal "owner" has Owner at the tenant root, and
// "foreigner" has it in another tenant.
type testWorld struct {
	t      testing.TB
	dir    string // of the store
	strict bool
	clock  *testClock
	logs   *syncBuffer

	store   *store.Store
	guard   *rbac.Guard
	entra   *directory.Directory
	keys    *token.Keys
	engine  *arm.Engine
	cleanup []func()
	// roles are seeded by name of a principal.
	known   map[string]string // identifiers that tests name, by placeholder
	movable *Clock            // nil: the cloud has no clock to move
}

// syncBuffer is a log's target that may be read meanwhile.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(tb testing.TB, strict bool) *testWorld {
	tb.Helper()
	w := &testWorld{
		t: tb, dir: tb.TempDir(), strict: strict, clock: &testClock{now: testStart}, logs: &syncBuffer{},
		known: map[string]string{"tenant": tenantID, "other.tenant": otherTenantID, "sub": subscriptionID, "other.sub": otherSubID},
	}
	tb.Cleanup(func() { w.close() })
	w.open()
	w.update(func(tx *store.Tx) error {
		for _, id := range []string{tenantID, otherTenantID} {
			if err := w.entra.CreateTenant(tx, directory.Tenant{ID: id, DisplayName: "Tenant " + id[32:], DefaultDomain: id[32:] + ".lanyard.test"}); err != nil {
				return err
			}
		}
		return nil
	})
	w.update(func(tx *store.Tx) error {
		if err := w.entra.CreateSubscription(tx, directory.Subscription{ID: subscriptionID, TenantID: tenantID, DisplayName: "Main"}); err != nil {
			return err
		}
		return w.entra.CreateSubscription(tx, directory.Subscription{ID: otherSubID, TenantID: otherTenantID, DisplayName: "Other"})
	})
	w.grant("owner", tenantID, azure.RoleOwner, azure.Root())
	w.grant("foreigner", otherTenantID, azure.RoleOwner, azure.Root())
	return w
}

// open opens the store and all that follows it; again after close, as a restart
// does.
func (w *testWorld) open() {
	t := w.t
	t.Helper()
	logger := slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelInfo}))
	ring, err := store.NewKeyring(bytes.Repeat([]byte{7}, 32))
	must(t, err)
	w.store, err = store.Open(t.Context(), store.Config{Dir: w.dir, Keyring: ring, Logger: logger})
	must(t, err)
	w.cleanup = append(w.cleanup, func() { must(t, w.store.Close()) })
	var options []directory.Option
	if w.strict {
		options = append(options, directory.WithStrict())
	}
	w.entra, err = directory.Open(t.Context(), w.store, testCloud, w.clock.Now, options...)
	must(t, err)
	log, err := audit.Open(audit.Config{})
	must(t, err)
	w.cleanup = append(w.cleanup, func() { must(t, log.Close()) })
	w.guard, err = rbac.NewGuard(t.Context(), rbac.Config{
		Store: w.store, Directory: w.entra, Audit: log, Now: w.clock.Now, Logger: logger, Strict: w.strict,
	})
	must(t, err)
	w.keys, err = token.OpenKeys(t.Context(), w.store, w.clock.Now, logger)
	must(t, err)
	w.engine, err = arm.New(arm.Config{
		Types: Types(Config{
			Store: w.store, Directory: w.entra, Guard: w.guard, Cloud: testCloud, Now: w.clock.Now, Strict: w.strict, Logger: logger,
			OperatorTenant: tenantID, Keys: w.keys, Clock: w.movable,
		}),
		Store: w.store, Directory: w.entra, Guard: w.guard, Cloud: testCloud, Now: w.clock.Now, Strict: w.strict, Logger: logger,
		OperatorTenant: tenantID,
		Verifier:       token.NewVerifier(w.keys, testCloud, testCloud.Service(azure.ServiceResourceManager), w.clock.Now),
		Locations:      LocationNames(AzureLocations()),
	})
	must(t, err)
	w.runWorker()
}

// runWorker carries on operations until close.
func (w *testWorld) runWorker() {
	ctx, stop := newContext()
	done := make(chan error, 1)
	engine := w.engine
	go func() { done <- engine.Run(ctx) }()
	w.cleanup = append(w.cleanup, func() {
		stop()
		must(w.t, <-done)
	})
}

// close undoes open, in reverse.
func (w *testWorld) close() {
	for i := len(w.cleanup) - 1; i >= 0; i-- {
		w.cleanup[i]()
	}
	w.cleanup = nil
}

func (w *testWorld) update(f func(tx *store.Tx) error) {
	w.t.Helper()
	_, err := w.store.Update(w.t.Context(), f)
	must(w.t, err)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// oid gives the object ID of a named principal: the directory's, or one made of
// its name.
func (w *testWorld) oid(name string) string { return w.identifier(name + ".oid") }

// appID gives the client ID, likewise.
func (w *testWorld) appID(name string) string { return w.identifier(name + ".appid") }

func (w *testWorld) identifier(placeholder string) string {
	if id, ok := w.known[placeholder]; ok {
		return id
	}
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(placeholder)).String()
	w.known[placeholder] = id
	return id
}

// grant assigns a role by its GUID to a named principal.
func (w *testWorld) grant(name, tenant, role string, scope azure.ResourceID) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		_, _, err := w.guard.PutAssignment(tx, rbac.Assignment{
			Name: uuid.NewString(), TenantID: tenant, Scope: scope, RoleDefinitionID: role,
			PrincipalID: w.oid(name), PrincipalType: azure.ServicePrincipal,
		})
		return err
	})
}

// bearer mints an access token for a named principal. The options change it:
// "expired", "early" (not yet valid), "forged" (signed by another key),
// "none" (alg none), "audience=..." and "tenant=...".
func (w *testWorld) bearer(name string, options ...string) string {
	w.t.Helper()
	c := token.Claims{
		Audience: testCloud.ResourceManager() + "/", Version: token.Version1, TenantID: tenantID,
		ObjectID: w.oid(name), AppID: w.appID(name), AppIDACR: token.ACRSecret, IDType: token.IDTypeApp,
	}
	if name == "foreigner" {
		c.TenantID = otherTenantID
	}
	at := w.clock.Now()
	forged, none := false, false
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "expired":
			at = at.Add(-48 * time.Hour)
		case "early":
			at = at.Add(48 * time.Hour)
		case "forged":
			forged = true
		case "none":
			none = true
		case "audience":
			c.Audience = value
		case "tenant":
			c.TenantID = value
		default:
			w.t.Fatalf("unknown option of a token: %s", option)
		}
	}
	c.Issuer = testCloud.IssuerV1(c.TenantID)
	c.IssuedAt, c.Expiry = at.Unix(), at.Add(time.Hour).Unix()
	raw, err := w.keys.Mint(c)
	must(w.t, err)
	switch {
	case forged:
		return forge(w.t, raw)
	case none:
		_, rest, _ := strings.Cut(raw, ".")
		claims, _, _ := strings.Cut(rest, ".")
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + claims + "."
	}
	return raw
}

// forge signs a token anew with a key of its own.
func forge(tb testing.TB, raw string) string {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(tb, err)
	signed := raw[:strings.LastIndexByte(raw, '.')]
	signature, err := signRS256(key, signed)
	must(tb, err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// send sends a request to the engine, as a named principal ("" for none).
func (w *testWorld) send(as, method, url, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	req := httptest.NewRequestWithContext(w.t.Context(), method, testCloud.ResourceManager()+url, strings.NewReader(body))
	if as != "" {
		req.Header.Set("Authorization", "Bearer "+w.bearer(as))
	}
	return w.serve(req)
}

func (w *testWorld) serve(req *http.Request) *httptest.ResponseRecorder {
	ctx := azure.WithRequest(req.Context(), azure.Request{
		CorrelationID: "c0ffee00-0000-0000-0000-000000000000", RequestID: "4e900000-0000-0000-0000-000000000000", RemoteAddr: "127.0.0.1",
	})
	rec := httptest.NewRecorder()
	w.engine.ServeHTTP(rec, req.WithContext(ctx))
	return rec
}

// put puts a resource as the owner, and fails the test unless that works.
func (w *testWorld) put(url, body string) map[string]any {
	w.t.Helper()
	return w.decode(w.send("owner", http.MethodPut, url, body), http.StatusOK, http.StatusCreated)
}

// get gets a resource as the owner, likewise.
func (w *testWorld) get(url string) map[string]any {
	w.t.Helper()
	return w.decode(w.send("owner", http.MethodGet, url, ""), http.StatusOK)
}

func (w *testWorld) decode(rec *httptest.ResponseRecorder, statuses ...int) map[string]any {
	w.t.Helper()
	for _, status := range statuses {
		if rec.Code == status {
			var doc map[string]any
			must(w.t, json.Unmarshal(rec.Body.Bytes(), &doc))
			return doc
		}
	}
	w.t.Fatalf("answered %d: %s", rec.Code, rec.Body)
	return nil
}

// eventually waits for a condition.
func (w *testWorld) eventually(what string, condition func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			w.t.Fatalf("waited in vain for %s; log:\n%s", what, w.logs)
		}
	}
}

// groupURL is the address of a resource group.
func groupURL(name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s?api-version=2021-04-01", subscriptionID, name)
}

// identityURL is the address of a user-assigned identity.
func identityURL(group, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.ManagedIdentity/userAssignedIdentities/%s?api-version=2023-01-31",
		subscriptionID, group, name)
}
