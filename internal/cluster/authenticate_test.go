package cluster_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/store"
)

// kubernetes gives the claim of API servers, changed at one place.
func kubernetes(change func(claim map[string]any)) map[string]any {
	claim := map[string]any{
		"namespace":      "lanyard-system",
		"pod":            map[string]any{"name": "lanyard-agent-1", "uid": "p"},
		"serviceaccount": map[string]any{"name": "lanyard-agent", "uid": "s"},
	}
	change(claim)
	return map[string]any{"kubernetes.io": claim}
}

// TestAgentAttacks: each token has one fault, and would pass without the check
// that it is for.
func TestAgentAttacks(t *testing.T) {
	w := newWorld(t)
	one, two, stranger := signers[0](), signers[1](), signers[2]()
	c, other := w.attached("east", one), w.attached("west", two)
	now := w.Clock.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	hs256 := func() string {
		der, err := x509.MarshalPKIXPublicKey(one.key.Public())
		cloudtest.Must(t, err)
		head, body, _ := cut(one.sign(t, map[string]any{"alg": "HS256", "kid": one.id}, w.claims(c.IssuerURL)))
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		mac.Write([]byte(head + "." + body))
		return head + "." + body + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	none := func() string {
		_, body, _ := cut(w.token(c, one))
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + body + "."
	}
	withOwnKey := func() string {
		var set struct{ Keys []json.RawMessage }
		cloudtest.Must(t, json.Unmarshal(keySet(t, stranger), &set))
		return stranger.sign(t, map[string]any{"alg": "RS256", "kid": one.id, "jwk": set.Keys[0]}, w.claims(c.IssuerURL))
	}
	without := func(names ...string) string {
		claims := w.claims(c.IssuerURL)
		for _, name := range names {
			delete(claims, name)
		}
		return one.sign(t, map[string]any{"alg": "RS256", "kid": one.id}, claims)
	}
	for _, tt := range []struct {
		name, token string
		status      int
		code        string
	}{
		{"nothing", "", 401, "AuthenticationFailed"},
		{"no token at all", "junk", 401, "InvalidToken"},
		{"another cluster's token", w.token(other, two), 401, "WrongIssuer"},
		{"another cluster's key", w.token(c, two), 401, "InvalidToken"},
		{"a stranger's key", w.token(c, stranger), 401, "InvalidToken"},
		{"a stranger's key under the cluster's key ID", w.token(c, signer{stranger.key, one.id}), 401, "InvalidToken"},
		{"a key that the token brings along", withOwnKey(), 401, "InvalidToken"},
		{"the public key as a secret", hs256(), 401, "InvalidToken"},
		{"no signature", none(), 401, "InvalidToken"},
		{"another signature", resigned(w.token(c, one)), 401, "InvalidToken"},
		{"the issuer without its slash", w.token(c, one, map[string]any{"iss": strings.TrimSuffix(c.IssuerURL, "/")}), 401, "WrongIssuer"},
		{"no issuer", w.token(c, one, map[string]any{"iss": ""}), 401, "WrongIssuer"},
		{"a workload's token", w.token(c, one, map[string]any{"aud": []string{"api://AzureADTokenExchange"}}), 401, "WrongAudience"},
		{"a token for the API server", w.token(c, one, map[string]any{"aud": []string{"https://kubernetes.default.svc"}}), 401, "WrongAudience"},
		{"a token for several", w.token(c, one, map[string]any{"aud": []string{channel.Audience, "api://AzureADTokenExchange"}}), 401, "WrongAudience"},
		{"a token for nobody", w.token(c, one, map[string]any{"aud": []string{}}), 401, "WrongAudience"},
		{"the audience in another case", w.token(c, one, map[string]any{"aud": []string{"API://lanyard-agent"}}), 401, "WrongAudience"},
		{"a token that ended", w.token(c, one, map[string]any{"exp": at(0)}), 401, "TokenExpired"},
		{"a token without an end", without("exp"), 401, "InvalidToken"},
		{"a token that ends nowhere", w.token(c, one, map[string]any{"exp": nil}), 401, "InvalidToken"},
		{"a token without a beginning", without("nbf", "iat"), 401, "InvalidToken"},
		{"a token that begins later", w.token(c, one, map[string]any{"nbf": at(6 * time.Minute)}), 401, "TokenNotYetValid"},
		{"a token of a year", w.token(c, one, map[string]any{"exp": at(365 * 24 * time.Hour)}), 401, "TokenLivesTooLong"},
		{"another service account", w.token(c, one, map[string]any{"sub": "system:serviceaccount:shop:orders"}), 403, "AgentNotEnrolled"},
		{"the service account of another namespace", w.token(c, one, map[string]any{"sub": "system:serviceaccount:shop:lanyard-agent"}), 403, "AgentNotEnrolled"},
		{"no service account", w.token(c, one, map[string]any{"sub": ""}), 403, "AgentNotEnrolled"},
		{"a token that is bound to nothing", w.token(c, one, map[string]any{"kubernetes.io": map[string]any{}}), 403, "TokenNotBound"},
		{"a token of no API server", w.token(c, one, map[string]any{"kubernetes.io": "pod"}), 403, "TokenNotBound"},
		{"a token that is bound to a Secret", w.token(c, one, kubernetes(func(k map[string]any) {
			delete(k, "pod")
			k["secret"] = map[string]any{"name": "s", "uid": "s"}
		})), 403, "TokenNotBound"},
		{"a pod without its UID", w.token(c, one, kubernetes(func(k map[string]any) { k["pod"] = map[string]any{"name": "p"} })), 403, "TokenNotBound"},
		{"a pod whose name is a path", w.token(c, one, kubernetes(func(k map[string]any) { k["pod"] = map[string]any{"name": "../x", "uid": "p"} })), 403, "TokenNotBound"},
		{"a pod of another namespace", w.token(c, one, kubernetes(func(k map[string]any) { k["namespace"] = "shop" })), 403, "TokenNotBound"},
		{"a pod of another service account", w.token(c, one, kubernetes(func(k map[string]any) {
			k["serviceaccount"] = map[string]any{"name": "orders"}
		})), 403, "TokenNotBound"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{channel.ChangesPath(c.ID), channel.ReportsPath(c.ID)} {
				method := http.MethodGet
				if path == channel.ReportsPath(c.ID) {
					method = http.MethodPost
				}
				if a := w.ask(method, path, tt.token, "{}"); a.Status != tt.status || a.ErrorCode() != tt.code {
					t.Errorf("%s: %d %s, want %d %s", path, a.Status, a.Body, tt.status, tt.code)
				}
			}
		})
	}
}

