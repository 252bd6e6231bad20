package cluster_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/channel/channeltest"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// BenchmarkDocuments is an issuer's keys over a real connection, beside
// BenchmarkDocumentsEcho, the same connection with nothing behind it.
func BenchmarkDocuments(b *testing.B) {
	w := newWorld(b)
	c := w.attached("east", signers[0]())
	fetch(b, w.clusters.Documents(), strings.TrimPrefix(c.IssuerURL, w.Azure.OIDC())+"openid/v1/jwks")
}

// BenchmarkDocumentsEcho is documented with BenchmarkDocuments.
func BenchmarkDocumentsEcho(b *testing.B) {
	text := keySet(b, signers[0]())
	fetch(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }), "/")
}

func fetch(b *testing.B, h http.Handler, path string) {
	b.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	for b.Loop() {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+path, nil)
		cloudtest.Must(b, err)
		res, err := client.Do(r)
		cloudtest.Must(b, err)
		body, err := io.ReadAll(res.Body)
		cloudtest.Must(b, err)
		res.Body.Close()
		if res.StatusCode != http.StatusOK || len(body) == 0 {
			b.Fatal(res.Status, string(body))
		}
	}
}

// BenchmarkAgent is an agent's request without a network: proved, recorded, and
// then refused for its body. Beside it BenchmarkAgentRS256, the signature alone.
func BenchmarkAgent(b *testing.B) {
	w := newWorld(b)
	key := signers[0]()
	c := w.attached("east", key)
	raw := w.token(c, key)
	b.ReportAllocs()
	for b.Loop() {
		if a := w.ask(http.MethodPost, channel.ReportsPath(c.ID), raw, "{"); a.Status != http.StatusBadRequest {
			b.Fatal(a.Status, a.Body)
		}
	}
}

// BenchmarkAgentRS256 is documented with BenchmarkAgent.
func BenchmarkAgentRS256(b *testing.B) {
	w := newWorld(b)
	key := signers[0]()
	head, body, signature := cut(w.token(w.attached("east", key), key))
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	cloudtest.Must(b, err)
	for b.Loop() {
		sum := sha256.Sum256([]byte(head + "." + body))
		cloudtest.Must(b, rsa.VerifyPKCS1v15(&key.key.PublicKey, crypto.SHA256, sum[:], raw))
	}
}

// BenchmarkRevocation is the way of a change from its write to an agent that has
// it, over TLS, among a thousand credentials that trust the cluster; beside it
// BenchmarkRevocationWrite, the write alone.
func BenchmarkRevocation(b *testing.B) {
	w, c, owner := crowded(b)
	w.serve()
	key := signers[0]()
	state := w.follow(c, w.token(c, key)).State()
	channeltest.Until(b, state, "the agent is synced", state.Synced)
	told := func(want int) func() bool {
		return func() bool { return len(state.Credentials(owner.AppID, subject)) == want }
	}
	for b.Loop() {
		w.trust(cloudtest.TenantID, owner.ObjectID, "one", c.IssuerURL, subject)
		channeltest.Until(b, state, "the credential is there", told(1))
		w.revoke(owner)
		channeltest.Until(b, state, "the credential is gone", told(0))
	}
}

// BenchmarkRevocationWrite is documented with BenchmarkRevocation.
func BenchmarkRevocationWrite(b *testing.B) {
	w, c, owner := crowded(b)
	for b.Loop() {
		w.trust(cloudtest.TenantID, owner.ObjectID, "one", c.IssuerURL, subject)
		w.revoke(owner)
	}
}

func (w *world) revoke(owner directory.Principal) {
	w.TB.Helper()
	w.Update(func(tx *store.Tx) error {
		_, err := w.Directory.DeleteFederatedCredential(tx, cloudtest.TenantID, owner.ObjectID, "one")
		return err
	})
}

// crowded makes a cluster that a thousand credentials trust.
func crowded(b *testing.B) (*world, cluster.Cluster, directory.Principal) {
	b.Helper()
	w := newWorld(b)
	c := w.attached("east", signers[0]())
	for i := range 50 {
		id := w.identity(cloudtest.TenantID, fmt.Sprint("id-", i))
		w.Update(func(tx *store.Tx) error {
			for j := range 20 {
				if _, err := w.Directory.PutFederatedCredential(tx, directory.FederatedCredential{
					TenantID: cloudtest.TenantID, Owner: id.ObjectID, Name: fmt.Sprint("credential-", j), Issuer: c.IssuerURL,
					Subject: fmt.Sprint("system:serviceaccount:shop:", j), Audiences: []string{"api://AzureADTokenExchange"},
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return w, c, w.identity(cloudtest.TenantID, "orders")
}
