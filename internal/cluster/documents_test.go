package cluster_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestDocuments(t *testing.T) {
	w := newWorld(t)
	one := signers[0]()
	c := w.attached("east", one)
	base := strings.TrimPrefix(c.IssuerURL, w.Azure.OIDC())
	if want := "/" + cloudtest.TenantID + "/" + c.ID + "/"; base != want {
		t.Fatalf("the issuer is %s, want %s", c.IssuerURL, w.Azure.OIDC()+want)
	}
	discovery := base + ".well-known/openid-configuration"
	a := w.document(http.MethodGet, discovery).Want(t, http.StatusOK)
	want := map[string]any{
		"issuer": c.IssuerURL, "jwks_uri": c.IssuerURL + "openid/v1/jwks", "response_types_supported": []any{"id_token"},
		"subject_types_supported": []any{"public"}, "id_token_signing_alg_values_supported": []any{"RS256"},
	}
	if diff := cmp.Diff(want, cloudtest.Decode[map[string]any](t, a)); diff != "" {
		t.Error(diff)
	}
	if got := a.Header.Get("Cache-Control"); got != "public, max-age=300" {
		t.Errorf("Cache-Control: %s", got)
	}
	if got := w.document(http.MethodGet, base+"openid/v1/jwks").Want(t, http.StatusOK).Header.Get("Content-Type"); got != "application/jwk-set+json" {
		t.Errorf("Content-Type: %s", got)
	}
	if head := w.document(http.MethodHead, discovery).Want(t, http.StatusOK); head.Body != "" || head.Header.Get("Content-Length") == "0" {
		t.Errorf("HEAD: %+v", head)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		if a := w.document(method, discovery); a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, a.Status)
		}
	}
	for path, code := range map[string]string{
		"/": "NotFound", "/" + cloudtest.TenantID: "NotFound", base: "NotFound",
		base + "openid/v1/jwks/": "NotFound", base + "openid/v1/JWKS": "NotFound", base + ".well-known/jwks.json": "NotFound",
		strings.ToUpper(base) + ".well-known/openid-configuration":                                "IssuerNotFound",
		"/" + cloudtest.OtherTenantID + "/" + c.ID + "/.well-known/openid-configuration":          "IssuerNotFound",
		"/" + cloudtest.TenantID + "/" + cloudtest.TenantID + "/.well-known/openid-configuration": "IssuerNotFound",
		base + "%2e%2e/.well-known/openid-configuration":                                          "NotFound",
	} {
		if a := w.document(http.MethodGet, path); a.Status != http.StatusNotFound || a.ErrorCode() != code {
			t.Errorf("%s: %d %s, want %s", path, a.Status, a.Body, code)
		}
	}
	// Without keys there is nothing to read, and after the cluster nothing at all.
	bare := w.attach("bare")
	if a := w.document(http.MethodGet, strings.TrimPrefix(bare.IssuerURL, w.Azure.OIDC())+"openid/v1/jwks"); a.ErrorCode() != "IssuerWithoutKeys" {
		t.Errorf("never enrolled: %d %s", a.Status, a.Body)
	}
	off := c
	off.IssuerEnabled = false
	w.Update(func(tx *store.Tx) error { _, err := w.clusters.Put(tx, off); return err })
	if a := w.document(http.MethodGet, discovery); a.ErrorCode() != "IssuerWithoutKeys" {
		t.Errorf("disabled: %d %s", a.Status, a.Body)
	}
	// Enabled again it is the same issuer, with the keys that it had.
	w.Update(func(tx *store.Tx) error {
		again, err := w.clusters.Put(tx, c)
		if again.IssuerURL != c.IssuerURL {
			t.Errorf("enabled again the issuer is %s", again.IssuerURL)
		}
		return err
	})
	w.document(http.MethodGet, discovery).Want(t, http.StatusOK)
	w.Update(func(tx *store.Tx) error { return w.clusters.Delete(tx, c.ID, c.ResourceID) })
	if a := w.document(http.MethodGet, discovery); a.Status != http.StatusNotFound || a.ErrorCode() != "IssuerNotFound" {
		t.Errorf("deleted: %d %s", a.Status, a.Body)
	}
	if keys, own := w.clusters.Keys(cloudtest.TenantID, c.IssuerURL); !own || keys != nil {
		t.Errorf("the issuer of a deleted cluster: %v, its own %v", keys.IDs(), own)
	}
}

