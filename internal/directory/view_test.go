package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// state gives all keys of the directory as a view's first changes.
func (f *fixture) state() []store.Change {
	f.t.Helper()
	page, err := f.st.List(f.t.Context(), prefix, store.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	changes := make([]store.Change, len(page.Entries))
	for i, e := range page.Entries {
		changes[i] = store.Change{Key: e.Key, Value: e.Value, Revision: e.Revision}
	}
	return changes
}

// When the watch was lost, the view is what the store then says and no more.
func TestReset(t *testing.T) {
	f := newFixture(t)
	stays, goes := f.identity(contoso, "stays"), f.identity(contoso, "goes")
	group := f.group(contoso, "g")
	f.must(func(tx *store.Tx) error { return f.AddMember(tx, contoso, group.ObjectID, stays.ObjectID) })
	var state []store.Change
	for _, c := range f.state() {
		if !strings.Contains(c.Key, goes.ObjectID) && !strings.Contains(c.Key, fabrikam) {
			state = append(state, c)
		}
	}
	f.apply(state, true)
	if _, ok := f.Client(contoso, stays.AppID); !ok {
		t.Error("what is in the new state is not found")
	}
	if got := f.GroupsOf(contoso, stays.ObjectID); len(got) != 1 {
		t.Errorf("the groups are %v", got)
	}
	if _, ok := f.Client(contoso, goes.AppID); ok {
		t.Error("what is not in the new state is still found")
	}
	if _, ok := f.Tenant(fabrikam); ok {
		t.Error("the tenant that is not in the new state is still found")
	}
	if _, ok := f.Tenant("fabrikam.example"); ok {
		t.Error("its domain is still found")
	}
	f.apply(nil, true)
	if len(f.Tenants()) != 0 || len(f.Principals(contoso)) != 0 {
		t.Error("an empty state leaves something")
	}
}

// A record that cannot be read counts as absent, and harms no other.
func TestUnreadableRecord(t *testing.T) {
	f := newFixture(t)
	var log bytes.Buffer
	f.log = slog.New(slog.NewTextHandler(&log, nil))
	broken, fine := f.identity(contoso, "broken"), f.identity(contoso, "fine")
	f.must(func(tx *store.Tx) error {
		tx.Put(key(principals, contoso, broken.ObjectID), []byte(`{"appId":`))
		tx.Put(key("something-new", "x"), []byte(`{}`))
		return nil
	})
	if _, ok := f.Client(contoso, broken.AppID); ok {
		t.Error("the record that cannot be read still gives a client")
	}
	if _, ok := f.Client(contoso, fine.AppID); !ok {
		t.Error("the other client is gone")
	}
	if got := log.String(); !strings.Contains(got, "directory record cannot be read") ||
		!strings.Contains(got, key(principals, contoso, broken.ObjectID)) {
		t.Errorf("the log says %q", got)
	}
}

// A service principal whose application is missing must not pass for a managed
// identity.
func TestServicePrincipalWithoutApplication(t *testing.T) {
	f := newFixture(t)
	app, _ := f.application(contoso, "app")
	f.must(func(tx *store.Tx) error { tx.Delete(key(applications, contoso, app.ObjectID)); return nil })
	if c, ok := f.Client(contoso, app.AppID); ok {
		t.Errorf("the client is %+v", c)
	}
}

// Without its own record a tenant has nothing, whatever keys there are.
func TestTenantWithoutRecord(t *testing.T) {
	f := newFixture(t)
	mi := f.identity(contoso, "id1")
	f.must(func(tx *store.Tx) error { tx.Delete(key(tenants, contoso)); return nil })
	if _, ok := f.Client(contoso, mi.AppID); ok {
		t.Error("the client is found")
	}
	if _, ok := f.Tenant("contoso.example"); ok {
		t.Error("the domain is found")
	}
	if _, _, ok := f.Resource(contoso, "https://vault.azure.net"); ok {
		t.Error("the resource is found")
	}
}

// The order in which records come does not matter.
func TestAnyOrder(t *testing.T) {
	f := newFixture(t)
	mi := f.identity(contoso, "id1")
	app, _ := f.application(contoso, "app", "api://app")
	if _, err := f.put(credential(contoso, mi.ObjectID, "fc1")); err != nil {
		t.Fatal(err)
	}
	state := f.state()
	want, _ := f.Client(contoso, mi.AppID)
	for n := range len(state) {
		rotated := append(append([]store.Change(nil), state[n:]...), state[:n]...)
		f.apply(nil, true)
		for _, c := range rotated {
			f.apply([]store.Change{c}, false)
		}
		got, ok := f.Client(contoso, mi.AppID)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Fatalf("starting at %s (-want +got):\n%s", rotated[0].Key, diff)
		}
		if appID, _, ok := f.Resource(contoso, "api://app"); !ok || appID != app.AppID {
			t.Fatalf("starting at %s the resource is %q", rotated[0].Key, appID)
		}
		if _, ok := f.Tenant("contoso.example"); !ok {
			t.Fatalf("starting at %s the domain is lost", rotated[0].Key)
		}
	}
}

