package rbac

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	contoso     = "11111111-1111-1111-1111-111111111111"
	fabrikam    = "22222222-2222-2222-2222-222222222222"
	contosoSub  = "00000000-0000-0000-0000-00000000aaaa" // that of sub
	contosoSub2 = "00000000-0000-0000-0000-00000000bbbb"
	fabrikamSub = "00000000-0000-0000-0000-00000000ffff"
)

// fixture is a guard over a real store, with two tenants and their subscriptions.
type fixture struct {
	*Guard
	t         testing.TB
	store     *store.Store
	dir       *directory.Directory
	auditPath string
	clock     *standin.Clock
}

func newFixture(tb testing.TB, change ...func(*Config)) *fixture {
	tb.Helper()
	f := &fixture{t: tb, clock: standin.NewClock(standin.Start), auditPath: filepath.Join(tb.TempDir(), "audit.log")}
	f.store = openStore(tb, tb.TempDir())
	var err error
	if f.dir, err = directory.Open(tb.Context(), f.store, azure.Cloud{Domain: "lanyard.localhost", Port: 8443}, f.clock.Now); err != nil {
		tb.Fatal(err)
	}
	log, err := audit.Open(audit.Config{Path: f.auditPath})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { log.Close() })
	cfg := Config{Store: f.store, Directory: f.dir, Audit: log, Now: f.clock.Now}
	for _, c := range change {
		c(&cfg)
	}
	if f.Guard, err = NewGuard(tb.Context(), cfg); err != nil {
		tb.Fatal(err)
	}
	f.update(func(tx *store.Tx) error {
		return errors.Join(
			f.dir.CreateTenant(tx, directory.Tenant{ID: contoso, DisplayName: "Contoso"}),
			f.dir.CreateTenant(tx, directory.Tenant{ID: fabrikam, DisplayName: "Fabrikam"}),
			f.dir.CreateSubscription(tx, directory.Subscription{ID: contosoSub, TenantID: contoso, DisplayName: "one"}),
			f.dir.CreateSubscription(tx, directory.Subscription{ID: contosoSub2, TenantID: contoso, DisplayName: "two"}),
			f.dir.CreateSubscription(tx, directory.Subscription{ID: fabrikamSub, TenantID: fabrikam, DisplayName: "three"}),
		)
	})
	return f
}

func openStore(tb testing.TB, dir string) *store.Store {
	tb.Helper()
	key, err := store.ParseSealingKey(store.NewSealingKey())
	if err != nil {
		tb.Fatal(err)
	}
	ring, err := store.NewKeyring(key)
	if err != nil {
		tb.Fatal(err)
	}
	st, err := store.Open(tb.Context(), store.Config{Dir: dir, Keyring: ring})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { st.Close() })
	return st
}

// update runs a transaction that must succeed.
func (f *fixture) update(do func(tx *store.Tx) error) {
	f.t.Helper()
	if _, err := f.store.Update(context.Background(), do); err != nil {
		f.t.Fatal(err)
	}
}

// put puts an assignment, completed with what most tests don't care for.
func (f *fixture) put(a Assignment) (stored Assignment, created bool, err error) {
	f.t.Helper()
	if a.Name == "" {
		a.Name = uuid.NewString()
	}
	if a.TenantID == "" {
		a.TenantID = contoso
	}
	_, err = f.store.Update(context.Background(), func(tx *store.Tx) (err error) {
		stored, created, err = f.PutAssignment(tx, a)
		return err
	})
	return stored, created, err
}

// grant assigns a role to a principal that need not exist.
func (f *fixture) grant(principal, role, scope string) Assignment {
	f.t.Helper()
	a, created, err := f.put(Assignment{Scope: scopeOf(f.t, scope), RoleDefinitionID: role, PrincipalID: principal, PrincipalType: azure.ServicePrincipal})
	if err != nil || !created {
		f.t.Fatalf("assigning %s at %s: created %v, %v", role, scope, created, err)
	}
	return a
}

func (f *fixture) delete(name string) error {
	_, err := f.store.Update(context.Background(), func(tx *store.Tx) error { return f.DeleteAssignment(tx, contoso, name) })
	return err
}

func (f *fixture) define(d RoleDefinition) (stored RoleDefinition, created bool, err error) {
	f.t.Helper()
	if d.TenantID == "" {
		d.TenantID = contoso
	}
	d.Custom = true
	_, err = f.store.Update(context.Background(), func(tx *store.Tx) (err error) {
		stored, created, err = f.PutDefinition(tx, d)
		return err
	})
	return stored, created, err
}

func (f *fixture) undefine(id string) error {
	_, err := f.store.Update(context.Background(), func(tx *store.Tx) error { return f.DeleteDefinition(tx, contoso, id) })
	return err
}

// identity makes a managed identity of contoso.
func (f *fixture) identity(name string) directory.Principal {
	f.t.Helper()
	var p directory.Principal
	f.update(func(tx *store.Tx) (err error) {
		p, err = f.dir.CreateManagedIdentity(tx, contoso,
			scopeOf(f.t, sub+"/resourceGroups/rg1/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"+name), false)
		return err
	})
	return p
}

func (f *fixture) group(name string, members ...string) directory.Principal {
	f.t.Helper()
	var p directory.Principal
	f.update(func(tx *store.Tx) (err error) {
		p, err = f.dir.CreateGroup(tx, contoso, name)
		return err
	})
	for _, m := range members {
		f.update(func(tx *store.Tx) error { return f.dir.AddMember(tx, contoso, p.ObjectID, m) })
	}
	return p
}

func callerOf(objectID string) azure.Caller {
	return azure.Caller{TenantID: contoso, ObjectID: objectID, AppID: "app of " + objectID, Type: azure.ServicePrincipal}
}

// check asks the guard, which must be able to decide.
func (f *fixture) check(c azure.Caller, action string, data bool, scope string) Decision {
	f.t.Helper()
	d, err := f.Check(f.t.Context(), Request{Caller: c, Action: action, Data: data, Scope: scopeOf(f.t, scope)})
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// keys gives the keys under a prefix, and what they hold.
func (f *fixture) keys(prefix string) map[string]string {
	f.t.Helper()
	page, err := f.store.List(context.Background(), prefix, store.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	keys := map[string]string{}
	for _, e := range page.Entries {
		keys[e.Key] = string(e.Value)
	}
	return keys
}

// records closes the audit log and reads it.
func (f *fixture) records() []audit.Record {
	f.t.Helper()
	if err := f.audit.Close(); err != nil {
		f.t.Fatal(err)
	}
	file, err := os.Open(f.auditPath)
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	var records []audit.Record
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var r audit.Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			f.t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// wantError checks that err is an *azure.Error as given.
func wantError(tb testing.TB, err error, status int, code, message string) {
	tb.Helper()
	e, ok := errors.AsType[*azure.Error](err)
	if !ok {
		tb.Errorf("the error is %v, want %d %s", err, status, code)
		return
	}
	if e.Status != status || e.Code != code || e.Message != message {
		tb.Errorf("the error is %d %s\n\t%s\nwant %d %s\n\t%s", e.Status, e.Code, e.Message, status, code, message)
	}
}