// TestIssuerIsTheClusters: nobody names another issuer for a cluster than the one
// that is assigned to it and one that lies outside of the cloud.
func TestIssuerIsTheClusters(t *testing.T) {
	w := newWorld(t)
	victim := w.attached("victim", signers[0]())
	c := w.attach("east")
	enroll := func(c cluster.Cluster, issuer string, keys ...signer) error {
		e := cluster.Enrolment{Issuer: issuer, AgentSubjects: []string{agentSubject}}
		if len(keys) > 0 {
			e.Keys = keySet(t, keys...)
		}
		return w.try(func(tx *store.Tx) error { _, err := w.clusters.Enroll(tx, c.ID, c.ResourceID, e); return err })
	}
	for _, issuer := range []string{
		"", "https://kubernetes.default.svc.cluster.local", victim.IssuerURL, strings.TrimSuffix(c.IssuerURL, "/"),
		strings.ToUpper(c.IssuerURL), "https://oidc.example/",
	} {
		wantError(t, enroll(c, issuer, signers[1]()), http.StatusConflict, "IssuerMismatch")
	}
	for _, url := range []string{
		victim.IssuerURL, w.Azure.OIDC(), w.Azure.OIDC() + "/x/y/", "HTTPS://OIDC." + w.Azure.Domain + ":8443/x/",
		w.Azure.ActiveDirectory() + "/" + cloudtest.TenantID + "/v2.0", "http://oidc.example/", "https://", "oidc.example",
		"https://u@oidc.example/", "https://oidc.example/?a", "https://oidc.example/#a", "https://" + strings.Repeat("a", 600),
	} {
		hosted := c
		hosted.SelfHostedIssuerURL = url
		wantError(t, w.try(func(tx *store.Tx) error { _, err := w.clusters.Put(tx, hosted); return err }), http.StatusBadRequest, "InvalidIssuerUrl")
	}
	hosted := c
	hosted.SelfHostedIssuerURL = "https://oidc.example/"
	w.Update(func(tx *store.Tx) error { _, err := w.clusters.Put(tx, hosted); return err })
	// Its keys are read from its own documents: an upload is no way around them.
	wantError(t, enroll(c, "https://oidc.example/", signers[1]()), http.StatusBadRequest, "KeysNotTaken")
	cloudtest.Must(t, enroll(c, "https://oidc.example/"))
	if _, own := w.clusters.Keys(cloudtest.TenantID, "https://oidc.example/"); own {
		t.Error("the cloud has keys of a self-hosted issuer")
	}
	if keys, own := w.clusters.Keys(cloudtest.TenantID, c.IssuerURL); !own || keys != nil {
		t.Errorf("the assigned issuer of a cluster with another one has keys: %v", keys.IDs())
	}
	// When the resource no more names the issuer, the enrolment counts no more.
	if s, ok := w.clusters.Status(c.ID); !ok || !s.Enrolled || s.Issuer != "https://oidc.example/" {
		t.Errorf("status %+v", s)
	}
	w.Update(func(tx *store.Tx) error { _, err := w.clusters.Put(tx, c); return err })
	if s, _ := w.clusters.Status(c.ID); s.Enrolled {
		t.Errorf("status %+v", s)
	}
	// An issuer that is not enabled has no agents.
	off := w.attach("off")
	off.IssuerEnabled = false
	w.Update(func(tx *store.Tx) error { _, err := w.clusters.Put(tx, off); return err })
	wantError(t, enroll(off, off.IssuerURL, signers[1]()), http.StatusConflict, "IssuerNotEnabled")
	// Who names a cluster's ID changes neither its tenant nor its issuer.
	stolen := victim
	stolen.TenantID, stolen.IssuerURL = cloudtest.OtherTenantID, "https://oidc.example/"
	w.Update(func(tx *store.Tx) error {
		kept, err := w.clusters.Put(tx, stolen)
		if kept.TenantID != cloudtest.TenantID || kept.IssuerURL != victim.IssuerURL {
			t.Errorf("kept %+v", kept)
		}
		return err
	})
	// No other resource acts upon a cluster, even if it has its ID.
	thief := w.attach("thief")
	thief.ID = victim.ID
	for what, act := range map[string]func(tx *store.Tx) error{
		"put":    func(tx *store.Tx) error { _, err := w.clusters.Put(tx, thief); return err },
		"delete": func(tx *store.Tx) error { return w.clusters.Delete(tx, thief.ID, thief.ResourceID) },
		"enroll": func(tx *store.Tx) error {
			e := cluster.Enrolment{Issuer: victim.IssuerURL, Keys: keySet(t, signers[1]()), AgentSubjects: []string{agentSubject}}
			_, err := w.clusters.Enroll(tx, thief.ID, thief.ResourceID, e)
			return err
		},
	} {
		if err := w.try(act); err == nil || !strings.Contains(err.Error(), "not of "+thief.ResourceID) {
			t.Errorf("%s by another resource: %v", what, err)
		}
	}
	for _, subjects := range [][]string{
		nil, {""}, {"system:serviceaccount:x"}, {"system:serviceaccount:x:y:z"}, {"system:serviceaccount::y"}, {"system:node:x"},
		{"system:serviceaccount:X:y"}, {"system:serviceaccount:x:-"}, make([]string, 17),
	} {
		wantError(t, w.try(func(tx *store.Tx) error {
			_, err := w.clusters.Enroll(tx, victim.ID, victim.ResourceID, cluster.Enrolment{Issuer: victim.IssuerURL, Keys: keySet(t, signers[0]()), AgentSubjects: subjects})
			return err
		}), http.StatusBadRequest, "InvalidAgentSubjects")
	}
}
