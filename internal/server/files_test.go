package server

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// writeKeyPair writes a new certificate of a for login.d.test.
func writeKeyPair(t *testing.T, a *authority, cfg TLSConfig) {
	t.Helper()
	cert, err := a.issue([]string{"d.test", "*.d.test", "*.vault.d.test"}, loopback(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		cfg.CertFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		cfg.KeyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListenKeepsItsPort(t *testing.T) {
	dir := t.TempDir()
	l, err := listen("127.0.0.1:0", dir)
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(l)
	_, err = listen("127.0.0.1:0", dir)
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("the kept port is taken: %v; want an error that names it and what to do", err)
	}
	l.Close()
	if l, err = listen("127.0.0.1:0", dir); err != nil {
		t.Fatal(err)
	}
	if portOf(l) != port {
		t.Errorf("a later start has port %d, the first had %d", portOf(l), port)
	}
	l.Close()

	// A port that is asked for counts, and is kept from then on.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := free.Addr().String()
	if _, err := listen(asked, dir); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a taken port was asked for: %v", err)
	}
	free.Close()
	for _, address := range []string{asked, "127.0.0.1:0"} {
		l, err := listen(address, dir)
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().String() != asked {
			t.Errorf("listen(%s) is on %s, want %s", address, l.Addr(), asked)
		}
		l.Close()
	}

	if err := os.WriteFile(filepath.Join(dir, "port"), []byte("many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := listen("127.0.0.1:0", dir); err == nil {
		l.Close()
		t.Error("a damaged port file was passed over")
	}
}

func TestEnvironmentFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "below", "env.json")
	if _, err := LoadEnvironment(path); err == nil || !strings.Contains(err.Error(), "lanyard up") {
		t.Errorf("no file: %v; want an error that says what to do", err)
	}
	env := Environment{
		Listen: "127.0.0.1:1", Domain: "d.test", CAFile: "/ca.pem", TenantID: "t", SubscriptionID: "s", Proxy: "http://x:y@127.0.0.1:2",
		Endpoints: Endpoints{ResourceManager: "https://management.d.test:1"},
		Bootstrap: Bootstrap{ClientID: "c", ClientSecret: "hush", ObjectID: "o"},
	}
	if err := env.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := LoadEnvironment(path)
	if diff := cmp.Diff(env, got); err != nil || diff != "" {
		t.Errorf("read back: %v\n%s", err, diff)
	}
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", fi.Mode())
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("writing left %d files", len(entries))
	}

	// The fields are a contract: names, and null where there is no IMDS.
	var fields map[string]any
	raw, _ := os.ReadFile(path)
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"listen": "127.0.0.1:1", "domain": "d.test", "caFile": "/ca.pem", "tenantId": "t", "subscriptionId": "s",
		"proxy": "http://x:y@127.0.0.1:2",
		"endpoints": map[string]any{
			"resourceManager": "https://management.d.test:1", "activeDirectory": "", "graph": "", "oidc": "",
			"vaultSuffix": "", "registrySuffix": "", "blobSuffix": "", "imds": nil,
		},
		"bootstrap": map[string]any{"clientId": "c", "clientSecret": "hush", "objectId": "o"},
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("the file (-want +got):\n%s", diff)
	}

	for _, text := range []string{"", "{", "{}", `{"listen":1}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadEnvironment(path); err == nil {
			t.Errorf("%q was taken for an environment file", text)
		}
	}
}

func TestDialAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "127.0.0.1:1", ":1": "127.0.0.1:1",
		"[::1]:1": "[::1]:1", "10.0.0.1:1": "10.0.0.1:1", "host:1": "host:1",
	} {
		if got := (Environment{Listen: listen}).DialAddress(); got != want {
			t.Errorf("listening on %s: dial %s, want %s", listen, got, want)
		}
	}
}

func TestTrustFiles(t *testing.T) {
	dir := t.TempDir()
	system := filepath.Join(t.TempDir(), "system.pem")
	if err := os.WriteFile(system, []byte("SYSTEM"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", system)
	caFile, err := writeTrust(dir, []byte("OURS\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(caFile); string(got) != "OURS\n" {
		t.Errorf("the CA file holds %q", got)
	}
	if got, _ := os.ReadFile(BundleFile(caFile)); string(got) != "SYSTEM\nOURS\n" {
		t.Errorf("the bundle holds %q", got)
	}
	// A shell that has taken over the environment starts the cloud again: the
	// bundle does not grow.
	t.Setenv("SSL_CERT_FILE", BundleFile(caFile))
	if _, err := writeTrust(dir, []byte("OURS\n")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(BundleFile(caFile)); bytes.Count(got, []byte("OURS")) != 1 {
		t.Errorf("the bundle holds %q", got)
	}
}
