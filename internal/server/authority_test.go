package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	key, err := store.ParseSealingKey(store.NewSealingKey())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := store.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{Dir: dir, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// verify checks a served certificate for name as a client does that trusts the
// roots in ca.
func verify(ca []byte, cert *tls.Certificate, name string, now time.Time) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: now})
	return err
}

func TestAuthority(t *testing.T) {
	st := openStore(t, t.TempDir())
	now := time.Now()
	clock := func() time.Time { return now }
	open := func(aliases ...string) *authority {
		t.Helper()
		a, err := openAuthority(t.Context(), st, azure.Cloud{Domain: "d.test", Port: 1, Aliases: aliases}, clock)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	served := func(a *authority, sni string) *tls.Certificate {
		t.Helper()
		c, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: sni})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	plain := open()
	for _, name := range []string{"d.test", "login.d.test", "management.d.test", "v1.vault.d.test", "127.0.0.1", "::1"} {
		if err := verify(plain.PEM(), served(plain, name), name, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := verify(plain.PEM(), served(plain, "login-us.microsoftonline.com"), "login-us.microsoftonline.com", now); err == nil {
		t.Error("an alias that is not enabled was served a certificate")
	}

	// Enabling aliases issues the root anew: it vouches for them, and clients
	// that hold the former one go on working for the names that it permits.
	aliased := open("*.vault.azure.net", "login-us.microsoftonline.com")
	for _, name := range []string{"login.d.test", "login-us.microsoftonline.com", "v1.vault.azure.net"} {
		if err := verify(aliased.PEM(), served(aliased, name), name, now); err != nil {
			t.Errorf("with aliases, %s: %v", name, err)
		}
	}
	if err := verify(plain.PEM(), served(aliased, "login.d.test"), "login.d.test", now); err != nil {
		t.Errorf("the former root no longer verifies the domain: %v", err)
	}
	if err := verify(plain.PEM(), served(aliased, "login-us.microsoftonline.com"), "login-us.microsoftonline.com", now); err == nil {
		t.Error("the former root verifies a name that it does not permit")
	}

	// Another start with the same names has the same root.
	if again := open("*.vault.azure.net", "login-us.microsoftonline.com"); !bytes.Equal(again.PEM(), aliased.PEM()) {
		t.Error("a restart issued another root")
	}
	if again := open(); !bytes.Equal(again.PEM(), plain.PEM()) {
		t.Error("going back to the former aliases issued another root")
	}

	// Leaves are renewed while the cloud runs, and kept before that.
	first := served(plain, "login.d.test")
	now = now.Add(leafLifetime / 2)
	if served(plain, "d.test") != first {
		t.Error("a young certificate was replaced")
	}
	now = now.Add(leafLifetime / 2)
	if second := served(plain, "login.d.test"); second == first {
		t.Error("an expiring certificate was kept")
	} else if err := verify(plain.PEM(), second, "login.d.test", now); err != nil {
		t.Errorf("the renewed certificate: %v", err)
	}

	// The root is renewed, by a start, before it ends, under the same key.
	now = now.Add(rootLifetime - rootRenewal)
	renewed := open()
	if bytes.Equal(renewed.PEM(), plain.PEM()) {
		t.Error("an expiring root was kept")
	}
	if err := verify(plain.PEM(), served(renewed, "login.d.test"), "login.d.test", now); err != nil {
		t.Errorf("the former root does not verify what the renewed one signs: %v", err)
	}
}

// TestNameConstraints signs certificates for other names with the root's own
// key: what a thief of that key could do.
func TestNameConstraints(t *testing.T) {
	st := openStore(t, t.TempDir())
	now := time.Now()
	cloud := azure.Cloud{Domain: "d.test", Port: 1, Aliases: []string{"*.vault.azure.net", "login-us.microsoftonline.com"}}
	a, err := openAuthority(t.Context(), st, cloud, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if !a.cert.PermittedDNSDomainsCritical {
		t.Error("the name constraints are not critical")
	}
	for _, tt := range []struct {
		name string
		ok   bool
	}{
		{"login.d.test", true},
		{"v9.vault.azure.net", true},
		{"login-us.microsoftonline.com", true},
		{"evil.example", false},
		{"login.microsoftonline.com", false},
		{"microsoftonline.com", false},
		{"azure.net", false},
		{"management.azure.net", false},
		{"xd.test", false},
		{"d.test.evil.example", false},
		{"test", false},
	} {
		cert, err := a.issue([]string{tt.name}, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(a.PEM(), cert, tt.name, now); (err == nil) != tt.ok {
			t.Errorf("a certificate for %s: %v, want accepted %v", tt.name, err, tt.ok)
		}
	}
	for _, ip := range []string{"10.0.0.1", "127.0.0.2", "2001:db8::1"} {
		cert, err := a.issue([]string{"login.d.test"}, []net.IP{net.ParseIP(ip)}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(a.PEM(), cert, ip, now); err == nil {
			t.Errorf("a certificate for %s was accepted", ip)
		}
	}

	// It makes no further authority, and no client certificate.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	middle := &x509.Certificate{
		SerialNumber: serial(), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, middle, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := (&authority{cert: parsed, key: key}).issue([]string{"login.d.test"}, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	roots, middles := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(a.cert)
	middles.AddCert(parsed)
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middles, DNSName: "login.d.test"}); err == nil {
		t.Error("an authority below the root was accepted")
	}
	own, err := a.issue([]string{"login.d.test"}, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	client := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := own.Leaf.Verify(client); err == nil {
		t.Error("a server's certificate was accepted as a client's")
	}
}

func TestCertificateFiles(t *testing.T) {
	st := openStore(t, t.TempDir())
	a, err := openAuthority(t.Context(), st, azure.Cloud{Domain: "d.test", Port: 1}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg := TLSConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	stamp := time.Now().Add(-time.Hour)
	write := func() {
		t.Helper()
		writeKeyPair(t, a, cfg)
		stamp = stamp.Add(time.Minute) // file systems' clocks may be coarse
		for _, f := range []string{cfg.CertFile, cfg.KeyFile} {
			if err := os.Chtimes(f, stamp, stamp); err != nil {
				t.Fatal(err)
			}
		}
	}
	write()
	files, err := OpenCertificateFiles(cfg, discard())
	if err != nil {
		t.Fatal(err)
	}
	get := func() []byte {
		t.Helper()
		c, err := files.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Certificate[0]
	}
	first := get()
	if !bytes.Equal(get(), first) {
		t.Error("an unchanged certificate changed")
	}
	write()
	second := get()
	if bytes.Equal(second, first) {
		t.Error("the changed file was not read")
	}
	// In the middle of a renewal, or after a mistake, the former one is served.
	if err := os.WriteFile(cfg.KeyFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get(), second) {
		t.Error("broken files were served")
	}
	if err := os.Remove(cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get(), second) {
		t.Error("missing files were served")
	}
	if _, err := OpenCertificateFiles(cfg, discard()); err == nil {
		t.Error("missing files were opened")
	}
	write()
	if bytes.Equal(get(), second) {
		t.Error("the mended file was not read")
	}
}