// TestGoodAgents: the same token without a fault passes, with some difference of
// the clocks, in one header of the one scheme.
func TestGoodAgents(t *testing.T) {
	w := newWorld(t)
	one := signers[0]()
	c := w.attached("east", one)
	for _, good := range []string{w.token(c, one), w.token(c, one, map[string]any{"nbf": w.Clock.Now().Add(4 * time.Minute).Unix()})} {
		if a := w.report(c, good, channel.Report{Component: "webhook"}); a.Status != http.StatusOK && a.Status != http.StatusTooManyRequests {
			t.Errorf("a good token: %d %s", a.Status, a.Body)
		}
	}
	r := w.Request("", http.MethodPost, w.Azure.Agents()+channel.ReportsPath(c.ID), `{"component":"webhook"}`)
	r.Header["Authorization"] = []string{"Bearer " + w.token(c, one), "Bearer " + w.token(c, one)}
	if a := cloudtest.Send(w.channel, r); a.ErrorCode() != "AuthenticationFailed" {
		t.Errorf("two headers: %d %s", a.Status, a.Body)
	}
	r.Header["Authorization"] = []string{"Basic " + w.token(c, one)}
	if a := cloudtest.Send(w.channel, r); a.ErrorCode() != "AuthenticationFailed" {
		t.Errorf("another scheme: %d %s", a.Status, a.Body)
	}
}

func cut(raw string) (head, body, signature string) {
	parts := strings.Split(raw, ".")
	return parts[0], parts[1], parts[2]
}

// resigned changes a signature.
func resigned(raw string) string {
	head, body, signature := cut(raw)
	return head + "." + body + "." + strings.Repeat("A", len(signature))
}

