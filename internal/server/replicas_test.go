package server

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/lanyard-id/lanyard/internal/store"
)

// startEtcd runs an etcd cluster of one, and gives its endpoint.
func startEtcd(t *testing.T) string {
	t.Helper()
	c := embed.NewConfig()
	c.Dir = t.TempDir()
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	c.TickMs, c.ElectionMs = 10, 100
	anyPort := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c.ListenClientUrls, c.AdvertiseClientUrls = anyPort, anyPort
	c.ListenPeerUrls = anyPort
	c.UnsafeNoFsync = true
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	<-etcd.Server.ReadyNotify()
	return "http://" + etcd.Clients[0].Addr().String()
}

// TestReplicas: replicas over one etcd cluster are one cloud. The first start is
// one of them's alone, whoever comes first; each accepts the other's tokens and
// presents certificates of the same authority.
func TestReplicas(t *testing.T) {
	endpoint := startEtcd(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(store.NewSealingKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	dirs := []string{t.TempDir(), t.TempDir()}
	replica := func(dir string, renew bool) *running {
		t.Helper()
		return start(t, dir, func(cfg *Config) {
			*cfg = Config{
				DataDir: dir, Logger: cfg.Logger, SealingKeyFile: key, PublicPort: 443,
				Store: StoreConfig{Endpoints: []string{endpoint}}, Bootstrap: BootstrapConfig{RenewSecret: renew},
			}
		})
	}
	// Both at once: a test that runs them in turn would not see them race.
	type started struct {
		s   *Server
		err error
	}
	first := make(chan started, len(dirs))
	for _, dir := range dirs {
		cfg := Config{DataDir: dir, SealingKeyFile: key, PublicPort: 443, Store: StoreConfig{Endpoints: []string{endpoint}}}
		go func() {
			s, err := New(t.Context(), cfg)
			first <- started{s, err}
		}()
	}
	secrets := 0
	var env Environment
	for range dirs {
		got := <-first
		if got.err != nil {
			t.Fatal(got.err)
		}
		if e := got.s.Env(); e.Bootstrap.ClientSecret != "" {
			secrets++
			env = e
			if err := e.Write(got.s.EnvFile()); err != nil {
				t.Error(err)
			}
		}
		if err := got.s.Close(); err != nil {
			t.Error(err)
		}
	}
	if secrets != 1 {
		t.Fatalf("%d replicas made a secret, want 1", secrets)
	}

	a, b := replica(dirs[0], false), replica(dirs[1], false)
	same := func(e Environment) Environment {
		e.Listen, e.CAFile, e.Bootstrap.ClientSecret = "", "", ""
		return e
	}
	if diff := cmp.Diff(same(a.Env()), same(b.Env())); diff != "" {
		t.Errorf("the replicas are not one cloud:\n%s", diff)
	}
	if one, other := a.Env().Bootstrap.ClientSecret, b.Env().Bootstrap.ClientSecret; (one == "") == (other == "") || one+other != env.Bootstrap.ClientSecret {
		t.Errorf("after a restart the secrets are %q and %q, want %q and none", one, other, env.Bootstrap.ClientSecret)
	}
	status, answer := a.token(t, env.Endpoints.ActiveDirectory, env.Bootstrap.ClientSecret, env.Endpoints.ResourceManager)
	if status != http.StatusOK {
		t.Fatalf("token: %d %v", status, answer)
	}
	req, err := http.NewRequest(http.MethodGet, env.Endpoints.ResourceManager+"/subscriptions?api-version=2022-12-01", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+answer["access_token"].(string))
	resp, err := b.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if doc := decode(t, resp); resp.StatusCode != http.StatusOK {
		t.Errorf("one replica's token on the other: %d %v", resp.StatusCode, doc)
	}
	ca, err := os.ReadFile(a.Env().CAFile)
	if err != nil {
		t.Fatal(err)
	}
	if other, _ := os.ReadFile(b.Env().CAFile); string(other) != string(ca) {
		t.Error("the replicas have authorities of their own")
	}

	// A secret that is lost is renewed when the configuration says so.
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	renewed := replica(dirs[1], true)
	fresh := renewed.Env().Bootstrap.ClientSecret
	if fresh == "" || fresh == env.Bootstrap.ClientSecret {
		t.Errorf("the renewed secret is %q", fresh)
	}
	if status, answer := renewed.token(t, env.Endpoints.ActiveDirectory, fresh, env.Endpoints.ResourceManager); status != http.StatusOK {
		t.Errorf("the renewed secret: %d %v", status, answer)
	}
	if status, _ := renewed.token(t, env.Endpoints.ActiveDirectory, env.Bootstrap.ClientSecret, env.Endpoints.ResourceManager); status != http.StatusUnauthorized {
		t.Errorf("the former secret: %d, want 401", status)
	}
}

// TestSlowClients: a client that does not get on with its request loses its
// connection, before the handshake, in it, and after it.
func TestSlowClients(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) {
		// The least of them is what a handshake has, too.
		cfg.Limits = LimitsConfig{HeaderTimeout: 2e9, RequestTimeout: 3e9, IdleTimeout: 1e9}
	})
	for name, begin := range map[string]string{
		"nothing":         "",
		"half a head":     "GET / HTTP/1.1\r\nHost: " + c.Env().Domain + "\r\nX-Slow: ",
		"half a body":     "POST / HTTP/1.1\r\nHost: " + c.Env().Domain + "\r\nContent-Length: 10\r\n\r\nhalf",
		"an idle session": "GET /healthz HTTP/1.1\r\nHost: " + c.Env().Domain + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dialTLS(t, c)
			if _, err := io.WriteString(conn, begin); err != nil {
				t.Fatal(err)
			}
			// It returns when the server has closed, which is the point; what it
			// reads is an answer at most.
			b, _ := io.ReadAll(conn)
			if strings.Count(string(b), "HTTP/1.1") > 1 {
				t.Errorf("it answered %q", b)
			}
		})
	}
	t.Run("no handshake", func(t *testing.T) {
		t.Parallel()
		conn := dialTCP(t, c)
		_, _ = io.ReadAll(conn)
	})
}
