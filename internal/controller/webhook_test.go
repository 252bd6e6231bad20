package controller

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

const (
	clientID = "5b3fc2f4-9d2c-4a0e-8a0f-1d7d3a1b6c11"
	tenantID = "2f0b4a5e-1d5d-4f3a-9f59-0a8f6c2b7e22"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(benchServer); kind != "" {
		serveBench(kind)
		return
	}
	goleak.VerifyTestMain(m)
}

// running is a webhook that serves, and a client that trusts it as the API
// server does.
type running struct {
	*Webhook
	client *http.Client
	url    string
}

func testConfig(tb testing.TB, api *fakeAPI) WebhookConfig {
	tb.Helper()
	return WebhookConfig{
		Kubernetes: api.config(), Namespace: "azwi", Log: slog.New(slog.DiscardHandler),
		Settings: workloadidentity.Settings{TenantID: tenantID, AuthorityHost: "https://login.microsoftonline.com/"},
		Addr:     "127.0.0.1:0", HealthAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0",
	}
}

// start runs a webhook with its own certificate until the test ends, and waits
// until it is ready.
func start(tb testing.TB, api *fakeAPI, c WebhookConfig, adjust ...func(*Webhook)) *running {
	tb.Helper()
	r := launch(tb, c, adjust...)
	eventually(tb, r.ready)
	if c.CertDir == "" {
		r.trust(tb, bundleOf(tb, api, 0))
	}
	return r
}

// launch is start without the waiting.
func launch(tb testing.TB, c WebhookConfig, adjust ...func(*Webhook)) *running {
	tb.Helper()
	w, err := NewWebhook(c)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range adjust {
		f(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	r := &running{Webhook: w, client: &http.Client{}, url: fmt.Sprintf("https://%v%s", w.Addr("webhook"), MutatePath)}
	tb.Cleanup(func() {
		r.client.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ran; err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	return r
}

// ready gives what the webhook waits for as an error.
func (r *running) ready() error {
	resp, err := http.Get(fmt.Sprintf("http://%v/readyz", r.Addr("health")))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("not ready: %s", body)
	}
	return err
}

// trust makes the client what the API server is: one that knows the webhook by
// the bundle and the service's name.
func (r *running) trust(tb testing.TB, bundle []byte) {
	tb.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		tb.Fatal("no authority")
	}
	r.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: testDNS}}
}