// TestAgentsEndWithTheirCluster: what ends a cluster's trust ends its agents.
func TestAgentsEndWithTheirCluster(t *testing.T) {
	w := newWorld(t)
	key := signers[0]()
	put := func(c cluster.Cluster, change func(*cluster.Cluster)) {
		t.Helper()
		change(&c)
		w.Update(func(tx *store.Tx) error { _, err := w.clusters.Put(tx, c); return err })
	}
	for _, tt := range []struct {
		name   string
		end    func(c cluster.Cluster)
		status int
		code   string
	}{
		{"deleted", func(c cluster.Cluster) {
			w.Update(func(tx *store.Tx) error { return w.clusters.Delete(tx, c.ID, c.ResourceID) })
		}, 404, "ClusterNotFound"},
		{"its issuer is disabled", func(c cluster.Cluster) {
			put(c, func(c *cluster.Cluster) { c.IssuerEnabled = false })
		}, 403, "ClusterNotEnrolled"},
		{"its keys are replaced", func(c cluster.Cluster) { w.enroll(c, []string{agentSubject}, signers[1]()) }, 401, "InvalidToken"},
		{"other agents are enrolled", func(c cluster.Cluster) {
			w.enroll(c, []string{"system:serviceaccount:lanyard-system:new"}, key)
		}, 403, "AgentNotEnrolled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := w.attached(strings.ReplaceAll(tt.name, " ", "-"), key)
			raw := w.token(c, key)
			w.report(c, raw, channel.Report{Component: "webhook"}).Want(t, http.StatusOK)
			tt.end(c)
			if a := w.report(c, raw, channel.Report{Component: "webhook"}); a.Status != tt.status || a.ErrorCode() != tt.code {
				t.Errorf("%d %s, want %d %s", a.Status, a.Body, tt.status, tt.code)
			}
		})
	}
	never := w.attach("never-enrolled")
	if a := w.report(never, w.token(never, key), channel.Report{Component: "webhook"}); a.ErrorCode() != "ClusterNotEnrolled" {
		t.Errorf("a cluster that was never enrolled: %d %s", a.Status, a.Body)
	}
}

// TestAgentsAreRecorded: who was let in, who was not and why, and no token.
func TestAgentsAreRecorded(t *testing.T) {
	w := newWorld(t)
	key := signers[0]()
	c := w.attached("east", key)
	good := w.token(c, key)
	bad := w.token(c, key, map[string]any{"sub": "system:serviceaccount:shop:orders"})
	w.report(c, good, channel.Report{Component: "webhook"}).Want(t, http.StatusOK)
	w.report(c, bad, channel.Report{Component: "webhook"}).Want(t, http.StatusForbidden)
	// Nobody's requests, for nothing that is there, fill no log.
	w.report(c, "", channel.Report{Component: "webhook"}).Want(t, http.StatusUnauthorized)
	w.report(cluster.Cluster{ID: "00000000-0000-4000-8000-000000000000"}, good, channel.Report{Component: "webhook"}).Want(t, http.StatusNotFound)
	var allowed, denied bool
	for _, r := range w.Records() {
		if r.Action != "Microsoft.Kubernetes/connectedClusters/reports/write" {
			continue
		}
		if r.TenantID != c.TenantID || r.Scope != c.ResourceID || r.Kind != audit.KindAuthorization {
			t.Errorf("recorded %+v", r)
		}
		allowed = allowed || r.Result == audit.ResultAllowed && r.Detail["agent"] == agentSubject && r.Detail["pod"] == "lanyard-agent-1"
		denied = denied || r.Result == audit.ResultDenied && strings.Contains(r.Reason, "shop:orders")
	}
	if !allowed || !denied {
		t.Errorf("recorded allowed %v, denied %v", allowed, denied)
	}
	for _, raw := range []string{good, bad} {
		_, body, signature := cut(raw)
		for _, text := range []string{w.AuditText(), w.Log.String()} {
			if strings.Contains(text, body) || strings.Contains(text, signature) {
				t.Error("a token was recorded or logged")
			}
		}
	}
	// Without a record nobody is let in.
	cloudtest.Must(t, w.Audit.Close())
	if a := w.report(c, good, channel.Report{Component: "controller"}); a.Status != http.StatusServiceUnavailable {
		t.Errorf("without an audit log: %d %s", a.Status, a.Body)
	}
	w.Audit = nil
}

// FuzzAgentToken: of all texts, the one that the cluster's key signed for its
// agent passes for an agent's token.
func FuzzAgentToken(f *testing.F) {
	w := newWorld(f)
	key := signers[0]()
	c := w.attached("east", key)
	good := w.token(c, key)
	head, body, signature := cut(good)
	for _, seed := range []string{
		good, "", "..", head + "." + body + ".", head + "==." + body + "." + signature + "==", "Bearer " + good, good + " ", good + "\n",
		w.token(c, key, map[string]any{"kubernetes.io": []any{1}}), w.token(c, key, map[string]any{"aud": channel.Audience, "exp": 1e300}),
		w.token(c, key, kubernetes(func(k map[string]any) { maps.Copy(k, map[string]any{"pod": "p", "serviceaccount": nil}) })),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		same := *w
		same.Cloud = w.In(t)
		a := same.ask(http.MethodPost, channel.ReportsPath(c.ID), raw, "{")
		if a.ErrorCode() == "" {
			t.Fatalf("answered %d %s", a.Status, a.Body)
		}
		// A report that cannot be read is what comes after the token was accepted.
		if accepted := a.ErrorCode() == "InvalidReport"; accepted && strings.TrimRight(strings.TrimSpace(raw), "=") != good {
			t.Fatalf("passes for an agent's token: %q", raw)
		}
	})
}