// crowd is a directory of many identities, without a store.
func crowd(tb testing.TB, n int) (*Directory, []Principal) {
	tb.Helper()
	d := &Directory{services: testCloud.Services(), view: newView(), log: slog.New(slog.DiscardHandler)}
	change := func(k string, v any) store.Change {
		value, err := json.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		return store.Change{Key: k, Value: value, Revision: 1}
	}
	changes := []store.Change{change(key(tenants, contoso), Tenant{ID: contoso, DisplayName: "Contoso"})}
	list := make([]Principal, n)
	for i := range list {
		p := Principal{TenantID: contoso, ObjectID: newGUID(), Type: azure.ServicePrincipal, AppID: newGUID(),
			ServicePrincipalType: ManagedIdentityPrincipal, DisplayName: fmt.Sprint("id", i), ResourceID: identityID("x").String()}
		list[i] = p
		changes = append(changes, change(key(principals, contoso, p.ObjectID), p),
			change(key(credentials, contoso, p.ObjectID), []FederatedCredential{credential(contoso, p.ObjectID, "fc1")}))
	}
	group := Principal{TenantID: contoso, ObjectID: newGUID(), Type: azure.Group, DisplayName: "all"}
	for _, p := range list {
		group.Members = append(group.Members, p.ObjectID)
	}
	changes = append(changes, change(key(principals, contoso, group.ObjectID), group))
	d.apply(changes, true)
	return d, list
}

func TestLookupsDoNotAllocate(t *testing.T) {
	d, list := crowd(t, 100)
	p := list[50]
	for what, lookup := range map[string]func() bool{
		"Client":       func() bool { c, ok := d.Client(contoso, p.AppID); return ok && len(c.FederatedCredentials) == 1 },
		"Principal":    func() bool { _, ok := d.Principal(contoso, p.ObjectID); return ok },
		"Tenant":       func() bool { _, ok := d.Tenant(contoso); return ok },
		"Resource":     func() bool { _, _, ok := d.Resource(contoso, "https://vault.azure.net"); return ok },
		"no such one":  func() bool { _, ok := d.Client(contoso, contoso); return !ok },
		"wrong tenant": func() bool { _, ok := d.Client(fabrikam, p.AppID); return !ok },
	} {
		if !lookup() {
			t.Errorf("%s fails", what)
		}
		if n := testing.AllocsPerRun(100, func() { lookup() }); n != 0 {
			t.Errorf("%s makes %v allocations", what, n)
		}
	}
}

func BenchmarkClient(b *testing.B) {
	d, list := crowd(b, 10_000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, ok := d.Client(contoso, list[i%len(list)].AppID); !ok {
				b.Error("not found")
			}
		}
	})
}

func BenchmarkGroupsOf(b *testing.B) {
	d, list := crowd(b, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if groups := d.GroupsOf(contoso, list[i%len(list)].ObjectID); len(groups) != 1 {
			b.Fatal(groups)
		}
	}
}

func BenchmarkResource(b *testing.B) {
	d, _ := crowd(b, 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := d.Resource(contoso, "https://ossrdbms-aad.database.windows.net"); !ok {
			b.Fatal("not found")
		}
	}
}

// BenchmarkLoad is what a start costs with 10,000 identities.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		crowd(b, 10_000)
	}
}
