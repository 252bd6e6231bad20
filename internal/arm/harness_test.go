package arm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
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
	tenantID = "11111111-1111-1111-1111-111111111111"
	subID    = "22222222-2222-2222-2222-222222222222"
	ownerID  = "33333333-3333-3333-3333-333333333331"
	readerID = "33333333-3333-3333-3333-333333333332"
	nobodyID = "33333333-3333-3333-3333-333333333333"
)

var testCloud = azure.Cloud{Domain: "lanyard.test", Port: 8443}

// world is an engine with types made for tests over a real store, directory,
// guard and key set.
type world struct {
	t     testing.TB
	dir   string
	types []Type
	clock func() time.Time
	logs  *lockedBuffer
	set   func(*Config)

	store   *store.Store
	guard   *rbac.Guard
	entra   *directory.Directory
	keys    *token.Keys
	audit   *audit.Log
	engine  *Engine
	stop    context.CancelFunc
	stopped chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// newWorld makes a world with the given types and resource groups, in which
// ownerID has Owner and readerID has Reader at the subscription.
func newWorld(tb testing.TB, types ...Type) *world {
	tb.Helper()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w := &world{t: tb, dir: tb.TempDir(), types: append(types, groupType()), clock: func() time.Time { return at }, logs: &lockedBuffer{}}
	w.open()
	tb.Cleanup(w.close)
	w.update(func(tx *store.Tx) error {
		return w.entra.CreateTenant(tx, directory.Tenant{ID: tenantID, DisplayName: "Test", DefaultDomain: "lanyard.test"})
	})
	w.update(func(tx *store.Tx) error {
		return w.entra.CreateSubscription(tx, directory.Subscription{ID: subID, TenantID: tenantID, DisplayName: "Test"})
	})
	w.grant(ownerID, azure.RoleOwner, azure.SubscriptionScope(subID))
	w.grant(readerID, azure.RoleReader, azure.SubscriptionScope(subID))
	return w
}

func groupType() Type {
	return Define(Spec{
		Name: resourceGroupType, Versions: []string{"2021-04-01"}, In: AtSubscription, Tracked: true, Core: true, ProvisioningState: true,
	}, Hooks[struct{}]{
		AsyncDelete: func(context.Context, *Step, *Resource[struct{}]) (bool, error) { return true, nil },
	})
}

// open opens the store and the rest on it; again after close, as a restart does.
func (w *world) open() {
	w.t.Helper()
	logger := slog.New(slog.NewTextHandler(w.logs, nil))
	ring, err := store.NewKeyring(bytes.Repeat([]byte{7}, 32))
	must(w.t, err)
	ctx := context.Background()
	w.store, err = store.Open(ctx, store.Config{Dir: w.dir, Keyring: ring, Logger: logger})
	must(w.t, err)
	w.entra, err = directory.Open(ctx, w.store, testCloud, w.clock)
	must(w.t, err)
	w.audit, err = audit.Open(audit.Config{Path: filepath.Join(w.dir, "audit.log")})
	must(w.t, err)
	w.guard, err = rbac.NewGuard(ctx, rbac.Config{Store: w.store, Directory: w.entra, Audit: w.audit, Now: w.clock, Logger: logger})
	must(w.t, err)
	w.keys, err = token.OpenKeys(ctx, w.store, w.clock, logger)
	must(w.t, err)
	cfg := Config{
		Types: w.types, Store: w.store, Directory: w.entra, Guard: w.guard, Cloud: testCloud, Now: w.clock, Logger: logger,
		Verifier:  token.NewVerifier(w.keys, testCloud, testCloud.Service(azure.ServiceResourceManager), w.clock),
		Locations: []string{"westeurope", "eastus"},
	}
	if w.set != nil {
		w.set(&cfg)
	}
	w.engine, err = New(cfg)
	must(w.t, err)
	w.run()
}

// run starts the worker.
func (w *world) run() {
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	stopped, engine := make(chan error, 1), w.engine
	w.stopped = stopped
	go func() { stopped <- engine.Run(ctx) }()
}

func (w *world) close() {
	w.stop()
	if err := <-w.stopped; err != nil && !errors.Is(err, store.ErrClosed) {
		w.t.Error(err)
	}
	must(w.t, w.audit.Close())
	must(w.t, w.store.Close())
}

func (w *world) update(f func(tx *store.Tx) error) {
	w.t.Helper()
	_, err := w.store.Update(context.Background(), f)
	must(w.t, err)
}

func (w *world) grant(principal, role string, scope azure.ResourceID) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		_, _, err := w.guard.PutAssignment(tx, rbac.Assignment{
			Name: uuid.NewString(), TenantID: tenantID, Scope: scope, RoleDefinitionID: role,
			PrincipalID: principal, PrincipalType: azure.ServicePrincipal,
		})
		return err
	})
}

func (w *world) bearer(principal string) string {
	w.t.Helper()
	at := w.clock()
	raw, err := w.keys.Mint(token.Claims{
		Audience: testCloud.ResourceManager(), Issuer: testCloud.IssuerV1(tenantID), Version: token.Version1, TenantID: tenantID,
		IssuedAt: at.Unix(), Expiry: at.Add(time.Hour).Unix(), ObjectID: principal, AppID: principal, AppIDACR: token.ACRSecret, IDType: token.IDTypeApp,
	})
	must(w.t, err)
	return raw
}

// answer is a response with its body decoded.
type answer struct {
	*httptest.ResponseRecorder
	doc map[string]any
}

