package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseConfig(t *testing.T) {
	got, err := ParseConfig([]byte(`
listen: ":8443"
publicPort: 443
domain: lanyard.example.com
aliases: [login-us.microsoftonline.com]
dataDir: /var/lib/lanyard
store:
  endpoints: ["https://etcd-0:2379"]
  retention: 90m
  tls: {caFile: /etc/etcd/ca.pem}
sealingKeyFile: /etc/lanyard/sealing.key
limits:
  requestBodyKiB: 1024
shutdownDelay: 5s
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Listen: ":8443", PublicPort: 443, Domain: "lanyard.example.com", Aliases: []string{"login-us.microsoftonline.com"},
		DataDir: "/var/lib/lanyard",
		Store: StoreConfig{
			Endpoints: []string{"https://etcd-0:2379"}, Retention: Duration(90 * time.Minute),
			TLS: StoreTLSConfig{CAFile: "/etc/etcd/ca.pem"},
		},
		SealingKeyFile: "/etc/lanyard/sealing.key",
		Limits:         LimitsConfig{RequestBodyKiB: 1024},
		ShutdownDelay:  Duration(5 * time.Second),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if got, err := ParseConfig([]byte("# nothing\n")); err != nil || !cmp.Equal(got, Config{}) {
		t.Errorf("an empty file = %+v, %v", got, err)
	}
}

func TestParseConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		name, yaml string
		want       []string // all in the error
	}{
		{"near", "lisen: x", []string{`"lisen"`, `did you mean "listen"`}},
		{"case", "Listen: x", []string{`"Listen"`, `did you mean "listen"`}},
		{"near by a suffix", "sealingKey: x", []string{`did you mean "sealingKeyFile"`}},
		{"nested", "store: {endpoint: [x]}", []string{`"store.endpoint"`, `did you mean "endpoints"`}},
		{"deeper", "store: {tls: {ca: x}}", []string{`"store.tls.ca"`, "caFile"}},
		{"far", "frobnicate: 1", []string{`"frobnicate"`, "fields here are listen, "}},
		{"several", "lisen: x\ndomian: y", []string{`"lisen"`, `"domian"`}},
		{"set by programs only", "ownSealingKey: true", []string{`"ownSealingKey"`}},
		{"the name of the Go field", "Now: true", []string{`"Now"`}},
		{"doubled", "listen: a\nlisten: b", []string{"listen"}},
		{"wrong kind", "aliases: x", []string{`"aliases"`, "want a list"}},
		{"wrong kind inside", "limits: {requestBodyKiB: big}", []string{`"limits.requestBodyKiB"`, "want a whole number"}},
		{"group wanted", "store: x", []string{`"store"`, "want a group of fields"}},
		{"bad duration", "shutdownGrace: soon", []string{"soon"}},
		{"no YAML", "a: [", []string{"yaml"}},
		{"not a group at all", "- a", []string{"want a group of fields"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConfig([]byte(tt.yaml))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("listen: x\nstore: {endpoints: [a]}")
	f.Add("a: &a [*a]")
	f.Add("1: 2")
	f.Fuzz(func(_ *testing.T, text string) {
		cfg, err := ParseConfig([]byte(text))
		if err == nil {
			_, _ = cfg.complete() // must not panic
		}
	})
}

func TestComplete(t *testing.T) {
	t.Setenv(SealingKeyVariable, "")
	valid := Config{DataDir: "data", OwnSealingKey: true}
	got, err := valid.complete()
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(got.DataDir) || got.EnvFile != filepath.Join(got.DataDir, "env.json") ||
		got.Domain != "lanyard.localhost" || got.Listen != "127.0.0.1:0" || got.AuditLog.OnFull != "refuse" {
		t.Errorf("defaults: %+v", got)
	}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no data directory", func(c *Config) { c.DataDir = "" }, `"dataDir"`},
		{"no sealing key", func(c *Config) { c.OwnSealingKey = false }, `"sealingKeyFile"`},
		{"listen without port", func(c *Config) { c.Listen = "127.0.0.1" }, `"listen"`},
		{"listen with a bad port", func(c *Config) { c.Listen = ":70000" }, `"listen"`},
		{"metrics", func(c *Config) { c.Metrics.Listen = "x" }, `"metrics.listen"`},
		{"public port", func(c *Config) { c.PublicPort = -1 }, `"publicPort"`},
		{"domain of one label", func(c *Config) { c.Domain = "lanyard" }, `"domain"`},
		{"domain is an address", func(c *Config) { c.Domain = "10.0.0.1" }, `"domain"`},
		{"domain with a wildcard", func(c *Config) { c.Domain = "*.x.test" }, `"domain"`},
		{"domain is Azure's", func(c *Config) { c.Domain = "x.vault.azure.net" }, `"domain"`},
		{"unknown alias", func(c *Config) { c.Aliases = []string{"example.com"} }, `"aliases"`},
		{"CIDR", func(c *Config) { c.IssuerAllow = []string{"10.0.0.1"} }, `"issuerAllow"`},
		{"half a certificate", func(c *Config) { c.TLS.CertFile = "x" }, `"tls"`},
		{"a CA without a certificate", func(c *Config) { c.TLS.CAFile = "x" }, `"tls.caFile"`},
		{"a store user without a store", func(c *Config) { c.Store.Username, c.Store.PasswordFile = "u", "p" }, `"store.endpoints"`},
		{"a store user without a password", func(c *Config) { c.Store.Endpoints, c.Store.Username = []string{"http://x:1"}, "u" }, `"store.passwordFile"`},
		{"log level", func(c *Config) { c.LogLevel = "loud" }, `"logLevel"`},
		{"log format", func(c *Config) { c.LogFormat = "xml" }, `"logFormat"`},
		{"audit", func(c *Config) { c.AuditLog.OnFull = "ignore" }, `"auditLog.onFull"`},
		{"tenant", func(c *Config) { c.Bootstrap.TenantID = "mine" }, `"bootstrap.tenantId"`},
		{"negative timeout", func(c *Config) { c.Limits.IdleTimeout = -1 }, `"limits.idleTimeout"`},
		{"body", func(c *Config) { c.Limits.RequestBodyKiB = 1 }, `"limits.requestBodyKiB"`},
		{"quota", func(c *Config) { c.Store.QuotaMiB = 1 }, `"store.quotaMiB"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := valid
			tt.change(&cfg)
			if _, err := cfg.complete(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one of field %s", err, tt.want)
			}
		})
	}
	t.Run("all mistakes at once", func(t *testing.T) {
		cfg := Config{DataDir: "d", OwnSealingKey: true, Listen: "x", LogLevel: "x"}
		if _, err := cfg.complete(); err == nil || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("error %v, want two lines", err)
		}
	})
}

