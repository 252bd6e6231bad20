package attach

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConnect(t *testing.T) {
	f := newFakeAPI(t)
	file := f.kubeconfig(t)
	t.Setenv("KUBECONFIG", file)
	for _, o := range []struct {
		ClusterOptions
		name, namespace string
	}{
		{ClusterOptions{}, "first", "default"},
		{ClusterOptions{Kubeconfig: file, Context: "second"}, "second", "shop"},
	} {
		c, err := Connect(o.ClusterOptions)
		if err != nil {
			t.Fatal(err)
		}
		if c.Name() != o.name || c.Namespace() != o.namespace || c.Server() != f.URL {
			t.Errorf("%+v: %s, namespace %s, at %s", o.ClusterOptions, c.Name(), c.Namespace(), c.Server())
		}
		if v, err := c.Version(t.Context()); err != nil || v != "v1.36.3" {
			t.Errorf("version %s, %v", v, err)
		}
	}
}

func TestConnectRefusals(t *testing.T) {
	f := newFakeAPI(t)
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for want, o := range map[string]ClusterOptions{
		"there is no kubeconfig":     {},
		"no such file":               {Kubeconfig: "/nowhere/kubeconfig"},
		`context "third" does not e`: {Kubeconfig: f.kubeconfig(t), Context: "third"},
	} {
		if _, err := Connect(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %q", o, err, want)
		}
	}
}

func TestClusterUnreachable(t *testing.T) {
	f := newFakeAPI(t)
	c := f.connect(t)
	f.refuse = func(*http.Request) (int, string) { return http.StatusUnauthorized, "Unauthorized" }
	if _, err := c.Version(t.Context()); err == nil || !strings.Contains(err.Error(), "does not accept the kubeconfig's credentials") {
		t.Errorf("bad credentials: %v", err)
	}
	f.Close()
	if _, err := c.Version(t.Context()); err == nil || !strings.Contains(err.Error(), "no API server answers at "+f.URL) {
		t.Errorf("no server: %v", err)
	}
}

// TestServerOfAnotherAuthority: a kubeconfig of another cluster at the address is
// told from a server that is not there.
func TestServerOfAnotherAuthority(t *testing.T) {
	f := newFakeAPI(t)
	other := httptest.NewUnstartedServer(f)
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.StartTLS()
	t.Cleanup(other.Close)
	f.URL = other.URL
	if _, err := f.connect(t).Version(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate-authority") {
		t.Errorf("another authority: %v", err)
	}
}

func TestIssuer(t *testing.T) {
	f := newFakeAPI(t)
	c := f.connect(t)
	f.raw["/.well-known/openid-configuration"] = `{"issuer":"https://oidc.example/t/c/","jwks_uri":"https://elsewhere.example/keys"}`
	f.raw["/openid/v1/jwks"] = `{"keys":[{"kid":"one"}]}`
	got, err := c.Issuer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Issuer{URL: "https://oidc.example/t/c/", JWKS: []byte(`{"keys":[{"kid":"one"}]}`)}, got); d != "" {
		t.Errorf("issuer (-want +got):\n%s", d)
	}
	delete(f.raw, "/openid/v1/jwks")
	if _, err := c.Issuer(t.Context()); err == nil || !strings.Contains(err.Error(), "--service-account-issuer") {
		t.Errorf("without keys: %v", err)
	}
	f.refuse = func(*http.Request) (int, string) { return http.StatusForbidden, "no" }
	if _, err := c.Issuer(t.Context()); err == nil || !strings.Contains(err.Error(), "system:service-account-issuer-discovery") {
		t.Errorf("forbidden: %v", err)
	}
	if _, err := c.Attachment(t.Context()); err == nil || !strings.Contains(err.Error(), "cluster-admin") {
		t.Errorf("forbidden to read attachments: %v", err)
	}
}

func TestEnsureServiceAccountKeepsWhatItHas(t *testing.T) {
	f := newFakeAPI(t)
	c := f.connect(t)
	const path = "/api/v1/namespaces/shop/serviceaccounts/web"
	want := ServiceAccount{Namespace: "shop", Name: "web", Annotations: map[string]string{"azure.workload.identity/client-id": "id"}}
	for _, outcome := range []Outcome{Created, Unchanged} {
		got, o, err := c.EnsureServiceAccount(t.Context(), want)
		if err != nil || o != outcome {
			t.Fatalf("%s, %v; want %s", o, err, outcome)
		}
		if got.UID == "" || got.Annotations["azure.workload.identity/client-id"] != "id" {
			t.Errorf("service account %+v", got)
		}
	}
	f.put(path, map[string]any{
		"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata":         map[string]any{"name": "web", "labels": map[string]any{"team": "a"}, "annotations": map[string]any{"mine": "yes", "azure.workload.identity/client-id": "old"}},
		"imagePullSecrets": []any{map[string]any{"name": "pull"}},
	})
	want.Labels = map[string]string{"managed": "yes"}
	got, o, err := c.EnsureServiceAccount(t.Context(), want)
	if err != nil || o != Changed {
		t.Fatalf("%s, %v", o, err)
	}
	if d := cmp.Diff(map[string]string{"mine": "yes", "azure.workload.identity/client-id": "id"}, got.Annotations); d != "" {
		t.Errorf("annotations (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]string{"team": "a", "managed": "yes"}, got.Labels); d != "" {
		t.Errorf("labels (-want +got):\n%s", d)
	}
	if f.get(path)["imagePullSecrets"] == nil {
		t.Error("the pull secrets are gone")
	}
	got, err = c.UpdateServiceAccount(t.Context(), got, nil, map[string]*string{"azure.workload.identity/client-id": nil})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"mine": "yes"}, got.Annotations); d != "" {
		t.Errorf("annotations after removal (-want +got):\n%s", d)
	}
}

func TestServiceAccountErrors(t *testing.T) {
	f := newFakeAPI(t)
	c := f.connect(t)
	if _, err := c.ServiceAccount(t.Context(), "shop", "web"); !errors.Is(err, ErrNotFound) {
		t.Errorf("reading none: %v", err)
	}
	f.refuse = func(r *http.Request) (int, string) {
		if r.Method == http.MethodPost {
			return http.StatusNotFound, `namespaces "shop" not found`
		}
		return 0, ""
	}
	_, _, err := c.EnsureServiceAccount(t.Context(), ServiceAccount{Namespace: "shop", Name: "web"})
	if err == nil || !strings.Contains(err.Error(), "there is no namespace shop") {
		t.Errorf("without its namespace: %v", err)
	}
}

func TestDeleteServiceAccount(t *testing.T) {
	f := newFakeAPI(t)
	c := f.connect(t)
	sa, _, err := c.EnsureServiceAccount(t.Context(), ServiceAccount{Namespace: "shop", Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	other := sa
	other.UID = "another"
	if _, err := c.DeleteServiceAccount(t.Context(), other); err == nil {
		t.Error("deleted one of another UID")
	}
	for _, want := range []bool{true, false} {
		if had, err := c.DeleteServiceAccount(t.Context(), sa); err != nil || had != want {
			t.Errorf("deleted %t, %v; want %t", had, err, want)
		}
	}
}
