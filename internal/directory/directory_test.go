package directory

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	contoso  = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
	fabrikam = "7c9d6a4e-52b5-4c5f-8f5e-0a4c1d3b2a19"
)

var testCloud = azure.Cloud{Domain: "lanyard.localhost", Port: 8443}

// fixture is a directory with two tenants, on a store of its own.
type fixture struct {
	*Directory
	t     *testing.T
	st    *store.Store
	clock *standin.Clock
}

func openStore(t *testing.T, cfg store.Config) *store.Store {
	t.Helper()
	keys, err := store.NewKeyring(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Keyring = keys
	st, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func newFixture(t *testing.T, opts ...Option) *fixture {
	t.Helper()
	f := &fixture{t: t, st: openStore(t, store.Config{Dir: t.TempDir()}), clock: standin.NewClock(standin.Start)}
	d, err := Open(t.Context(), f.st, testCloud, f.clock.Now, opts...)
	if err != nil {
		t.Fatal(err)
	}
	f.Directory = d
	f.must(func(tx *store.Tx) error {
		return errors.Join(
			d.CreateTenant(tx, Tenant{ID: contoso, DisplayName: "Contoso", Domains: []string{"contoso.example"}}),
			d.CreateTenant(tx, Tenant{ID: fabrikam, DisplayName: "Fabrikam", Domains: []string{"fabrikam.example"}}))
	})
	return f
}

func (f *fixture) update(do func(tx *store.Tx) error) error {
	_, err := f.st.Update(f.t.Context(), do)
	return err
}

func (f *fixture) must(do func(tx *store.Tx) error) {
	f.t.Helper()
	if err := f.update(do); err != nil {
		f.t.Fatal(err)
	}
}

// identityID is the resource ID of a user-assigned identity.
func identityID(name string) azure.ResourceID {
	return azure.ResourceGroupScope("2f9e5b3c-1111-4222-8333-444455556666", "Rg1").
		Resource("Microsoft.ManagedIdentity", "userAssignedIdentities", name)
}

func (f *fixture) identity(tenantID, name string) Principal {
	f.t.Helper()
	var p Principal
	f.must(func(tx *store.Tx) (err error) {
		p, err = f.CreateManagedIdentity(tx, tenantID, identityID(name), false)
		return err
	})
	return p
}

func (f *fixture) application(tenantID, name string, uris ...string) (Application, Principal) {
	f.t.Helper()
	var app Application
	var p Principal
	f.must(func(tx *store.Tx) (err error) {
		app, p, err = f.CreateApplication(tx, tenantID, name, uris...)
		return err
	})
	return app, p
}

func (f *fixture) user(tenantID, upn, name string) Principal {
	f.t.Helper()
	var p Principal
	f.must(func(tx *store.Tx) (err error) {
		p, err = f.CreateUser(tx, tenantID, upn, name)
		return err
	})
	return p
}

func (f *fixture) group(tenantID, name string) Principal {
	f.t.Helper()
	var p Principal
	f.must(func(tx *store.Tx) (err error) {
		p, err = f.CreateGroup(tx, tenantID, name)
		return err
	})
	return p
}

// keys are all keys of the directory in the store.
func (f *fixture) keys() []string {
	f.t.Helper()
	page, err := f.st.List(f.t.Context(), prefix, store.ListOptions{KeysOnly: true})
	if err != nil {
		f.t.Fatal(err)
	}
	keys := make([]string, len(page.Entries))
	for i, e := range page.Entries {
		keys[i] = e.Key
	}
	return keys
}

// wantError checks what a client would see.
func wantError(t *testing.T, err error, status int, code, message string) {
	t.Helper()
	e, ok := errors.AsType[*azure.Error](err)
	if !ok {
		t.Errorf("got %v, want %d %s", err, status, code)
		return
	}
	got := fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
	want := fmt.Sprintf("%d %s: %s", status, code, message)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the error differs (-want +got):\n%s", diff)
	}
}

func TestOpenAgain(t *testing.T) {
	f := newFixture(t)
	p := f.identity(contoso, "id1")
	app, _ := f.application(contoso, "app1", "https://app1.example")
	f.must(func(tx *store.Tx) error {
		_, err := f.PutFederatedCredential(tx, credential(contoso, p.ObjectID, "fc1"))
		return err
	})
	again, err := Open(t.Context(), f.st, testCloud, f.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{p.AppID, app.AppID} {
		want, ok := f.Client(contoso, id)
		got, okAgain := again.Client(contoso, id)
		if !ok || !okAgain {
			t.Fatalf("the client %s is found: %v, and after opening again: %v", id, ok, okAgain)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the client differs after opening again (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(f.Tenants(), again.Tenants()); diff != "" {
		t.Error(diff)
	}
}

func TestOpenRefusesLowLimit(t *testing.T) {
	st := openStore(t, store.Config{Dir: t.TempDir()})
	_, err := Open(t.Context(), st, testCloud, nil, WithFederatedCredentialLimit(19))
	if err == nil || err.Error() != "opening the directory: the limit of federated identity credentials is 19, but Azure allows 20" {
		t.Errorf("got %v", err)
	}
}
