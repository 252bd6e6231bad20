package arm

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID = cloudtest.TenantID
	subID    = cloudtest.SubscriptionID
	ownerID  = "33333333-3333-3333-3333-333333333331"
	readerID = "33333333-3333-3333-3333-333333333332"
	nobodyID = "33333333-3333-3333-3333-333333333333"
)

// world is an engine with types made for tests, over a cloud.
type world struct {
	*cloudtest.Cloud
	types []Type
	set   func(*Config) // changes what open configures, nil for nothing

	engine *Engine
	stop   context.CancelFunc // of the engine's worker
	ended  <-chan struct{}
}

// newWorld makes a world with the given types and resource groups, in which
// ownerID has Owner and readerID has Reader at the subscription.
func newWorld(tb testing.TB, types ...Type) *world {
	tb.Helper()
	w := &world{Cloud: cloudtest.New(tb, cloudtest.Config{Service: azure.ServiceResourceManager}), types: append(types, groupType())}
	w.open()
	w.Tenant(directory.Tenant{ID: tenantID, DisplayName: "Test", DefaultDomain: "lanyard.test"},
		directory.Subscription{ID: subID, DisplayName: "Test"})
	w.Assign(ownerID, azure.RoleOwner, azure.SubscriptionScope(subID))
	w.Assign(readerID, azure.RoleReader, azure.SubscriptionScope(subID))
	return w
}

func groupType() Type {
	return Define(Spec{
		Name: resourceGroupType, Versions: []string{"2021-04-01"}, In: AtSubscription, Tracked: true, Core: true, ProvisioningState: true,
	}, Hooks[struct{}]{
		AsyncDelete: func(context.Context, *Step, *Resource[struct{}]) (bool, error) { return true, nil },
	})
}

// open makes the engine and starts its worker.
func (w *world) open() {
	w.TB.Helper()
	cfg := Config{
		Types: w.types, Store: w.Store, Directory: w.Directory, Guard: w.Guard, Cloud: w.Azure, Now: w.Clock.Now, Logger: w.Logger,
		Verifier: w.Verifier(), Locations: []string{"westeurope", "eastus"},
	}
	if w.set != nil {
		w.set(&cfg)
	}
	var err error
	w.engine, err = New(cfg)
	cloudtest.Must(w.TB, err)
	w.run()
}

func (w *world) run() { w.stop, w.ended = w.Run(w.engine.Run) }

// restart ends the world as the end of its process does, and opens it again
// after what happens in between.
func (w *world) restart(between func()) {
	w.TB.Helper()
	w.Close()
	between()
	w.Open()
	w.open()
}

// answer is what came back, with its body decoded.
type answer struct {
	cloudtest.Answer
	doc map[string]any
}

func (a answer) property(name string) any {
	p, _ := a.doc["properties"].(map[string]any)
	return p[name]
}

// do sends a request as a principal; headers are name, value, name, value...
func (w *world) do(principal, method, url, body string, headers ...string) answer {
	w.TB.Helper()
	if !strings.HasPrefix(url, "https:") {
		url = w.Azure.ResourceManager() + url
	}
	req := w.Request(principal, method, url, body)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return w.serve(req)
}

func (w *world) serve(req *http.Request) answer {
	w.TB.Helper()
	a := answer{Answer: cloudtest.Send(w.engine, req)}
	if a.Body != "" {
		a.doc = cloudtest.Decode[map[string]any](w.TB, a.Answer)
	}
	return a
}

func (w *world) owner(method, url, body string, headers ...string) answer {
	w.TB.Helper()
	return w.do(ownerID, method, url, body, headers...)
}

// want sends as the owner and fails unless the status is the one wanted.
func (w *world) want(status int, method, url, body string, headers ...string) answer {
	w.TB.Helper()
	a := w.owner(method, url, body, headers...)
	if a.Status != status {
		w.TB.Fatalf("%s %s: %d %s, want %d", method, url, a.Status, a.Body, status)
	}
	return a
}

// poll follows a Location until it is done.
func (w *world) poll(url string) answer {
	w.TB.Helper()
	var a answer
	w.Eventually("the end of "+url, func() bool {
		a = w.owner(http.MethodGet, url, "")
		return a.Status != http.StatusAccepted
	})
	return a
}

const version = "?api-version=2021-04-01"

func groupPath(name string) string { return "/subscriptions/" + subID + "/resourceGroups/" + name }

func thingPath(group, name string) string {
	return groupPath(group) + "/providers/Test.Things/things/" + name
}

func (w *world) group(name string) {
	w.TB.Helper()
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
