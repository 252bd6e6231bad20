package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

// running is a cloud under test.
type running struct {
	*Server
	logs *standin.Log
	stop func() error
}

// start runs a cloud on dir until stop, or the end of the test.
func start(t *testing.T, dir string, change func(*Config)) *running {
	t.Helper()
	cfg := UpDefaults(dir)
	logs := &standin.Log{}
	log, err := NewLogger(logs, "debug", "text")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = log
	if change != nil {
		change(&cfg)
	}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-ran
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if t.Failed() {
			t.Logf("logs:\n%s", logs)
		}
	})
	select {
	case <-s.Ready():
	case err := <-ran:
		t.Fatalf("the cloud ended before it was ready: %v", err)
	}
	return &running{Server: s, logs: logs, stop: stop}
}

// client trusts the cloud's authority alone and takes every name to its
// listener.
func (r *running) client(t *testing.T) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(r.Env().CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, r.Env().DialAddress())
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// token signs in with a secret.
func (r *running) token(t *testing.T, authority, secret, resource string) (int, map[string]any) {
	t.Helper()
	env := r.Env()
	resp, err := r.client(t).PostForm(authority+"/"+env.TenantID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {env.Bootstrap.ClientID}, "client_secret": {secret},
		"scope": {resource + "/.default"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, decode(t, resp)
}

func decode(t *testing.T, resp *http.Response) map[string]any {
	t.Helper()
	defer resp.Body.Close()
	var doc map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestCloud(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	c := start(t, dir, nil)
	env := c.Env()

	written, err := LoadEnvironment(filepath.Join(dir, "env.json"))
	if diff := cmp.Diff(env, written); err != nil || diff != "" {
		t.Errorf("the environment file: %v\n%s", err, diff)
	}

	// The bootstrap principal gets a token, and is an Owner at the root.
	status, answer := c.token(t, env.Endpoints.ActiveDirectory, env.Bootstrap.ClientSecret, env.Endpoints.ResourceManager)
	raw, _ := answer["access_token"].(string)
	if status != http.StatusOK || raw == "" {
		t.Fatalf("token: %d %v", status, answer)
	}
	if status, answer := c.token(t, env.Endpoints.ActiveDirectory, "wrong", env.Endpoints.ResourceManager); status != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d %v", status, answer)
	}
	get := func(url, bearer string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		resp, err := c.client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != 2 {
			t.Errorf("%s over %s, want HTTP/2", url, resp.Proto)
		}
		return resp.StatusCode, decode(t, resp)
	}
	groups := env.Endpoints.ResourceManager + "/subscriptions/" + env.SubscriptionID + "/resourcegroups?api-version=2021-04-01"
	if status, doc := get(groups, raw); status != http.StatusOK {
		t.Errorf("resource groups: %d %v", status, doc)
	}
	if status, doc := get(groups, ""); status != http.StatusUnauthorized {
		t.Errorf("resource groups without a token: %d %v", status, doc)
	}
	// A token for the Resource Manager opens no vault, and the other way around.
	if status, answer = c.token(t, env.Endpoints.ActiveDirectory, env.Bootstrap.ClientSecret, "https://vault.azure.net"); status != http.StatusOK {
		t.Fatalf("token for vaults: %d %v", status, answer)
	}
	if status, doc := get(groups, answer["access_token"].(string)); status != http.StatusUnauthorized {
		t.Errorf("resource groups with a vault's token: %d %v", status, doc)
	}

	// By the alias, and by the proxy to it: what unmodified SDKs do.
	if status, answer := c.token(t, "https://login-us.microsoftonline.com", env.Bootstrap.ClientSecret, env.Endpoints.ResourceManager); status != http.StatusOK {
		t.Errorf("token by the alias: %d %v", status, answer)
	}
	tr := c.client(t).Transport.(*http.Transport).Clone()
	defer tr.CloseIdleConnections()
	tr.DialContext = nil
	tr.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(env.Proxy) }
	for _, name := range []string{"https://login-us.microsoftonline.com", env.Endpoints.ActiveDirectory} {
		resp, err := (&http.Client{Transport: tr}).Get(name + "/" + env.TenantID + "/v2.0/.well-known/openid-configuration")
		if err != nil {
			t.Fatal(err)
		}
		if doc := decode(t, resp); !strings.HasPrefix(doc["token_endpoint"].(string), name) {
			t.Errorf("discovery at %s names %v", name, doc["token_endpoint"])
		}
	}

	// Health and metrics, by the domain and by an address.
	for _, host := range []string{env.Domain, "127.0.0.1"} {
		if status, doc := get("https://"+host+"/readyz", ""); status != http.StatusOK {
			t.Errorf("readyz: %d %v", status, doc)
		}
	}
	resp, err := c.client(t).Get("https://" + env.Domain + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lanyard_tokens_total", "lanyard_http_requests_total", "lanyard_store_view_age_seconds", "lanyard_audit_records_total", "lanyard_build_info"} {
		if !bytes.Contains(metrics, []byte("\n"+name)) {
			t.Errorf("there is no metric %s", name)
		}
	}

	// Nothing secret is in any file of the data directory but the environment
	// file, nor in the logs.
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	secrets := []string{env.Bootstrap.ClientSecret, raw}
	for _, secret := range secrets {
		if strings.Contains(c.logs.String(), secret) {
			t.Error("the logs hold a secret or a token")
		}
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "env.json" {
			return err
		}
		b, err := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s holds a secret or a token", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRestart: a later start keeps every id, key and address, also after a crash.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, nil)
	before := first.Env()
	jwks := func(c *running) string {
		t.Helper()
		resp, err := c.client(t).Get(c.Env().Endpoints.ActiveDirectory + "/" + before.TenantID + "/discovery/v2.0/keys")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	keys := jwks(first)
	ca, err := os.ReadFile(before.CAFile)
	if err != nil {
		t.Fatal(err)
	}

	// The directory is in use.
	if _, err := New(t.Context(), UpDefaults(dir)); !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second cloud on the same data directory: %v", err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}

	second := start(t, dir, nil)
	if diff := cmp.Diff(before, second.Env()); diff != "" {
		t.Errorf("the environment has changed:\n%s", diff)
	}
	if got := jwks(second); got != keys {
		t.Errorf("the signing keys have changed:\n%s\n%s", keys, got)
	}
	if got, _ := os.ReadFile(before.CAFile); !bytes.Equal(got, ca) {
		t.Error("the authority has changed")
	}
	if status, answer := second.token(t, before.Endpoints.ActiveDirectory, before.Bootstrap.ClientSecret, before.Endpoints.ResourceManager); status != http.StatusOK {
		t.Errorf("the secret after a restart: %d %v", status, answer)
	}
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}

	// Without the environment file there is a new secret, and the former is over.
	if err := os.Remove(filepath.Join(dir, "env.json")); err != nil {
		t.Fatal(err)
	}
	third := start(t, dir, nil)
	after := third.Env()
	if after.Bootstrap.ClientSecret == before.Bootstrap.ClientSecret || after.Bootstrap.ClientID != before.Bootstrap.ClientID {
		t.Errorf("after the loss of the environment file: %+v", after.Bootstrap)
	}
	for secret, want := range map[string]int{after.Bootstrap.ClientSecret: http.StatusOK, before.Bootstrap.ClientSecret: http.StatusUnauthorized} {
		if status, answer := third.token(t, after.Endpoints.ActiveDirectory, secret, after.Endpoints.ResourceManager); status != want {
			t.Errorf("token: %d %v, want %d", status, answer, want)
		}
	}
	if err := third.stop(); err != nil {
		t.Fatal(err)
	}

	// Another sealing key opens nothing.
	if err := os.WriteFile(filepath.Join(dir, "sealing.key"), []byte(store.NewSealingKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := New(t.Context(), UpDefaults(dir)); err == nil {
		t.Error("the cloud started with another sealing key")
		s.Close()
	}
}

// TestConfiguredCloud has what `serve` can configure: ids, its own certificate,
// a metrics listener, a public port.
func TestConfiguredCloud(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(store.NewSealingKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	authorityStore := openStore(t, t.TempDir())
	a, err := openAuthority(t.Context(), authorityStore, azure.Cloud{Domain: "d.test", Port: 1}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	files := TLSConfig{CertFile: filepath.Join(t.TempDir(), "cert.pem"), KeyFile: key + ".pem", CAFile: key + ".ca"}
	writeKeyPair(t, a, files)
	if err := os.WriteFile(files.CAFile, a.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, t.TempDir(), func(cfg *Config) {
		*cfg = Config{
			DataDir: cfg.DataDir, Logger: cfg.Logger, Domain: "D.test", PublicPort: 443, SealingKeyFile: key, TLS: files,
			Metrics:   MetricsConfig{Listen: "127.0.0.1:0"},
			Bootstrap: BootstrapConfig{TenantID: strings.ToUpper(guid), SubscriptionID: guid},
		}
	})
	env := c.Env()
	if env.TenantID != guid || env.SubscriptionID != guid || env.Endpoints.ActiveDirectory != "https://login.d.test" || env.Proxy != "" {
		t.Errorf("environment: %+v", env)
	}
	if status, answer := c.token(t, env.Endpoints.ActiveDirectory, env.Bootstrap.ClientSecret, env.Endpoints.ResourceManager); status != http.StatusOK {
		t.Errorf("token: %d %v", status, answer)
	}
	for path, want := range map[string]int{"/metrics": http.StatusOK, "/readyz": http.StatusOK, "/other": http.StatusNotFound} {
		resp, err := http.Get("http://" + c.metricsListener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s on the metrics listener: %s, want %d", path, resp.Status, want)
		}
	}
	resp, err := c.client(t).Get("https://d.test/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("metrics on the HTTPS port, beside a listener of their own: %s", resp.Status)
	}
}

// TestStopLetsRequestsFinish: a request that has begun is answered, though the
// cloud was told to stop meanwhile.
func TestStopLetsRequestsFinish(t *testing.T) {
	c := start(t, t.TempDir(), nil)
	env := c.Env()
	pr, pw := io.Pipe()
	type result struct {
		status int
		err    error
	}
	answered := make(chan result, 1)
	client := c.client(t)
	go func() {
		req, err := http.NewRequest(http.MethodPost, env.Endpoints.ActiveDirectory+"/"+env.TenantID+"/oauth2/v2.0/token", pr)
		if err != nil {
			answered <- result{err: err}
			return
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client.Do(req)
		if err != nil {
			answered <- result{err: err}
			return
		}
		resp.Body.Close()
		answered <- result{status: resp.StatusCode}
	}()
	_, _ = io.WriteString(pw, "grant_type=client_credentials&client_id="+env.Bootstrap.ClientID+"&")
	inFlight := c.https.Handler.(*front).metrics.inFlight.WithLabelValues(string(planeEntra))
	waitFor(t, func() bool { return value(t, inFlight) == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- c.stop() }()
	waitFor(t, func() bool { return c.health.stopping.Load() })
	_, _ = io.WriteString(pw, "client_secret="+url.QueryEscape(env.Bootstrap.ClientSecret)+"&scope="+url.QueryEscape(env.Endpoints.ResourceManager+"/.default"))
	pw.Close()
	if r := <-answered; r.err != nil || r.status != http.StatusOK {
		t.Errorf("the request that was under way: %d, %v", r.status, r.err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// TestStartEnds: a start that is told to stop leaves nothing behind.
func TestStartEnds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := New(ctx, UpDefaults(dir)); err == nil {
		s.Close()
		t.Error("a cloud was started in an ended context")
	}
	// A listener that cannot be had frees the data directory.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := UpDefaults(dir)
	cfg.Listen = taken.Addr().String()
	if s, err := New(t.Context(), cfg); err == nil {
		s.Close()
		t.Error("a cloud was started on a taken port")
	}
	s, err := New(t.Context(), UpDefaults(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing a cloud that never ran: %v", err)
	}
}

// dialTCP opens a bare connection.
func dialTCP(t *testing.T, c *running) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.Env().DialAddress())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// dialTLS opens a connection for HTTP/1.1.
func dialTLS(t *testing.T, c *running) *tls.Conn {
	t.Helper()
	cfg := c.client(t).Transport.(*http.Transport).TLSClientConfig.Clone()
	cfg.ServerName, cfg.NextProtos = c.Env().Domain, []string{"http/1.1"}
	conn := tls.Client(dialTCP(t, c), cfg)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn
}

// waitFor waits for a condition.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("the condition did not come true")
		}
	}
}