// serves gives the certificate that the webhook serves with.
func (r *running) serves(t *testing.T) []byte {
	t.Helper()
	c, err := tls.Dial("tcp", r.Addr("webhook").String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is looked at
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Raw
}

func bundleOf(tb testing.TB, api *fakeAPI, webhook int) []byte {
	tb.Helper()
	hooks := api.get(configPath)["webhooks"].([]any)
	text, _ := hooks[webhook].(map[string]any)["clientConfig"].(map[string]any)["caBundle"].(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// eventually waits for a condition.
func eventually(tb testing.TB, check func() error) {
	tb.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatal(err)
		}
	}
}

func (r *running) plain(tb testing.TB, server, path string) (int, string) {
	tb.Helper()
	resp, err := http.Get(fmt.Sprintf("http://%v%s", r.Addr(server), path))
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// response is the answer's part of an AdmissionReview.
type response struct {
	UID       string
	Allowed   bool
	PatchType string
	Patch     []byte
	Warnings  []string
	Status    struct {
		Code    int
		Message string
	}
}

func (r *running) post(tb testing.TB, body string) response {
	tb.Helper()
	resp, err := r.client.Post(r.url+"?timeout=10s", "application/json", strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Kind, APIVersion string
		Response         response
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		tb.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || answer.Kind != "AdmissionReview" || resp.ProtoMajor != 1 {
		tb.Errorf("status %d, kind %q, %s", resp.StatusCode, answer.Kind, resp.Proto)
	}
	return answer.Response
}

// review is what an API server sends for a pod: a whole one, with managed fields
// and all that admission adds before webhooks.
func review(serviceAccount string, containers int) string {
	var list, fields []string
	for i := range containers {
		list = append(list, fmt.Sprintf(`{"name":"c%d","image":"registry.example.com/app:v1","ports":[{"name":"http","containerPort":80,"protocol":"TCP"}],
			"env":[{"name":"POD","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],
			"resources":{"limits":{"cpu":"100m","memory":"128Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},
			"volumeMounts":[{"name":"kube-api-access-x7x2x","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],
			"livenessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},
			"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent",
			"securityContext":{"capabilities":{"drop":["ALL"]},"runAsNonRoot":true,"allowPrivilegeEscalation":false}}`, i))
		fields = append(fields, fmt.Sprintf(`"k:{\"name\":\"c%d\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"POD\"}":{".":{},"f:name":{},"f:valueFrom":{".":{},"f:fieldRef":{}}}},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},"f:resources":{".":{},"f:limits":{".":{},"f:cpu":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}`, i))
	}
	pod := fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"generateName":"web-6d4b75cb6d-","namespace":"ns","creationTimestamp":null,
		"labels":{"app":"web","pod-template-hash":"6d4b75cb6d","azure.workload.identity/use":"true"},
		"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-6d4b75cb6d","uid":"f2c1d1f8-0a49-4f8e-8f3c-3b8b7f6d8a10","controller":true,"blockOwnerDeletion":true}],
		"managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-03-01T12:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{%s},"f:dnsPolicy":{}}}}]},
		"spec":{"volumes":[{"name":"kube-api-access-x7x2x","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],
		"containers":[%s],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":%q,"serviceAccount":%q,
		"securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],
		"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},"status":{}}`,
		strings.Join(fields, ","), strings.Join(list, ","), serviceAccount, serviceAccount)
	full := fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002",
		"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"requestKind":{"group":"","version":"v1","kind":"Pod"},
		"requestResource":{"group":"","version":"v1","resource":"pods"},"namespace":"ns","operation":"CREATE",
		"userInfo":{"username":"system:serviceaccount:kube-system:replicaset-controller","uid":"a7e0ab33-5f29-11e8-8a3c-36e6bb280816","groups":["system:serviceaccounts","system:authenticated"]},
		"object":%s,"oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}`, pod)
	var compact bytes.Buffer // as it comes over the wire
	if err := json.Compact(&compact, []byte(full)); err != nil {
		panic(err)
	}
	return compact.String()
}

func cluster(tb testing.TB) *fakeAPI {
	tb.Helper()
	api := newFakeAPI(tb)
	api.put(configPath, configuration())
	api.put(accountsPath+"app", serviceAccount("app", map[string]any{workloadidentity.ClientIDAnnotation: clientID}))
	api.put(accountsPath+"default", serviceAccount("default", nil))
	return api
}

func TestAdmission(t *testing.T) {
	api := cluster(t)
	w := start(t, api, testConfig(t, api))
	eventually(t, func() error {
		if !w.accounts.synced.Load() {
			return fmt.Errorf("the service accounts are not in memory")
		}
		return nil
	})
	got := w.post(t, review("app", 2))
	if !got.Allowed || got.UID != "705ab4f5-6393-11e8-b7cc-42010a800002" || got.PatchType != "JSONPatch" || len(got.Warnings) != 0 {
		t.Fatalf("%+v", got)
	}
	patch, err := jsonpatch.DecodePatch(got.Patch)
	if err != nil {
		t.Fatal(err)
	}
	var sent struct {
		Request struct{ Object json.RawMessage }
	}
	if err := json.Unmarshal([]byte(review("app", 2)), &sent); err != nil {
		t.Fatal(err)
	}
	pod, err := patch.Apply(sent.Request.Object)
	if err != nil || !strings.Contains(string(pod), clientID) {
		t.Errorf("%v\n%s", err, pod)
	}
	// The default account, by name and without; one without an identity is warned of.
	for _, name := range []string{"default", ""} {
		if got := w.post(t, review(name, 1)); !got.Allowed || len(got.Warnings) != 1 {
			t.Errorf("account %q: %+v", name, got)
		}
	}
	if api.read(accountsPath+"app") != 0 {
		t.Error("a service account that is known was asked for")
	}
	// What is not the making of a pod is let through as it is.
	if got := w.post(t, strings.Replace(review("app", 1), `"CREATE"`, `"UPDATE"`, 1)); !got.Allowed || got.Patch != nil {
		t.Errorf("an update: %+v", got)
	}
	// And so is a static pod, which the API server would refuse with a token's volume.
	static := strings.Replace(review("", 1), `"labels":`, `"annotations":{"`+workloadidentity.MirrorAnnotation+`":"9a0b"},"labels":`, 1)
	if got := w.post(t, static); !got.Allowed || got.Patch != nil || len(got.Warnings) != 1 {
		t.Errorf("a static pod: %+v", got)
	}
}

func TestAdmissionErrors(t *testing.T) {
	api := cluster(t)
	config := testConfig(t, api)
	logged := &standin.Log{}
	config.Log = slog.New(slog.NewJSONHandler(logged, &slog.HandlerOptions{Level: slog.LevelWarn}))
	w := start(t, api, config)
	for _, tt := range []struct {
		name, body string
		code       int
		message    string
	}{
		{"no JSON", "hello", 400, "reading the AdmissionReview"},
		{"nothing", "", 400, "reading the AdmissionReview"},
		{"another kind", `{"kind":"Pod"}`, 400, `not "Pod"`},
		{"unknown account", review("nobody", 1), 400, `serviceaccounts "nobody" not found`},
		{"bad expiration", strings.Replace(review("app", 1), `"labels":`, `"annotations":{"azure.workload.identity/service-account-token-expiration":"60"},"labels":`, 1), 400, "token expiration 60 not valid"},
		{"large", strings.Repeat(" ", maxReview+1), 413, "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := w.post(t, tt.body)
			if got.Allowed || got.Status.Code != tt.code || !strings.Contains(got.Status.Message, tt.message) {
				t.Errorf("%+v, want %d %q", got, tt.code, tt.message)
			}
		})
	}
	if text := logged.String(); strings.Count(text, "pod denied") != 2 || !strings.Contains(text, "token expiration 60 not valid") {
		t.Errorf("the log of the least level: %s", text)
	}
	api.setFail(accountsPath+"other", 500)
	if got := w.post(t, review("other", 1)); got.Allowed || got.Status.Code != 500 || strings.Contains(got.Status.Message, "out of order") {
		t.Errorf("an API server that fails: %+v", got)
	}
	for kind, want := range map[string]bool{"application/json; charset=utf-8": true, "text/plain": false, "": false} {
		resp, err := w.client.Post(w.url, kind, strings.NewReader(review("app", 1)))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := strings.Contains(string(body), `"allowed":true`); got != want {
			t.Errorf("content type %q: %s", kind, body)
		}
	}
	resp, err := w.client.Get(w.url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %s", resp.Status)
	}
}

// TestServiceAccountsAreFollowed: a new account is found at once, by asking; and
// changes come by themselves.
func TestServiceAccountsAreFollowed(t *testing.T) {
	api := cluster(t)
	w := start(t, api, testConfig(t, api))
	api.put(accountsPath+"new", serviceAccount("new", map[string]any{workloadidentity.ClientIDAnnotation: clientID}))
	if got := w.post(t, review("new", 1)); !got.Allowed || len(got.Warnings) != 0 {
		t.Errorf("%+v", got)
	}
	api.put(accountsPath+"app", serviceAccount("app", map[string]any{workloadidentity.ClientIDAnnotation: "changed"}))
	eventually(t, func() error {
		if got := w.post(t, review("app", 1)); !strings.Contains(string(got.Patch), "changed") {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	api.remove(accountsPath + "app")
	eventually(t, func() error {
		if got := w.post(t, review("app", 1)); got.Allowed {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

func TestNativeSidecarsFollowTheVersion(t *testing.T) {
	for version, native := range map[string]bool{"v1.31.9": false, "v1.32.0": true, "v1.37.2+k3s1": true} {
		api := cluster(t)
		api.version = version
		w := start(t, api, testConfig(t, api))
		if got := w.settings.Load().NativeSidecar; got != native {
			t.Errorf("%s: native sidecars %v", version, got)
		}
	}
}

// TestHealth: alive at once, ready only when an admission would succeed.
func TestHealth(t *testing.T) {
	api := newFakeAPI(t)
	for _, path := range []string{"/version", "/api/v1/serviceaccounts", configPath} {
		api.setFail(path, 503)
	}
	r := launch(t, testConfig(t, api))
	if code, _ := r.plain(t, "health", "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	code, body := r.plain(t, "health", "/readyz")
	for _, want := range []string{"version", "service accounts", "no serving certificate", configurationName} {
		if code != http.StatusServiceUnavailable || !strings.Contains(body, want) {
			t.Errorf("/readyz: %d %s, want %q", code, body, want)
		}
	}
	api.put(configPath, configuration())
	for _, path := range []string{"/version", "/api/v1/serviceaccounts", configPath} {
		api.setFail(path, 0)
	}
	eventually(t, r.ready)
}

func TestMetrics(t *testing.T) {
	api := cluster(t)
	w := start(t, api, testConfig(t, api))
	w.post(t, review("app", 1))
	_, body := w.plain(t, "metrics", "/metrics")
	for _, want := range []string{
		`azwi_mutation_request_bucket{namespace="ns",service_name="webhook",le="0.001"}`,
		`azwi_mutation_request_bucket{namespace="ns",service_name="webhook",le="0.002"}`, // upstream's
		`azwi_mutation_request_bucket{namespace="ns",service_name="webhook",le="0.9"}`,
		`azwi_mutation_request_bucket{namespace="ns",service_name="webhook",le="2.5"}`,
		`lanyard_webhook_unmutated_pods 0`,
		`azwi_mutation_request_count{namespace="ns",service_name="webhook"} 1`,
		`controller_runtime_webhook_requests_total{code="200",webhook="/mutate-v1-pod"} 1`,
		`controller_runtime_webhook_latency_seconds_count{webhook="/mutate-v1-pod"} 1`,
		`controller_runtime_webhook_requests_in_flight{webhook="/mutate-v1-pod"} 0`,
		`controller_runtime_webhook_panics_total 0`, `certwatcher_read_certificate_total 0`,
		`rest_client_requests_total{code="200"`, `go_goroutines`, `process_cpu_seconds_total`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	m := newMetrics()
	for i := range maxNamespaces + 10 {
		m.observe(fmt.Sprint(i), time.Millisecond)
	}
	if len(m.namespaces) > maxNamespaces+1 {
		t.Errorf("%d namespaces", len(m.namespaces))
	}
}

// TestReplicasShareACertificate: two that start at once end up with one
// authority, in every webhook of the configuration, whose other fields stay.
func TestReplicasShareACertificate(t *testing.T) {
	api := cluster(t)
	var replicas [2]*running
	var both sync.WaitGroup
	for i := range replicas {
		both.Go(func() { replicas[i] = start(t, api, testConfig(t, api)) })
	}
	both.Wait()
	for i, r := range replicas {
		r.client.CloseIdleConnections()
		r.trust(t, bundleOf(t, api, i))
		eventually(t, func() error { // one of them may have a moment to go
			if !bytes.Equal(replicas[0].serves(t), replicas[1].serves(t)) {
				return fmt.Errorf("two certificates")
			}
			return nil
		})
		if got := r.post(t, review("app", 1)); !got.Allowed {
			t.Errorf("%+v", got)
		}
	}
	hook := api.get(configPath)["webhooks"].([]any)[1].(map[string]any)
	if hook["fromTheFuture"] != true || hook["clientConfig"].(map[string]any)["service"] == nil {
		t.Errorf("the configuration lost fields: %v", hook)
	}
}

// TestCertificateIsRepaired: whoever overwrites the bundle or deletes the Secret
// causes no outage.
func TestCertificateIsRepaired(t *testing.T) {
	api := cluster(t)
	w := start(t, api, testConfig(t, api))
	before := bundleOf(t, api, 0)
	eventually(t, func() error { // the watch must be there to see it
		api.mu.Lock()
		defer api.mu.Unlock()
		if len(api.watches) < 3 {
			return fmt.Errorf("%d watches", len(api.watches))
		}
		return nil
	})
	api.put(configPath, configuration())
	eventually(t, func() error {
		if !bytes.Equal(bundleOf(t, api, 0), before) || !bytes.Equal(bundleOf(t, api, 1), before) {
			return fmt.Errorf("the bundle is not back")
		}
		return nil
	})
	api.remove(secretPath)
	eventually(t, func() error {
		if bundle := bundleOf(t, api, 0); bytes.Equal(bundle, before) {
			return fmt.Errorf("no new authority")
		}
		return nil
	})
	eventually(t, func() error {
		w.client.CloseIdleConnections()
		w.trust(t, bundleOf(t, api, 0))
		resp, err := w.client.Post(w.url, "application/json", strings.NewReader(review("app", 1)))
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

func TestCertificateFiles(t *testing.T) {
	api := cluster(t)
	c := testConfig(t, api)
	c.CertDir = t.TempDir()
	if _, err := NewWebhook(c); err == nil || !strings.Contains(err.Error(), "tls.crt") {
		t.Errorf("no certificate: %v", err)
	}
	bundle := writePair(t, c.CertDir)
	w := start(t, api, c)
	w.trust(t, bundle)
	if got := w.post(t, review("app", 1)); !got.Allowed {
		t.Errorf("%+v", got)
	}
	if api.get(secretPath) != nil || api.written("") != 0 {
		t.Error("the webhook wrote to the cluster")
	}
}

func TestNewWebhookRefuses(t *testing.T) {
	api := newFakeAPI(t)
	c := testConfig(t, api)
	c.Settings.TenantID = ""
	if _, err := NewWebhook(c); err == nil || !strings.Contains(err.Error(), "AZURE_TENANT_ID") {
		t.Errorf("no tenant: %v", err)
	}
	c = testConfig(t, api)
	c.Namespace = ""
	if _, err := NewWebhook(c); err == nil || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("no namespace: %v", err)
	}
	c = testConfig(t, api)
	c.HealthAddr = strings.TrimPrefix(api.URL, "http://") // taken
	if _, err := NewWebhook(c); err == nil || !strings.Contains(err.Error(), "listening for health") {
		t.Errorf("a taken address: %v", err)
	}
}