// code gives the error code of the document.
func (a answer) code() string {
	if wrapped, ok := a.doc["error"].(map[string]any); ok {
		return fmt.Sprint(wrapped["code"])
	}
	return fmt.Sprint(a.doc["code"])
}

func (a answer) property(name string) any {
	p, _ := a.doc["properties"].(map[string]any)
	return p[name]
}

// do sends a request as a principal; headers are name, value, name, value...
func (w *world) do(principal, method, url, body string, headers ...string) answer {
	w.t.Helper()
	if !strings.HasPrefix(url, "https:") {
		url = testCloud.ResourceManager() + url
	}
	req := httptest.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+w.bearer(principal))
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return w.serve(req)
}

func (w *world) serve(req *http.Request) answer {
	w.t.Helper()
	rec := httptest.NewRecorder()
	ctx := azure.WithRequest(req.Context(), azure.Request{CorrelationID: "correlation", RequestID: "request"})
	w.engine.ServeHTTP(rec, req.WithContext(ctx))
	a := answer{ResponseRecorder: rec}
	if rec.Body.Len() > 0 {
		must(w.t, json.Unmarshal(rec.Body.Bytes(), &a.doc))
	}
	return a
}

func (w *world) owner(method, url, body string, headers ...string) answer {
	w.t.Helper()
	return w.do(ownerID, method, url, body, headers...)
}

// want sends as the owner and fails unless the status is the one wanted.
func (w *world) want(status int, method, url, body string, headers ...string) answer {
	w.t.Helper()
	a := w.owner(method, url, body, headers...)
	if a.Code != status {
		w.t.Fatalf("%s %s: %d %s, want %d", method, url, a.Code, a.Body, status)
	}
	return a
}

// poll follows a Location until it is done.
func (w *world) poll(url string) answer {
	w.t.Helper()
	var a answer
	w.eventually("the end of "+url, func() bool {
		a = w.owner(http.MethodGet, url, "")
		return a.Code != http.StatusAccepted
	})
	return a
}

func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
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

const version = "?api-version=2021-04-01"

func groupPath(name string) string { return "/subscriptions/" + subID + "/resourceGroups/" + name }

func thingPath(group, name string) string {
	return groupPath(group) + "/providers/Test.Things/things/" + name
}

func (w *world) group(name string) {
	w.t.Helper()
	w.want(http.StatusCreated, http.MethodPut, groupPath(name)+version, `{"location":"westeurope"}`)
}

// thing is the properties of the stored type that most tests use.
type thing struct {
	Size   int               `json:"size,omitempty"`
	Color  string            `json:"color,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Uses   []string          `json:"uses,omitempty"`
	Serial string            `json:"serial,omitempty"`
}

// thingType is tracked, has entity tags, systemData, a read-only serial number,
// linked scopes and two actions.
func thingType(change ...func(*Spec, *Hooks[thing])) Type {
	spec := Spec{
		Name: "Test.Things/things", Versions: []string{"2021-04-01"}, In: AtResourceGroup, Tracked: true,
		SystemData: true, ProvisioningState: true, ETag: "eTag", Members: []string{"kind", "sku"},
	}
	hooks := Hooks[thing]{
		Put: func(_ context.Context, p *Put[thing]) error {
			if p.New.Properties.Color == "invisible" {
				return azure.Errorf(http.StatusBadRequest, "InvalidColor", "Nobody can see that.")
			}
			if p.Old != nil {
				p.New.Properties.Serial = p.Old.Properties.Serial
			} else {
				p.New.Properties.Serial = "serial of " + p.Name
			}
			return nil
		},
		Linked: func(_ context.Context, p *Put[thing]) ([]Linked, error) {
			var linked []Linked
			for _, use := range p.New.Properties.Uses {
				id, err := azure.ParseResourceID(use)
				if err != nil {
					return nil, azure.Errorf(http.StatusBadRequest, "InvalidUse", "%s", err)
				}
				linked = append(linked, Linked{Action: "Test.Things/things/use/action", Scope: id})
			}
			return linked, nil
		},
		Delete: func(_ context.Context, r *Request, old *Resource[thing]) error {
			r.Tx.Put("deleted/"+old.ID.Key(), []byte(old.Properties.Serial))
			return nil
		},
		Actions: []Action[thing]{
			{Name: "measure", Run: func(_ context.Context, _ *Request, res *Resource[thing], body json.RawMessage) (int, any, error) {
				return http.StatusOK, map[string]any{"size": res.Properties.Size, "body": body}, nil
			}},
			{Name: "grow", Writes: true, Run: func(_ context.Context, _ *Request, res *Resource[thing], _ json.RawMessage) (int, any, error) {
				res.Properties.Size++
				return http.StatusOK, nil, nil
			}},
		},
	}
	for _, f := range change {
		f(&spec, &hooks)
	}
	return Define(spec, hooks)
}

// partType is a child of things.
func partType() Type {
	return Define(Spec{Name: "Test.Things/things/parts", Versions: []string{"2021-04-01"}, In: AtResourceGroup}, Hooks[thing]{
		Delete: func(_ context.Context, r *Request, old *Resource[thing]) error {
			r.Tx.Put("deleted/"+old.ID.Key(), nil)
			return nil
		},
	})
}

// gate holds back the steps of an operation until it is opened. Tests defer that
// too: one that fails must not hang.
type gate struct {
	ch   chan struct{}
	once sync.Once
}

func newGate() *gate { return &gate{ch: make(chan struct{})} }

func (g *gate) wait() { <-g.ch }

func (g *gate) open() { g.once.Do(func() { close(g.ch) }) }
