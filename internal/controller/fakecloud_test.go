package controller

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

const (
	testClusterID = "11111111-2222-3333-4444-555555555555"
	aliasURL      = "https://login-us.microsoftonline.com/"
	ownURL        = "https://login.lanyard.example:8443/"
)

// fakeCA is an authority of the tests.
type fakeCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newCA(tb testing.TB, name string) *fakeCA {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &fakeCA{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue makes a serving certificate for names.
func (ca *fakeCA) issue(tb testing.TB, names ...string) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// fakeCloud is as much of a Lanyard as the webhook talks to: the discovery
// document of one tenant, and the channel. What it presents can be changed.
type fakeCloud struct {
	*httptest.Server
	ca *fakeCA

	mu          sync.Mutex
	certificate tls.Certificate
	discovery   func(w http.ResponseWriter, r *http.Request) // nil: as a cloud answers
	dialled     []string                                     // where the webhook wanted to go
	lines       []channel.Change                             // of the channel's stream
	reports     chan channel.Report
}

func newFakeCloud(tb testing.TB) *fakeCloud {
	tb.Helper()
	c := &fakeCloud{ca: newCA(tb, "Lanyard CA of the tests"), reports: make(chan channel.Report, 100)}
	c.present(c.ca.issue(tb, "login-us.microsoftonline.com", "login.microsoftonline.com", "login.lanyard.example", "agents.lanyard.example"))
	c.Server = httptest.NewUnstartedServer(c)
	c.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		now := c.certificate // a copy: handshakes read it when it may have been replaced
		return &now, nil
	}}
	c.StartTLS()
	tb.Cleanup(c.Close)
	return c
}

func (c *fakeCloud) present(certificate tls.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certificate = certificate
}

func (c *fakeCloud) answer(discovery func(http.ResponseWriter, *http.Request)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discovery = discovery
}

func (c *fakeCloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	discovery, lines := c.discovery, c.lines
	c.mu.Unlock()
	switch {
	case r.URL.Path == channel.ChangesPath(testClusterID):
		encoder := json.NewEncoder(w)
		for _, line := range lines {
			encoder.Encode(line)
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case r.URL.Path == channel.ReportsPath(testClusterID):
		var report channel.Report
		if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.reports <- report
		fmt.Fprint(w, "{}")
	case !strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		http.NotFound(w, r)
	case discovery != nil:
		discovery(w, r)
	case r.URL.Path != "/"+tenantID+"/v2.0/.well-known/openid-configuration":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_tenant","error_description":"AADSTS90002: Tenant not found.\r\nTrace ID: 1"}`)
	default:
		fmt.Fprintf(w, `{"issuer":"https://%[1]s/%[2]s/v2.0","token_endpoint":"https://%[1]s/%[2]s/oauth2/v2.0/token"}`, r.Host, tenantID)
	}
}

// dial leads every address to the cloud, as the network of pods does.
func (c *fakeCloud) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	c.dialled = append(c.dialled, address)
	c.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, c.Listener.Addr().String())
}

// reach makes a webhook's network lead to the cloud.
func (c *fakeCloud) reach(w *Webhook) {
	if w.routes != nil {
		w.routes.dial = c.dial
	}
	if w.link != nil {
		w.link.config.Dial = c.dial
		if err := w.link.renew(w.authority.load()); err != nil {
			panic(err)
		}
	}
}

// cloudConfig is a webhook before the cloud at an address, by its alias or by its
// own host.
func (c *fakeCloud) config(tb testing.TB, api *fakeAPI) WebhookConfig {
	tb.Helper()
	config := testConfig(tb, api)
	config.AuthorityFile = filepath.Join(tb.TempDir(), "ca.crt")
	writeFile(tb, config.AuthorityFile, c.ca.pem)
	config.Settings.Cloud = &workloadidentity.Cloud{
		Authorities: []workloadidentity.Authority{workloadidentity.AuthorityAlias, workloadidentity.AuthorityOwnHost},
		OwnHost:     ownURL, Address: netip.MustParseAddr("192.0.2.10"),
	}
	return config
}

func writeFile(tb testing.TB, path string, parts ...[]byte) {
	tb.Helper()
	if err := os.WriteFile(path, bytes.Join(parts, nil), 0o600); err != nil {
		tb.Fatal(err)
	}
}
