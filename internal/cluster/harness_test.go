package cluster_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/channel/channeltest"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const agentSubject = "system:serviceaccount:lanyard-system:lanyard-agent"

// signer is a cluster's key, by which its API server signs.
type signer struct {
	key *rsa.PrivateKey
	id  string
}

// keys of the tests, made once.
var signers = []func() signer{newSigner("one"), newSigner("two"), newSigner("three"), newSigner("four")}

func newSigner(id string) func() signer {
	return sync.OnceValue(func() signer {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return signer{key, id}
	})
}

// keySet is the JWK set of the public halves.
func keySet(tb testing.TB, keys ...signer) json.RawMessage {
	tb.Helper()
	var all []token.VerificationKey
	for _, k := range keys {
		all = append(all, token.VerificationKey{ID: k.id, Algorithm: token.RS256, Public: k.key.Public()})
	}
	set, err := token.EncodeKeySet(all)
	cloudtest.Must(tb, err)
	return set
}

// sign signs claims as they are.
func (s signer) sign(tb testing.TB, header, claims map[string]any) string {
	tb.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		cloudtest.Must(tb, err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	input := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	cloudtest.Must(tb, err)
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// world is a cloud with the plane of agents, and one of issuers' documents.
type world struct {
	*cloudtest.Cloud
	clusters *cluster.Clusters
	channel  *cluster.Channel
	issuers  *token.Issuers
	metrics  *prometheus.Registry
	url      string
	ca       *x509.CertPool
	client   *http.Client
	// heartbeat is the time between heartbeats, and patience that for a write.
	heartbeat, patience time.Duration
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return newWorldOf(tb, 20*time.Millisecond, time.Minute)
}

func newWorldOf(tb testing.TB, heartbeat, patience time.Duration) *world {
	tb.Helper()
	w := &world{Cloud: cloudtest.New(tb, cloudtest.Config{}), heartbeat: heartbeat, patience: patience}
	w.Tenant(directory.Tenant{ID: cloudtest.TenantID, DisplayName: "Contoso", DefaultDomain: "contoso.example", Domains: []string{"contoso.example"}})
	w.Tenant(directory.Tenant{ID: cloudtest.OtherTenantID, DisplayName: "Fabrikam", DefaultDomain: "fabrikam.example", Domains: []string{"fabrikam.example"}})
	w.open(w.Directory)
	return w
}

// open opens the planes on the cloud's parts and a directory.
func (w *world) open(dir *directory.Directory) {
	w.TB.Helper()
	var err error
	w.clusters, err = cluster.Open(context.Background(), cluster.Config{
		Store: w.Store, Audit: w.Audit, Cloud: w.Azure, Now: w.Clock.Now, Logger: w.Logger,
	})
	cloudtest.Must(w.TB, err)
	w.issuers = token.NewIssuers(token.IssuersConfig{Local: w.clusters.Keys, Now: w.Clock.Now, Logger: w.Logger})
	w.metrics = prometheus.NewRegistry()
	w.channel, err = cluster.NewChannel(cluster.ChannelConfig{
		Clusters: w.clusters, Directory: dir, Issuers: w.issuers, Heartbeat: w.heartbeat, WriteTimeout: w.patience, Logger: w.Logger, Registerer: w.metrics,
	})
	cloudtest.Must(w.TB, err)
}

// serve serves the plane of agents by TLS.
func (w *world) serve() {
	w.TB.Helper()
	w.serveWithin(0)
}

// serveWithin is serve with a time for a request, and as much for its answer; 0:
// without.
func (w *world) serveWithin(limit time.Duration) {
	w.TB.Helper()
	srv := httptest.NewUnstartedServer(w.channel)
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = limit, limit
	srv.Config.ErrorLog = slog.NewLogLogger(w.Logger.Handler(), slog.LevelDebug)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	w.url, w.ca, w.client = srv.URL, x509.NewCertPool(), srv.Client()
	w.ca.AddCert(srv.Certificate())
	w.TB.Cleanup(func() {
		w.channel.Close()
		srv.Close()
	})
}

// attach makes a cluster whose issuer the cloud assigns.
func (w *world) attach(name string) cluster.Cluster {
	w.TB.Helper()
	var c cluster.Cluster
	w.Update(func(tx *store.Tx) (err error) {
		c, err = w.clusters.Put(tx, cluster.Cluster{
			TenantID: cloudtest.TenantID, IssuerEnabled: true,
			ResourceID: "/subscriptions/" + cloudtest.SubscriptionID + "/resourceGroups/rg/providers/Microsoft.Kubernetes/connectedClusters/" + name,
		})
		return err
	})
	return c
}

// enroll enrols a cluster with its assigned issuer.
func (w *world) enroll(c cluster.Cluster, subjects []string, keys ...signer) cluster.Enrolled {
	w.TB.Helper()
	var e cluster.Enrolled
	w.Update(func(tx *store.Tx) (err error) {
		e, err = w.clusters.Enroll(tx, c.ID, c.ResourceID, cluster.Enrolment{Issuer: c.IssuerURL, Keys: keySet(w.TB, keys...), AgentSubjects: subjects})
		return err
	})
	return e
}

// attached makes a cluster and enrols it.
func (w *world) attached(name string, key signer) cluster.Cluster {
	w.TB.Helper()
	c := w.attach(name)
	w.enroll(c, []string{agentSubject}, key)
	return c
}

// claims are those of an agent's token, as an API server makes them.
func (w *world) claims(issuer string) map[string]any {
	now := w.Clock.Now()
	return map[string]any{
		"iss": issuer, "sub": agentSubject, "aud": []string{channel.Audience}, "jti": "1",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": "lanyard-system", "node": map[string]any{"name": "node-1", "uid": "n"},
			"pod":            map[string]any{"name": "lanyard-agent-1", "uid": "p"},
			"serviceaccount": map[string]any{"name": "lanyard-agent", "uid": "s"},
		},
	}
}

// token is an agent's token; changes are made to its claims.
func (w *world) token(c cluster.Cluster, key signer, changes ...map[string]any) string {
	w.TB.Helper()
	claims := w.claims(c.IssuerURL)
	for _, change := range changes {
		maps.Copy(claims, change)
	}
	return key.sign(w.TB, map[string]any{"alg": "RS256", "kid": key.id}, claims)
}

// tokenFile keeps a token where a client reads it.
func (w *world) tokenFile(raw string) string {
	w.TB.Helper()
	file := filepath.Join(w.TB.TempDir(), "token")
	cloudtest.Must(w.TB, os.WriteFile(file, []byte(raw), 0o600))
	return file
}

// follow runs an agent's client until the test ends.
func (w *world) follow(c cluster.Cluster, raw string) *channel.Client {
	w.TB.Helper()
	return channeltest.Run(w.TB, channel.ClientConfig{
		Endpoint: w.url, ClusterID: c.ID, TokenFile: w.tokenFile(raw), CAs: w.ca, Logger: w.Logger,
	})
}

// ask sends a request to the plane of agents, without a network.
func (w *world) ask(method, path, raw, body string) cloudtest.Answer {
	w.TB.Helper()
	r := w.Request("", method, w.Azure.Agents()+path, body)
	if raw != "" {
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	return cloudtest.Send(w.channel, r)
}

// report sends a report.
func (w *world) report(c cluster.Cluster, raw string, r channel.Report) cloudtest.Answer {
	w.TB.Helper()
	body, err := json.Marshal(r)
	cloudtest.Must(w.TB, err)
	return w.ask(http.MethodPost, channel.ReportsPath(c.ID), raw, string(body))
}

// document reads one of an issuer's documents.
func (w *world) document(method, path string) cloudtest.Answer {
	w.TB.Helper()
	return cloudtest.Send(w.clusters.Documents(), w.Request("", method, w.Azure.OIDC()+path, ""))
}

// identity makes a user-assigned identity.
func (w *world) identity(tenant, name string) directory.Principal {
	w.TB.Helper()
	id, err := azure.ParseResourceID("/subscriptions/" + cloudtest.SubscriptionID +
		"/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name)
	cloudtest.Must(w.TB, err)
	return w.ManagedIdentity(tenant, id)
}

// trust has an identity, or an application, trust an issuer's subject.
func (w *world) trust(tenant, owner, name, issuer, subject string) {
	w.TB.Helper()
	w.Update(func(tx *store.Tx) error {
		_, err := w.Directory.PutFederatedCredential(tx, directory.FederatedCredential{
			TenantID: tenant, Owner: owner, Name: name, Issuer: issuer, Subject: subject, Audiences: []string{"api://AzureADTokenExchange"},
		})
		return err
	})
}

// wantError fails the test unless err is a client's error of that status and code.
func wantError(tb testing.TB, err error, status int, code string) {
	tb.Helper()
	e, ok := errors.AsType[*azure.Error](err)
	if !ok || e.Status != status || e.Code != code {
		tb.Fatalf("got %v, want %d %s", err, status, code)
	}
}

// try runs a transaction and gives its error.
func (w *world) try(f func(tx *store.Tx) error) error {
	_, err := w.Store.Update(context.Background(), f)
	return err
}

// stream is a stream that a test reads line by line.
type stream struct {
	tb   testing.TB
	ctx  context.Context
	body io.ReadCloser
	dec  *json.Decoder
}

// stream opens a stream; query may resume one.
func (w *world) stream(c cluster.Cluster, raw, query string) *stream {
	w.TB.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.TB.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+channel.ChangesPath(c.ID)+query, nil)
	cloudtest.Must(w.TB, err)
	req.Header.Set("Authorization", "Bearer "+raw)
	resp, err := w.client.Do(req)
	cloudtest.Must(w.TB, err)
	w.TB.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		w.TB.Fatalf("a stream: %d %s", resp.StatusCode, text)
	}
	return &stream{w.TB, ctx, resp.Body, json.NewDecoder(resp.Body)}
}

// next gives the next line that is no heartbeat; false at the stream's end.
func (s *stream) next() (channel.Change, bool) {
	s.tb.Helper()
	for {
		var c channel.Change
		if err := s.dec.Decode(&c); err != nil {
			if s.ctx.Err() != nil {
				s.tb.Fatal("nothing came for a minute")
			}
			return channel.Change{}, false
		}
		if c.Kind != channel.KindHeartbeat {
			return c, true
		}
	}
}

// group reads up to the end of a group, and gives it as text, a word a line.
func (s *stream) group() (lines []string, last channel.Change) {
	s.tb.Helper()
	for {
		c, ok := s.next()
		if !ok {
			s.tb.Fatal("the stream ended")
		}
		switch c.Kind {
		case channel.KindSynced:
			return lines, c
		case channel.KindCredential:
			lines = append(lines, fmt.Sprintf("%s %s", c.Kind, c.Credential.Name))
		default:
			lines = append(lines, string(c.Kind))
		}
	}
}

// ended waits for the stream's end.
func (s *stream) ended() {
	s.tb.Helper()
	for {
		if c, ok := s.next(); !ok {
			return
		} else if c.Kind == channel.KindSynced {
			continue
		}
	}
}
