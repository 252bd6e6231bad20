package directory

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/store"
)

// told collects what OnTrusts has said.
type told struct {
	issuers  []string
	all      bool
	revision int64
}

func (f *fixture) watchTrusts() *told {
	f.t.Helper()
	seen := &told{}
	f.OnTrusts(func(issuers []string, revision int64) {
		if issuers == nil {
			seen.all = true
		}
		seen.issuers = append(seen.issuers, issuers...)
		seen.revision = max(seen.revision, revision)
	})
	return seen
}

// take gives which issuers were named since the last time, each once.
func (s *told) take() []string {
	slices.Sort(s.issuers)
	out := slices.Compact(s.issuers)
	s.issuers = nil
	return out
}

// subjects are those of the credentials that count, by client ID.
func (f *fixture) trusted(issuer string) []string {
	f.t.Helper()
	out := []string{}
	for _, trust := range f.Trusts(issuer) {
		out = append(out, trust.ClientID+" "+trust.Credential.Name)
	}
	slices.Sort(out)
	return out
}

func TestTrusts(t *testing.T) {
	const east, west = "https://oidc.example/east", "https://oidc.example/west"
	f := newFixture(t)
	seen := f.watchTrusts()
	at := func(issuer string) func(*FederatedCredential) {
		return func(c *FederatedCredential) { c.Issuer = issuer }
	}
	want := func(what, issuer string, subjects ...string) {
		t.Helper()
		slices.Sort(subjects)
		if diff := cmp.Diff(append([]string{}, subjects...), f.trusted(issuer)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	toldOf := func(what string, issuers ...string) {
		t.Helper()
		if got := seen.take(); !slices.Equal(got, issuers) {
			t.Errorf("%s: told of %v, want %v", what, got, issuers)
		}
	}
	put := func(c FederatedCredential) {
		t.Helper()
		if _, err := f.put(c); err != nil {
			t.Fatal(err)
		}
	}

	mi := f.identity(contoso, "id1")
	app, sp := f.application(fabrikam, "app")
	toldOf("nothing trusts anyone")
	put(credential(contoso, mi.ObjectID, "one", at(east)))
	put(credential(contoso, mi.ObjectID, "two", at(west)))
	put(credential(fabrikam, app.ObjectID, "three", at(east)))
	toldOf("credentials are made", east, west)
	want("made", east, mi.AppID+" one", sp.AppID+" three")
	want("made", west, mi.AppID+" two")
	want("another spelling", "https://oidc.example/East")

	// A credential is changed to another issuer: both hear of it.
	put(credential(contoso, mi.ObjectID, "one", at(west), func(c *FederatedCredential) { c.Subject = "other" }))
	toldOf("moved", east, west)
	want("moved", east, sp.AppID+" three")
	want("moved", west, mi.AppID+" one", mi.AppID+" two")

	f.must(func(tx *store.Tx) error { return f.SetDisabled(tx, contoso, mi.ObjectID, true) })
	toldOf("disabled", west)
	want("disabled", west)
	f.must(func(tx *store.Tx) error { return f.SetDisabled(tx, contoso, mi.ObjectID, false) })
	want("enabled again", west, mi.AppID+" one", mi.AppID+" two")
	seen.take()

	f.must(func(tx *store.Tx) error { return f.SetDisabled(tx, fabrikam, sp.ObjectID, true) })
	toldOf("the application's principal is disabled", east)
	want("disabled", east)
	f.must(func(tx *store.Tx) error { return f.SetDisabled(tx, fabrikam, sp.ObjectID, false) })
	seen.take()

	f.must(func(tx *store.Tx) error {
		_, err := f.DeleteFederatedCredential(tx, contoso, mi.ObjectID, "two")
		return err
	})
	toldOf("a credential is deleted", west)
	want("deleted", west, mi.AppID+" one")
	f.must(func(tx *store.Tx) error { return f.DeletePrincipal(tx, contoso, mi.ObjectID) })
	toldOf("the identity is deleted", west)
	want("deleted", west)
	if len(f.view.trusts) != 1 {
		t.Errorf("the index holds %v", f.view.trusts)
	}
	f.user(contoso, "ada@contoso.example", "Ada")
	toldOf("somebody else is made")
	f.must(func(tx *store.Tx) error { tx.Delete(key(tenants, fabrikam)); return nil })
	toldOf("the tenant ends", east)
	want("the tenant ended", east)
	if seen.revision == 0 {
		t.Error("no revision was told")
	}
}

// After a reset everything may have changed, and the index is that of the new
// state.
func TestTrustsAfterReset(t *testing.T) {
	f := newFixture(t)
	mi := f.identity(contoso, "id1")
	c := credential(contoso, mi.ObjectID, "one")
	if _, err := f.put(c); err != nil {
		t.Fatal(err)
	}
	state := f.state()
	seen := f.watchTrusts()
	f.apply(nil, true)
	if !seen.all || len(f.Trusts(c.Issuer)) != 0 {
		t.Errorf("told %+v, trusted %v", seen, f.Trusts(c.Issuer))
	}
	f.apply(state, true)
	if got := f.Trusts(c.Issuer); len(got) != 1 || got[0].ClientID != mi.AppID {
		t.Errorf("trusted %v", got)
	}
}
