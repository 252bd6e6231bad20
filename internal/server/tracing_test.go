package server

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/token"
)

// collector is an OTLP collector in memory.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	raw   bytes.Buffer
	spans []*tracepb.Span
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	text, err := io.ReadAll(body)
	var request collectorpb.ExportTraceServiceRequest
	if err := errors.Join(err, proto.Unmarshal(text, &request)); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(text)
	for _, rs := range request.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

// tree prints a trace, steps below what they are part of, in the order in which
// they began; what failed says with what.
func (c *collector) tree(traceID string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	children := map[string][]*tracepb.Span{}
	ids := map[string]bool{}
	var all []*tracepb.Span
	for _, s := range c.spans {
		if fmt.Sprintf("%x", s.TraceId) == traceID {
			all = append(all, s)
			ids[string(s.SpanId)] = true
		}
	}
	for _, s := range all {
		parent := string(s.ParentSpanId)
		if !ids[parent] { // the client's own
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	var b strings.Builder
	var show func(parent, indent string)
	show = func(parent, indent string) {
		list := children[parent]
		slices.SortFunc(list, func(x, y *tracepb.Span) int {
			return int(int64(x.StartTimeUnixNano) - int64(y.StartTimeUnixNano))
		})
		for _, s := range list {
			b.WriteString(indent + s.Name)
			if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
				b.WriteString(" !" + s.Status.GetMessage())
			}
			b.WriteString("\n")
			show(string(s.SpanId), indent+"  ")
		}
	}
	show("", "")
	return b.String()
}

// root gives what the first span of a trace says.
func (c *collector) root(t *testing.T, traceID string) map[string]string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if fmt.Sprintf("%x", s.TraceId) == traceID && s.Kind == tracepb.Span_SPAN_KIND_SERVER {
			m := map[string]string{}
			for _, a := range s.Attributes {
				m[a.Key] = a.Value.GetStringValue()
			}
			return m
		}
	}
	t.Fatalf("there is no trace %s", traceID)
	return nil
}

// clusterIssuer is the issuer of a cluster on this machine. It tells what it was
// asked with.
type clusterIssuer struct {
	*httptest.Server
	signer *token.ServiceAccountSigner
	caFile string
	mu     sync.Mutex
	traced bool
}

