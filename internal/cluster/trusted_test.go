package cluster_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/store"
)

const foreignIssuer = "https://kubernetes.default.svc.cluster.local"

// bind gives an issuer's keys to a tenant, as the operator.
func (w *world) bind(name, issuer, tenant string, keys json.RawMessage) error {
	w.TB.Helper()
	operator := azure.Caller{TenantID: cloudtest.TenantID, ObjectID: "operator"}
	var after func(context.Context) error
	err := w.try(func(tx *store.Tx) (err error) {
		_, _, after, err = w.clusters.PutTrustedIssuer(tx, operator, cluster.TrustedIssuer{Name: name, IssuerURL: issuer, TenantID: tenant, KeySet: keys})
		return err
	})
	if err == nil {
		cloudtest.Must(w.TB, after(context.Background()))
	}
	return err
}

// TestTrustedIssuers: the keys that the operator gives are for one tenant, and an
// issuer is bound once.
func TestTrustedIssuers(t *testing.T) {
	w := newWorld(t)
	one, two := signers[0](), signers[1]()
	cloudtest.Must(t, w.bind("onprem", foreignIssuer, cloudtest.TenantID, keySet(t, one)))
	if keys, ok := w.clusters.Keys(cloudtest.TenantID, foreignIssuer); !ok || !slices.Equal(keys.IDs(), []string{"one"}) {
		t.Errorf("the tenant's keys: %v %v", keys.IDs(), ok)
	}
	// Another tenant's credentials that name the same issuer don't use these keys.
	if keys, ok := w.clusters.Keys(cloudtest.OtherTenantID, foreignIssuer); ok {
		t.Errorf("another tenant's keys: %v", keys.IDs())
	}
	for _, issuer := range []string{foreignIssuer + "/", "https://KUBERNETES.default.svc.cluster.local"} {
		if _, ok := w.clusters.Keys(cloudtest.TenantID, issuer); ok {
			t.Errorf("the issuer %s has keys", issuer)
		}
	}
	wantError(t, w.bind("again", foreignIssuer, cloudtest.TenantID, keySet(t, two)), http.StatusConflict, "IssuerAlreadyTrusted")
	wantError(t, w.bind("again", foreignIssuer, cloudtest.OtherTenantID, keySet(t, two)), http.StatusConflict, "IssuerAlreadyTrusted")
	wantError(t, w.bind("ONPREM", foreignIssuer, cloudtest.OtherTenantID, keySet(t, two)), http.StatusConflict, "TrustedIssuerImmutable")
	wantError(t, w.bind("onprem", "https://other.example", cloudtest.TenantID, keySet(t, two)), http.StatusConflict, "TrustedIssuerImmutable")
	wantError(t, w.bind("own", w.Azure.OIDC()+"/x/y/", cloudtest.TenantID, keySet(t, two)), http.StatusBadRequest, "InvalidIssuerUrl")
	wantError(t, w.bind("login", w.Azure.ActiveDirectory()+"/x/v2.0", cloudtest.TenantID, keySet(t, two)), http.StatusBadRequest, "InvalidIssuerUrl")
	wantError(t, w.bind("bad", "https://other.example", cloudtest.TenantID, json.RawMessage(`{"keys":[]}`)), http.StatusBadRequest, "InvalidKeys")

	cloudtest.Must(t, w.bind("OnPrem", foreignIssuer, cloudtest.TenantID, keySet(t, two)))
	if keys, _ := w.clusters.Keys(cloudtest.TenantID, foreignIssuer); !slices.Equal(keys.IDs(), []string{"two"}) {
		t.Errorf("replaced: %v", keys.IDs())
	}
	if list := w.clusters.TrustedIssuers(); len(list) != 1 || list[0].Name != "onprem" || list[0].Created.IsZero() {
		t.Errorf("the list is %+v", list)
	}
	var after func(context.Context) error
	w.Update(func(tx *store.Tx) (err error) {
		_, after, err = w.clusters.DeleteTrustedIssuer(tx, azure.Caller{ObjectID: "operator"}, "ONPREM")
		return err
	})
	cloudtest.Must(t, after(t.Context()))
	if _, ok := w.clusters.Keys(cloudtest.TenantID, foreignIssuer); ok {
		t.Error("a deleted issuer still has keys")
	}
	var recorded []string
	for _, r := range w.Records() {
		if r.Kind == audit.KindOperator {
			recorded = append(recorded, r.ObjectID+" +"+r.Detail["keysAdded"]+" -"+r.Detail["keysRemoved"])
		}
	}
	if want := []string{"operator +one -", "operator +two -one", "operator + -two"}; !slices.Equal(recorded, want) {
		t.Errorf("recorded %q, want %q", recorded, want)
	}
	cloudtest.Must(t, w.bind("later", foreignIssuer, cloudtest.OtherTenantID, keySet(t, one))) // it is free again
}

// TestTrustEndsWithTenant: nothing of it is left for a tenant to come.
func TestTrustEndsWithTenant(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		name := string(rune('a'+i/26)) + string(rune('a'+i%26))
		tenant := cloudtest.TenantID
		if i == 7 {
			tenant = cloudtest.OtherTenantID
		}
		cloudtest.Must(t, w.bind(name, "https://"+name+".example", tenant, keySet(t, signers[0]())))
	}
	rounds := 0
	for more := true; more; rounds++ {
		w.Update(func(tx *store.Tx) (err error) {
			more, err = w.clusters.ForgetTenant(tx, cloudtest.TenantID)
			return err
		})
	}
	if left := w.clusters.TrustedIssuers(); rounds != 2 || len(left) != 1 || left[0].TenantID != cloudtest.OtherTenantID {
		t.Errorf("after %d rounds %+v is left", rounds, left)
	}
	if n := len(w.Entries("clusters/")); n != 2 {
		t.Errorf("%d keys are left", n)
	}
}
