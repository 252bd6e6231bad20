package attach

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestServiceAccountToken(t *testing.T) {
	answer := map[string]any{"status": map[string]any{"token": "made"}}
	status := http.StatusCreated
	var asked map[string]any
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/namespaces/shop/serviceaccounts/web/token" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewDecoder(r.Body).Decode(&asked)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		answer["apiVersion"], answer["kind"] = "authentication.k8s.io/v1", "TokenRequest"
		if status != http.StatusCreated {
			answer = map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": status, "message": "no"}
		}
		json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(api.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],` +
		`"clusters":[{"name":"c","cluster":{"server":"` + api.URL + `"}}],"users":[{"name":"u","user":{"token":"t"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Connect(ClusterOptions{Kubeconfig: kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.ServiceAccountToken(t.Context(), "shop", "web", "api://AzureADTokenExchange", 10*time.Minute)
	if err != nil || got != "made" {
		t.Errorf("%q, %v", got, err)
	}
	want := map[string]any{"audiences": []any{"api://AzureADTokenExchange"}, "expirationSeconds": float64(600)}
	if diff := cmp.Diff(want, asked["spec"]); diff != "" {
		t.Error(diff)
	}
	ask := func(text string) {
		t.Helper()
		if got, err := c.ServiceAccountToken(t.Context(), "shop", "web", "a", time.Hour); err == nil || got != "" || !strings.Contains(err.Error(), text) {
			t.Errorf("%q, %v; want an error with %q", got, err, text)
		}
	}
	answer = map[string]any{}
	ask("holds none")
	status = http.StatusForbidden
	ask("create on serviceaccounts/token")
	api.Close()
	ask("no API server answers")
}