func newClusterIssuer(t *testing.T) *clusterIssuer {
	t.Helper()
	i := &clusterIssuer{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.traced = i.traced || r.Header.Get("Traceparent") != ""
		i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys?sig=in-the-query"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		keys, err := i.signer.JWKS()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write(keys)
	})
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i.signer, err = token.NewServiceAccountSigner(i.URL, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if err != nil {
		t.Fatal(err)
	}
	i.caFile = filepath.Join(t.TempDir(), "issuer.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})
	if err := os.WriteFile(i.caFile, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *clusterIssuer) token(t *testing.T, name string) string {
	t.Helper()
	raw, err := i.signer.Token("shop", name, "api://AzureADTokenExchange", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// journeys sends requests, each under a trace of its own.
type journeys struct {
	t      *testing.T
	client *http.Client
}

// send sends a request and gives its trace and its answer, which must have one
// of the statuses.
func (j journeys) send(method, address, bearer, body string, statuses ...int) (traceID string, answer map[string]any) {
	j.t.Helper()
	r, err := http.NewRequestWithContext(j.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		j.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if bearer == "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	traceID = strings.ReplaceAll(uuid.NewString(), "-", "")
	r.Header.Set("Traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")
	r.Header.Set("Client-Request-Id", "aaaaaaaa-0000-4000-8000-000000000001")
	resp, err := j.client.Do(r)
	if err != nil {
		j.t.Fatal(err)
	}
	answer = decode(j.t, resp)
	if !slices.Contains(statuses, resp.StatusCode) {
		j.t.Fatalf("%s %s: %d %v", method, address, resp.StatusCode, answer)
	}
	return traceID, answer
}

// traced are the traces of some requests, and what must be in none of them.
type traced struct {
	bySecret, role, first, again, other, read, denied string
	clientID                                          string
	secrets                                           map[string]string
}

// signature is the part of a token that cannot be guessed.
func signature(jwt string) string { return jwt[strings.LastIndex(jwt, "."):] }

// travel has an operator make an identity that trusts the issuer and may read a
// vault's secrets, and a workload become it.
func (j journeys) travel(env Environment, issuer *clusterIssuer) (got traced) {
	j.t.Helper()
	signIn := func(form url.Values, status int) (string, map[string]any) {
		j.t.Helper()
		form.Set("grant_type", "client_credentials")
		return j.send(http.MethodPost, env.Endpoints.ActiveDirectory+"/"+env.TenantID+"/oauth2/v2.0/token", "", form.Encode(), status)
	}
	trace, answer := signIn(url.Values{"client_id": {env.Bootstrap.ClientID}, "client_secret": {env.Bootstrap.ClientSecret},
		"scope": {env.Endpoints.ResourceManager + "/.default"}}, 200)
	operator := answer["access_token"].(string)
	got.bySecret = trace

	group := env.Endpoints.ResourceManager + "/subscriptions/" + env.SubscriptionID + "/resourceGroups/rg"
	put := func(address, version, body string) (string, map[string]any) {
		j.t.Helper()
		return j.send(http.MethodPut, address+"?api-version="+version, operator, body, 200, 201)
	}
	put(group, "2022-09-01", `{"location":"westeurope"}`)
	identity := group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders"
	_, made := put(identity, "2023-01-31", `{"location":"westeurope"}`)
	who := made["properties"].(map[string]any)
	got.clientID = who["clientId"].(string)
	put(identity+"/federatedIdentityCredentials/cluster", "2023-01-31", fmt.Sprintf(
		`{"properties":{"issuer":%q,"subject":"system:serviceaccount:shop:orders","audiences":["api://AzureADTokenExchange"]}}`, issuer.URL))
	vault := group + "/providers/Microsoft.KeyVault/vaults/greetings"
	put(vault, "2023-07-01", fmt.Sprintf(
		`{"location":"westeurope","properties":{"tenantId":%q,"sku":{"family":"A","name":"standard"},"enableRbacAuthorization":true}}`, env.TenantID))
	got.role, _ = put(vault+"/providers/Microsoft.Authorization/roleAssignments/"+uuid.NewString(), "2022-04-01", fmt.Sprintf(
		`{"properties":{"principalId":%q,"roleDefinitionId":"/subscriptions/%s/providers/Microsoft.Authorization/roleDefinitions/%s"}}`,
		who["principalId"], env.SubscriptionID, azure.RoleKeyVaultSecretsUser))

	workload := func(name string, status int) (trace, assertion string, answer map[string]any) {
		j.t.Helper()
		assertion = issuer.token(j.t, name)
		trace, answer = signIn(url.Values{
			"client_id": {got.clientID}, "scope": {"https://vault.azure.net/.default"}, "client_assertion": {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}, status)
		return trace, assertion, answer
	}
	var assertion, refused string
	got.first, assertion, answer = workload("orders", 200)
	got.again, _, _ = workload("orders", 200)
	got.other, refused, _ = workload("another", 401)
	bearer := answer["access_token"].(string)
	secret := "https://greetings." + env.Endpoints.VaultSuffix + "/secrets/greeting?api-version=7.5"
	got.read, _ = j.send(http.MethodGet, secret, bearer, "", 404)
	got.denied, _ = j.send(http.MethodPut, secret, bearer, `{"value":"of-the-vault"}`, 403)
	got.secrets = map[string]string{
		"the operator's secret": env.Bootstrap.ClientSecret, "the operator's token": signature(operator), "an assertion": signature(assertion),
		"a refused one": signature(refused), "a token": signature(bearer), "a value": "of-the-vault", "a query": "in-the-query",
	}
	return got
}

// TestTraces: one workload's token is one trace, in which its journey reads in
// order; so are a role assignment and the reading of a secret. No trace holds
// what would let somebody sign in.
func TestTraces(t *testing.T) {
	otlp, issuer := newCollector(t), newClusterIssuer(t)
	// Variables count only for what the configuration leaves open.
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	c := start(t, t.TempDir(), func(cfg *Config) {
		cfg.Tracing = TracingConfig{Enabled: true, OTLPEndpoint: otlp.URL}
		cfg.IssuerAllow, cfg.IssuerCAFile = []string{"127.0.0.1/32"}, issuer.caFile
	})
	j := journeys{t, c.client(t)}
	traces := j.travel(c.Env(), issuer)
	probe, err := j.client.Get("https://" + c.Env().Domain + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	probe.Body.Close()
	if err := c.stop(); err != nil { // which sends what is left
		t.Fatal(err)
	}

	const token = `POST /{tenant}/oauth2/v2.0/token
  parse
    tenant
  grant
    authenticate
  resource
  mint
  audit
`
	for name, want := range map[string]struct{ trace, tree string }{
		"a token by secret":        {traces.bySecret, token},
		"a workload's first token": {traces.first, strings.Replace(token, "authenticate\n", "authenticate\n      GET ISSUER\n      GET ISSUER\n", 1)},
		"its second":               {traces.again, token},
		"one that is refused": {traces.other, `POST /{tenant}/oauth2/v2.0/token
  parse
    tenant
  grant !AADSTS700213
    authenticate !AADSTS700213
  audit
`},
		"a role assignment": {traces.role, `PUT /{scope}/providers/Microsoft.Authorization/roleAssignments/{name}
  authenticate
  authorize
  hook
    transaction
`},
		"a secret": {traces.read, `GET /secrets/{name}
  authenticate
  authorize
  operation !SecretNotFound
`},
		"a secret that may not be written": {traces.denied, `PUT /secrets/{name}
  authenticate
  authorize !Forbidden
`},
	} {
		got := strings.ReplaceAll(otlp.tree(want.trace), strings.TrimPrefix(issuer.URL, "https://"), "ISSUER")
		if diff := cmp.Diff(want.tree, got); diff != "" {
			t.Errorf("the trace of %s (-want +got):\n%s", name, diff)
		}
	}
	facts := otlp.root(t, traces.first)
	for name, want := range map[string]string{
		"lanyard.plane": "entra", "lanyard.correlation_id": "aaaaaaaa-0000-4000-8000-000000000001", "lanyard.result": "issued",
		"lanyard.app_id": traces.clientID, "lanyard.token.credential": "cluster", "lanyard.token.assertionIssuer": issuer.URL,
	} {
		if facts[name] != want {
			t.Errorf("%s is %q, want %q", name, facts[name], want)
		}
	}
	for name, secret := range traces.secrets {
		if strings.Contains(otlp.raw.String(), secret) {
			t.Errorf("a trace holds %s", name)
		}
	}
	if strings.Contains(otlp.raw.String(), "/healthz") {
		t.Error("probes are traced")
	}
	if issuer.traced {
		t.Error("the issuer learns of the trace")
	}
}

// TestTracesThroughIMDS: a machine's request for a token, and the token service's
// part in it, are one trace.
func TestTracesThroughIMDS(t *testing.T) {
	otlp := newCollector(t)
	c := start(t, t.TempDir(), func(cfg *Config) {
		cfg.Tracing = TracingConfig{Enabled: true, OTLPEndpoint: otlp.URL}
		cfg.IMDS = IMDSConfig{Listen: "127.0.0.1:0", Identities: []string{"nobody"}}
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		*c.Env().Endpoints.IMDS+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net", nil)
	if err != nil {
		t.Fatal(err)
	}
	const trace = "0af7651916cd43dd8448eb211c80319c"
	r.Header.Set("Metadata", "true")
	r.Header.Set("Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	got := otlp.tree(trace)
	for _, want := range []string{"GET\n  POST login.lanyard.localhost", "    POST /{tenant}/oauth2/v2.0/token\n      parse", "      audit\n",
		"    GET /{scope}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"} {
		if !strings.Contains(got, want) {
			t.Errorf("the trace lacks %q:\n%s", want, got)
		}
	}
}

// TestNoTraces: by default nothing is traced, whatever the variables say.
func TestNoTraces(t *testing.T) {
	otlp := newCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.URL)
	c := start(t, t.TempDir(), nil)
	if c.tracer != nil {
		t.Error("there is a tracer")
	}
	env := c.Env()
	if status, answer := c.token(t, env.Endpoints.ActiveDirectory, env.Bootstrap.ClientSecret, env.Endpoints.ResourceManager); status != 200 {
		t.Fatal(status, answer)
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if len(otlp.spans) != 0 {
		t.Errorf("%d spans were sent", len(otlp.spans))
	}
}

// TestCollectorThatIsAway: the cloud starts, serves and stops without its
// collector.
func TestCollectorThatIsAway(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) {
		cfg.Tracing = TracingConfig{Enabled: true, OTLPEndpoint: "http://127.0.0.1:1"}
		cfg.ShutdownGrace = Duration(100 * time.Millisecond)
	})
	env := c.Env()
	if status, answer := c.token(t, env.Endpoints.ActiveDirectory, env.Bootstrap.ClientSecret, env.Endpoints.ResourceManager); status != 200 {
		t.Fatal(status, answer)
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(c.logs.String(), "traces could not be sent") {
		t.Error("the log does not say that traces were lost")
	}
}

func TestTracingConfig(t *testing.T) {
	for yaml, want := range map[string]string{
		"{enabled: true}": "",
		"{enabled: true, otlpEndpoint: 'http://collector:4318', sampleRatio: 0.1}":        "",
		"{enabled: true, otlpEndpoint: 'http://localhost:4318', headers: {a: b}}":         "",
		"{enabled: true, otlpEndpoint: 'https://collector', headers: {authorization: x}}": "",
		"{enabled: true, otlpEndpoint: 'http://collector', headers: {authorization: x}}":  "over https or to this machine only",
		"{enabled: true, sampleRatio: 2}":                                                 "from 0 to 1",
		"{enabled: true, otlpEndpoint: 'collector:4318'}":                                 "want a URL",
		"{enabled: true, otlpEndpoint: 'https://user:password@collector'}":                "want a URL",
		"{otlpEndpoint: 'https://collector'}":                                             `"tracing.enabled"`,
		"{enabled: true, endpoint: 'https://collector'}":                                  `did you mean "otlpEndpoint"`,
		"{enabled: true, headers: [a]}":                                                   "want a group of fields",
		"{enabled: true, sampleRatio: often}":                                             "want a number",
	} {
		cfg, err := ParseConfig([]byte("dataDir: data\ntracing: " + yaml))
		if err == nil {
			cfg.OwnSealingKey = true
			_, err = cfg.complete()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", yaml, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "password") {
			t.Errorf("%s: the error repeats a password", yaml)
		}
	}
}
