package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	bindingAudience   = "api://AKSIdentityBinding"
	tokenProxySubject = "system:serviceaccount:lanyard:lanyard-token-proxy"
)

// apiServer is as much of an API server as the token proxy talks to: it verifies
// tokens of the main cluster, has a permission or not, and keeps objects. A real
// one is in package pods.
type apiServer struct {
	*httptest.Server
	mu      sync.Mutex
	may     map[string]bool // "user clientID"
	objects map[string]map[string]any
	changes int
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	a := &apiServer{may: map[string]bool{}, objects: map[string]map[string]any{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	t.Cleanup(a.CloseClientConnections)
	return a
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("watch") != "" {
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	var sent map[string]any
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	spec, _ := sent["spec"].(map[string]any)
	switch r.URL.Path {
	case "/apis/authentication.k8s.io/v1/tokenreviews":
		sent["status"] = reviewToken(spec["token"].(string), spec["audiences"].([]any)[0].(string))
	case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
		attributes := spec["resourceAttributes"].(map[string]any)
		a.mu.Lock()
		sent["status"] = map[string]any{"allowed": attributes["verb"] == "use-managed-identity" &&
			attributes["group"] == "cid.wi.aks.azure.com" && a.may[fmt.Sprint(spec["user"], " ", attributes["resource"])]}
		a.mu.Unlock()
	default:
		a.object(w, r, sent)
		return
	}
	writeJSON(w, sent)
}

// reviewToken is the status of a TokenReview.
func reviewToken(raw, audience string) map[string]any {
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	var claims struct {
		jwt.Claims
		Kubernetes struct {
			Pod struct {
				Name string `json:"name"` // go-jose's JSON heeds case
			} `json:"pod"`
		} `json:"kubernetes.io"`
	}
	if err := token.Claims(world.cluster.keys["main"].Public(), &claims); err != nil {
		return map[string]any{"error": "invalid bearer token"}
	}
	if err := claims.Validate(jwt.Expected{Issuer: world.cluster.url("main"), AnyAudience: jwt.Audience{audience}, Time: time.Now()}); err != nil {
		return map[string]any{"error": err.Error()}
	}
	extra := map[string]any{}
	if claims.Kubernetes.Pod.Name != "" {
		extra["authentication.kubernetes.io/pod-name"] = []string{claims.Kubernetes.Pod.Name}
	}
	return map[string]any{"authenticated": true, "audiences": []string{audience}, "user": map[string]any{
		"username": claims.Subject, "uid": "u", "groups": []string{"system:serviceaccounts"}, "extra": extra,
	}}
}

// object serves the Secret and the ConfigMap: get, list, create, update.
func (a *apiServer) object(w http.ResponseWriter, r *http.Request, sent map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	path := r.URL.Path
	switch {
	case r.Method == http.MethodGet && (strings.HasSuffix(path, "/secrets") || strings.HasSuffix(path, "/configmaps")):
		writeJSON(w, map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{}})
		return
	case r.Method == http.MethodGet && a.objects[path] == nil:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404}`)
		return
	case r.Method == http.MethodPost:
		path += "/" + sent["metadata"].(map[string]any)["name"].(string)
		fallthrough
	case r.Method == http.MethodPut:
		a.changes++
		sent["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(a.changes)
		a.objects[path] = sent
	}
	writeJSON(w, a.objects[path])
}

func (a *apiServer) permit(user, clientID string, may bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.may[user+" "+clientID] = may
}

// authority is what the token proxy published.
func (a *apiServer) authority() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	data, _ := a.objects["/api/v1/namespaces/lanyard/configmaps/lanyard-token-proxy-ca"]["data"].(map[string]any)
	ca, _ := data["ca.crt"].(string)
	return ca
}

// startTokenProxy runs the agent's token proxy, and gives the variables by which
// the webhook leads pods to it.
func startTokenProxy(t *testing.T, api *apiServer) map[string]string {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q}}],
		"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{}}]}`, api.URL)
	if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	line := startAgent(t, nil, []string{
		"POD_NAMESPACE=lanyard", "AZURE_TENANT_ID=" + world.env.TenantID,
		"AZURE_FEDERATED_TOKEN_FILE=" + world.cluster.tokenFile(t, assertion{subject: tokenProxySubject}),
	}, "token-proxy", "--kubeconfig", kubeconfig, "--log-level", "debug",
		"--addr", "127.0.0.1:0", "--health-addr", "127.0.0.1:0", "--metrics-addr", "0")
	fields := strings.Fields(line) // token proxy URL health ADDRESS metrics ADDRESS
	if len(fields) != 7 {
		t.Fatalf("the token proxy says %q", line)
	}
	waitReady(t, "http://"+fields[4]+"/readyz")
	return map[string]string{
		"AZURE_KUBERNETES_TOKEN_PROXY": fields[2], "AZURE_KUBERNETES_SNI_NAME": "lanyard-token-proxy.lanyard.svc",
		"AZURE_KUBERNETES_CA_DATA": api.authority(),
	}
}

func waitReady(t *testing.T, address string) {
	t.Helper()
	ctx := testContext(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		response, err := http.Get(address)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is not ready: %v", address, err)
		case <-tick.C:
		}
	}
}

// bound is the token of a pod that chose the token proxy.
func bound(subject string) assertion {
	return assertion{subject: subject, audience: bindingAudience, pod: "app-0"}
}

// bindingCredential is what a pod with an identity binding has.
func bindingCredential(t *testing.T, clientID string, a assertion) azcore.TokenCredential {
	t.Helper()
	return must(azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientID: clientID, TenantID: world.env.TenantID, TokenFilePath: world.cluster.tokenFile(t, a), EnableAzureProxy: true,
	}))
}

