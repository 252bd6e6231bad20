package server

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/channel/channeltest"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	clusterVersion = "?api-version=2024-07-15-preview"
	agentSubject   = "system:serviceaccount:lanyard-system:lanyard-agent"
)

// attached is a cluster of the tests: its key, by which its API server would sign,
// and what the cloud says of it.
type attached struct {
	t            *testing.T
	key          *rsa.PrivateKey
	path, issuer string
	id, endpoint string
}

// jwks is what the API server would publish.
func (c *attached) jwks() string {
	return `{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"one","n":"` + base64.RawURLEncoding.EncodeToString(c.key.N.Bytes()) +
		`","e":"` + base64.RawURLEncoding.EncodeToString(big.NewInt(int64(c.key.E)).Bytes()) + `"}]}`
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// attach attaches a cluster in the party's group "shop", and enrols it.
func (p *party) attach(name string) *attached {
	p.t.Helper()
	c := &attached{t: p.t, key: newKey(p.t), path: p.scope() + "/resourceGroups/shop/providers/Microsoft.Kubernetes/connectedClusters/" + name}
	p.must(http.MethodPut, p.scope()+"/resourceGroups/shop"+groupVersion, `{"location":"westeurope"}`)
	made := p.must(http.MethodPut, c.path+clusterVersion,
		`{"location":"westeurope","identity":{"type":"SystemAssigned"},"properties":{"agentPublicKeyCertificate":"","oidcIssuerProfile":{"enabled":true}}}`)
	c.issuer = made.get("properties", "oidcIssuerProfile", "issuerUrl")
	enrolled := p.must(http.MethodPost, c.path+"/enroll"+clusterVersion,
		`{"issuer":"`+c.issuer+`","agentSubjects":["`+agentSubject+`"],"keys":`+c.jwks()+`}`)
	c.id, c.endpoint = enrolled.get("clusterId"), enrolled.get("agentEndpoint")
	return c
}

// token is a service account's, bound to a pod as projected ones are.
func (c *attached) token(issuer, subject, audience string) string {
	c.t.Helper()
	parts := strings.Split(subject, ":")
	now := time.Now()
	payload, err := json.Marshal(map[string]any{
		"iss": issuer, "sub": subject, "aud": []string{audience}, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": parts[2], "pod": map[string]string{"name": "pod-1", "uid": "1"}, "serviceaccount": map[string]string{"name": parts[3]},
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"one"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, c.key, crypto.SHA256, sum[:])
	if err != nil {
		c.t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// workload is the token that a workload's pod has.
func (c *attached) workload() string {
	return c.token(c.issuer, workloadSubject, "api://AzureADTokenExchange")
}

// agent runs an agent's client against a running cloud, until the test ends.
func (c *attached) agent(r *running) *channel.State {
	c.t.Helper()
	ca, err := os.ReadFile(r.Env().CAFile)
	if err != nil {
		c.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	file := filepath.Join(c.t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(c.token(c.issuer, agentSubject, channel.Audience)), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return channeltest.Run(c.t, channel.ClientConfig{
		Endpoint: c.endpoint, ClusterID: c.id, TokenFile: file, CAs: pool,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, r.Env().DialAddress())
		},
	}).State()
}

// identity makes the identity "orders", and gives its client ID.
func (p *party) identity() string {
	p.t.Helper()
	p.must(http.MethodPut, p.scope()+"/resourceGroups/shop"+groupVersion, `{"location":"westeurope"}`)
	return p.must(http.MethodPut, p.scope()+"/resourceGroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders"+identityVersion,
		`{"location":"westeurope"}`).get("properties", "clientId")
}

// exchange turns a workload's token into one of an identity.
func (p *party) exchange(clientID, assertion string) answer {
	p.t.Helper()
	return p.sign(p.env.TenantID, federate(clientID, assertion, "https://vault.azure.net"))
}

// wantRefused fails the test unless the token service refused with the number.
func wantRefused(t *testing.T, what string, a answer, number string) {
	t.Helper()
	if a.get("access_token") != "" || !strings.Contains(a.get("error_description"), "AADSTS"+number+":") {
		t.Errorf("%s: %d %s, want AADSTS%s", what, a.status, a.text, number)
	}
}

// TestAttachedCluster: a cluster's life. Its tokens become an identity's without
// anything being fetched, its agent hears of what comes and goes, and all of it
// ends with the resource. Requests have little time; streams have all.
func TestAttachedCluster(t *testing.T) {
	dir := t.TempDir()
	const limit = 2 * time.Second // a busy machine's for a request
	configure := func(cfg *Config) {
		cfg.Limits.RequestTimeout, cfg.ShutdownGrace = Duration(limit), Duration(time.Hour)
	}
	r := start(t, dir, configure)
	p := r.party(t)
	clientID := p.identity()
	c, other := p.attach("east"), p.attach("west")
	p.trust(&issuer{url: c.issuer}, workloadSubject)
	state := c.agent(r)
	channeltest.Until(t, state, "the agent is synced", state.Synced)
	followed := time.Now()
	channeltest.Until(t, state, "the agent knows the credential", func() bool { return len(state.Credentials(clientID, workloadSubject)) == 1 })

	if a := p.exchange(clientID, c.workload()); a.get("access_token") == "" {
		t.Fatalf("a workload's token: %d %s", a.status, a.text)
	}
	// A service account of that name in another cluster is somebody else, whatever
	// its token says.
	wantRefused(t, "another cluster's token", p.exchange(clientID, other.workload()), "700211")
	wantRefused(t, "another cluster's key", p.exchange(clientID, other.token(c.issuer, workloadSubject, "api://AzureADTokenExchange")), "700027")
	// An agent's token is none for the token service, nor a workload's for agents.
	wantRefused(t, "an agent's token", p.exchange(clientID, c.token(c.issuer, workloadSubject, channel.Audience)), "700212")
	changes := c.endpoint + channel.ChangesPath(c.id)
	if a := p.send(c.workload(), http.MethodGet, changes, ""); a.status != http.StatusUnauthorized || a.code() != "WrongAudience" {
		t.Errorf("a workload's token for agents: %d %s", a.status, a.text)
	}
	if a := p.send(p.bearer("https://vault.azure.net"), http.MethodGet, changes, ""); a.status != http.StatusUnauthorized {
		t.Errorf("an access token for agents: %d %s", a.status, a.text)
	}
	// The documents are where relying parties look for them.
	if a := p.send("", http.MethodGet, c.issuer+".well-known/openid-configuration", ""); a.get("issuer") != c.issuer || a.get("jwks_uri") != c.issuer+"openid/v1/jwks" {
		t.Errorf("discovery: %d %s", a.status, a.text)
	}

	waitFor(t, func() bool { return time.Since(followed) > 2*limit }) // what a request and its answer have
	if n, live := state.Stream(); n != 1 || !live {
		t.Errorf("the agent follows stream %d, live %v: the first has ended", n, live)
	}
	// The cloud stops without waiting for the stream, and the agent finds it again.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	p.client.CloseIdleConnections()
	r = start(t, dir, configure)
	p = r.party(t)
	p.must(http.MethodDelete, p.scope()+"/resourceGroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders/federatedIdentityCredentials/cluster"+identityVersion, "")
	channeltest.Until(t, state, "the credential is revoked", func() bool { return len(state.Credentials(clientID, workloadSubject)) == 0 })
	p.trust(&issuer{url: c.issuer}, workloadSubject)
	channeltest.Until(t, state, "the credential is back", func() bool { return len(state.Credentials(clientID, workloadSubject)) == 1 })
	if a := p.must(http.MethodGet, c.path+clusterVersion, ""); a.get("properties", "connectivityStatus") != "Connected" {
		t.Errorf("the cluster is %s", a.text)
	}

	// With the resource ends all that it brought.
	p.must(http.MethodDelete, c.path+clusterVersion, "")
	wantRefused(t, "a deleted cluster's token", p.exchange(clientID, c.workload()), "90061")
	if a := p.send("", http.MethodGet, c.issuer+"openid/v1/jwks", ""); a.status != http.StatusNotFound {
		t.Errorf("a deleted cluster's keys: %d %s", a.status, a.text)
	}
	channeltest.Until(t, state, "the agent is refused", func() bool { return !state.Synced() })
	// A new cluster of the same name is another one.
	again := p.attach("east")
	if again.issuer == c.issuer || again.id == c.id {
		t.Error("a new cluster has a deleted one's issuer")
	}
	wantRefused(t, "a deleted cluster's token after a new cluster of its name", p.exchange(clientID, c.workload()), "90061")
	// With its group a cluster ends too.
	last := other.agent(r)
	channeltest.Until(t, last, "the other agent is synced", last.Synced)
	p.must(http.MethodDelete, p.scope()+"/resourceGroups/shop"+groupVersion, "")
	channeltest.Until(t, last, "the other agent is refused", func() bool { return !last.Synced() })
}

// TestTrustedIssuerIsOfOneTenant: the keys that the operator gives for an issuer
// sign for one tenant. In another tenant, whose credentials name the same issuer,
// they are worth nothing.
func TestTrustedIssuerIsOfOneTenant(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	a := r.party(t)
	b := a.tenant("Fabrikam")
	cluster := &attached{t: t, key: newKey(t), issuer: "https://kubernetes.invalid"}
	trust := func(tenant string) answer {
		return a.arm(http.MethodPut, "/providers/Lanyard.Directory/trustedIssuers/onprem?api-version=2026-09-01",
			`{"properties":{"issuerUrl":"`+cluster.issuer+`","tenantId":"`+tenant+`","jwks":`+cluster.jwks()+`}}`)
	}
	ids := map[*party]string{}
	for _, p := range []*party{a, b} {
		ids[p] = p.identity()
		p.trust(&issuer{url: cluster.issuer}, workloadSubject)
		wantRefused(t, "before the operator's word", p.exchange(ids[p], cluster.workload()), "90061")
	}
	if got := trust(b.env.TenantID); got.status != http.StatusCreated {
		t.Fatalf("trusting: %d %s", got.status, got.text)
	}
	if got := b.exchange(ids[b], cluster.workload()); got.get("access_token") == "" {
		t.Errorf("in the tenant: %d %s", got.status, got.text)
	}
	wantRefused(t, "in another tenant", a.exchange(ids[a], cluster.workload()), "90061")
	if got := trust(a.env.TenantID); got.status != http.StatusConflict {
		t.Errorf("bound twice: %d %s", got.status, got.text)
	}
	// The tenant's own operator has no say in it.
	if got := b.arm(http.MethodDelete, "/providers/Lanyard.Directory/trustedIssuers/onprem?api-version=2026-09-01", ""); got.status != http.StatusForbidden {
		t.Errorf("the tenant's operator: %d %s", got.status, got.text)
	}
	a.must(http.MethodDelete, "/providers/Lanyard.Directory/trustedIssuers/onprem?api-version=2026-09-01", "")
	wantRefused(t, "after its end", b.exchange(ids[b], cluster.workload()), "90061")
}

// TestAgentsOfReplicas: an agent at one replica hears of what another one writes,
// through traces and whatever else is around a request.
func TestAgentsOfReplicas(t *testing.T) {
	endpoint := startEtcd(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(store.NewSealingKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	replica := func(renew, traced bool) *running {
		t.Helper()
		dir := t.TempDir()
		return start(t, dir, func(cfg *Config) {
			*cfg = Config{
				DataDir: dir, Logger: cfg.Logger, SealingKeyFile: key, PublicPort: 443, ShutdownGrace: Duration(time.Hour),
				Store: StoreConfig{Endpoints: []string{endpoint}}, Bootstrap: BootstrapConfig{RenewSecret: renew},
			}
			if traced {
				cfg.Tracing = TracingConfig{Enabled: true, OTLPEndpoint: "http://127.0.0.1:1"}
			}
		})
	}
	one := replica(true, false)
	two := replica(false, true)
	p := one.party(t)
	clientID := p.identity()
	c := p.attach("east")
	state := c.agent(two)
	channeltest.Until(t, state, "the agent of the second replica is synced", state.Synced)
	p.trust(&issuer{url: c.issuer}, workloadSubject)
	channeltest.Until(t, state, "it knows what the first replica wrote", func() bool { return len(state.Credentials(clientID, workloadSubject)) == 1 })
	p.must(http.MethodDelete, p.scope()+"/resourceGroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders"+identityVersion, "")
	channeltest.Until(t, state, "it knows that the identity is gone", func() bool { return len(state.Credentials(clientID, workloadSubject)) == 0 })
}