func TestSealingKey(t *testing.T) {
	t.Setenv(SealingKeyVariable, "")
	log := discard()
	data := t.TempDir()
	own := Config{DataDir: data, OwnSealingKey: true}
	if _, _, err := keyring(own, log); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(filepath.Join(data, "sealing.key"))
	if err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(filepath.Join(data, "sealing.key")); fi.Mode().Perm() != 0o600 {
		t.Errorf("the sealing key has mode %v", fi.Mode())
	}
	if _, _, err := keyring(own, log); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(filepath.Join(data, "sealing.key")); string(again) != string(made) {
		t.Error("a later start made another sealing key")
	}

	// serve's key may not lie beside the data, by whatever way it is named.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(data, "sealing.key"), link); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(data, "sealing.key"), filepath.Join(data, ".", "x", "..", "sealing.key"), link} {
		if _, _, err := keyring(Config{DataDir: data, SealingKeyFile: file}, log); err == nil {
			t.Errorf("a sealing key in the data directory was taken: %s", file)
		}
	}
	outside := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(outside, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{DataDir: data, SealingKeyFile: outside}
	for text, ok := range map[string]bool{
		string(made): true, "": false, "c2hvcnQ=": false, "not base64!": false, string(made) + string(made): false,
	} {
		write(text)
		if _, _, err := keyring(cfg, log); (err == nil) != ok {
			t.Errorf("sealing key %q: %v", text, err)
		} else if err != nil && strings.Contains(err.Error(), "c2hvcnQ") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	t.Setenv(SealingKeyVariable, strings.TrimSpace(string(made)))
	if _, _, err := keyring(Config{DataDir: data}, log); err != nil {
		t.Errorf("the key in the variable: %v", err)
	}
}