// TestIdentityBinding: one federated credential, for the token proxy, and
// Kubernetes's permissions decide who may use the identity, for an unmodified
// WorkloadIdentityCredential with EnableAzureProxy.
func TestIdentityBinding(t *testing.T) {
	group := newGroup(t)
	reader, other := newIdentity(t, group, "reader"), newIdentity(t, group, "other")
	trust(t, group, "reader", tokenProxySubject)
	vault := newVault(t, group)
	setSecret(t, vault, "greeting", "hello")
	assign(t, *vault.ID, roleSecretsUser, *reader.Properties.PrincipalID)
	clientID, otherID := *reader.Properties.ClientID, *other.Properties.ClientID

	api := newAPIServer(t)
	variables := startTokenProxy(t, api)
	for name, value := range variables {
		t.Setenv(name, value)
	}
	const first, second, stranger = "system:serviceaccount:one:app", "system:serviceaccount:two:app", "system:serviceaccount:one:stranger"
	api.permit(first, clientID, true)
	api.permit(second, clientID, true)
	api.permit(first, otherID, true)
	for _, subject := range []string{first, second} {
		got, err := secretsClient(vault, bindingCredential(t, clientID, bound(subject))).GetSecret(testContext(t), "greeting", "", nil)
		if err != nil || *got.Value != "hello" {
			t.Errorf("%s: %v", subject, err)
		}
	}

	unbound, forEntra, forged := bound(first), bound(first), bound(first)
	unbound.pod, forEntra.audience = "", ""
	forged.cluster, forged.issuer = "other", world.cluster.url("main")
	expired := bound(first)
	expired.lifetime = -time.Hour
	for name, test := range map[string]struct {
		clientID string
		token    assertion
		want     []string
	}{
		"another audience":        {clientID, forEntra, []string{"401", "invalid_client", "for the audience 'api://AzureADTokenExchange'"}},
		"no permission":           {clientID, bound(stranger), []string{"403", "unauthorized_client", stranger + " may not use the identity", "use-managed-identity"}},
		"another client ID":       {"11111111-1111-1111-1111-111111111111", bound(first), []string{"403", "unauthorized_client", "11111111-1111-1111-1111-111111111111"}},
		"a token of no pod":       {clientID, unbound, []string{"401", "invalid_client", "not bound to a pod"}},
		"another cluster's token": {clientID, forged, []string{"401", "invalid_client", "does not accept"}},
		"an expired token":        {clientID, expired, []string{"401", "invalid_client", "does not accept"}},
		// Permitted here, but the identity does not trust the token proxy: the token
		// service's own refusal comes through.
		"no federated credential": {otherID, bound(first), []string{"401", "AADSTS700213", tokenProxySubject}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bindingCredential(t, test.clientID, test.token).GetToken(testContext(t), vaultScope())
			if err == nil {
				t.Fatal("a token was given")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
	t.Run("a permission taken away", func(t *testing.T) {
		api.permit(second, clientID, false)
		_, err := bindingCredential(t, clientID, bound(second)).GetToken(testContext(t), vaultScope())
		if err == nil || !strings.Contains(err.Error(), "unauthorized_client") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("JavaScript", func(t *testing.T) { bindingInJavaScript(t, clientID, variables) })
	t.Run("by the sidecar", func(t *testing.T) { bindingBySidecar(t, clientID, bound(first)) })
}

// bindingInJavaScript asks for a token with @azure/identity and enableAzureProxy.
func bindingInJavaScript(t *testing.T, clientID string, variables map[string]string) {
	t.Helper()
	javaScript := languages[slices.IndexFunc(languages, func(l language) bool { return l.name == "JavaScript" })]
	javaScript.available(t)
	ask := func(a assertion) (string, error) {
		cmd := exec.CommandContext(testContext(t), "node", "--input-type=module", "-e", `
import { WorkloadIdentityCredential } from "@azure/identity";
try {
  const token = await new WorkloadIdentityCredential({ enableAzureProxy: true }).getToken("https://vault.azure.net/.default");
  console.log(token.token.length > 100 ? "a token" : "none");
} catch (error) { console.error(error.message); process.exit(1); }`)
		cmd.Dir = "../examples/javascript"
		cmd.Env = append(os.Environ(), "AZURE_CLIENT_ID="+clientID, "AZURE_FEDERATED_TOKEN_FILE="+world.cluster.tokenFile(t, a))
		for name, value := range variables {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		// Through a proxy it trusts no authority of the token proxy's; it needs no
		// way to the cloud, either.
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool {
			name, _, _ := strings.Cut(v, "=")
			return strings.EqualFold(name, "HTTPS_PROXY")
		})
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := ask(bound("system:serviceaccount:one:app")); err != nil || out != "a token" {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := ask(bound("system:serviceaccount:one:stranger")); err == nil || !strings.Contains(out, "may not use the identity") {
		t.Errorf("a stranger: %v\n%s", err, out)
	}
}

// bindingBySidecar asks the proxy sidecar as a client of IMDS does; the sidecar has
// a pod's variables.
func bindingBySidecar(t *testing.T, clientID string, a assertion) {
	t.Helper()
	base := startSidecar(t, nil, "AZURE_CLIENT_ID="+clientID, "AZURE_FEDERATED_TOKEN_FILE="+world.cluster.tokenFile(t, a))
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet,
		base+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Metadata", "true")
	wantStatus(t, r, http.StatusOK)
}
