package issuer

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/token"
)

// published is an issuer over TLS whose answers a test chooses.
type published struct {
	*httptest.Server
	discovery, keys, cache string
}

func publish(t *testing.T, keys ...token.VerificationKey) *published {
	t.Helper()
	p := &published{cache: "public, max-age=3600"}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := map[string]string{DiscoveryPath: p.discovery, KeySetPath: p.keys}[r.URL.Path]
		if text == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", p.cache)
		w.Write([]byte(text))
	}))
	t.Cleanup(p.Close)
	p.set(t, p.URL, keys...)
	return p
}

// set publishes for an issuer.
func (p *published) set(t *testing.T, issuer string, keys ...token.VerificationKey) {
	t.Helper()
	d := documents(t, issuer, keys...)
	p.discovery, p.keys = strings.ReplaceAll(string(d.Discovery), KeySetURL(issuer), p.URL+KeySetPath), string(d.KeySet)
}

func (p *published) inspect(t *testing.T) *token.Inspection {
	t.Helper()
	return token.Inspect(t.Context(), token.InspectConfig{Client: p.Client()}, p.URL)
}

// bad gives those findings that are not ok, without the finding that every
// issuer on loopback causes.
func bad(findings []Finding) []string {
	list := []string{}
	for _, f := range findings {
		if f.Severity == OK || f.Check == "reach" {
			continue
		}
		if f.Mend == "" || f.Message == "" {
			list = append(list, "without words: "+f.Check)
		}
		list = append(list, string(f.Severity)+" "+f.Check+": "+f.Message)
	}
	return list
}

// wantFindings compares findings by how they begin.
func wantFindings(t *testing.T, name string, findings []Finding, want ...string) {
	t.Helper()
	got := bad(findings)
	same := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		same = same && strings.HasPrefix(got[i], want[i])
	}
	if !same {
		t.Errorf("%s: found %q; want %q", name, got, want)
	}
	failed := false
	for _, w := range want {
		failed = failed || strings.HasPrefix(w, "error")
	}
	if Failed(findings) != failed {
		t.Errorf("%s: failed %t", name, !failed)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	_, curve := ellipticKey(t)
	good := publicKey(t, 0)
	for name, test := range map[string]struct {
		change func(p *published)
		want   []string
	}{
		"as it should be": {func(*published) {}, nil},
		"not there":       {func(p *published) { p.discovery = "" }, []string{"error discovery document: reading the discovery document"}},
		"no JSON":         {func(p *published) { p.discovery = "<html>" }, []string{"error discovery document: the discovery document at"}},
		"another issuer":  {func(p *published) { p.set(t, "https://other.example", good) }, []string{"error discovery document: the document at"}},
		"a slash more":    {func(p *published) { p.set(t, p.URL+"/", good) }, []string{"error discovery document: the document at"}},
		"no keys":         {func(p *published) { p.keys = "" }, []string{"error keys: reading the keys"}},
		"keys elsewhere": {func(p *published) {
			p.discovery = strings.ReplaceAll(p.discovery, p.URL+KeySetPath, "http://other.example/keys")
		}, []string{"error keys: the discovery document's jwks_uri is not usable"}},
		"no key": {func(p *published) { p.keys = `{"keys":[]}` }, []string{"error keys: none of the 0"}},
		"elliptic alone": {func(p *published) { p.set(t, p.URL, curve) }, []string{
			"warning discovery document: its id_token_signing_alg_values_supported are [\"ES256\"]", "warning keys: key 1 (" + curve.ID + "): it is an elliptic key", "error keys: none of the 1"}},
		"elliptic beside": {func(p *published) { p.set(t, p.URL, good, curve) }, []string{"warning keys: key 2"}},
		"a private key": {func(p *published) {
			b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: good.Public, KeyID: "a"}, {Key: rsaKeys()[1], KeyID: "b"}}})
			if err != nil {
				t.Fatal(err)
			}
			p.keys = string(b)
		}, []string{"error keys: key 2 (b): it is a private key"}},
		"a kid twice": {func(p *published) {
			p.keys = strings.Replace(p.keys, `"keys": [`, `"keys": [`+strings.TrimSuffix(strings.TrimSpace(p.keys[strings.Index(p.keys, "[")+1:]), "]\n}")+`,`, 1)
		}, []string{"warning keys: the kid " + good.ID + " is there twice"}},
		"no kid":       {func(p *published) { p.keys = strings.ReplaceAll(p.keys, `"kid"`, `"id"`) }, []string{"warning keys: key 1 has no kid"}},
		"not kept":     {func(p *published) { p.cache = "no-store" }, []string{"warning cache: the keys must not be kept"}},
		"kept forever": {func(p *published) { p.cache = "max-age=31536000" }, []string{"warning cache: the keys may be kept for 24h"}},
		"unsaid":       {func(p *published) { p.cache = "" }, nil},
	} {
		p := publish(t, good)
		test.change(p)
		wantFindings(t, name, Judge(p.inspect(t), false, standin.Start), test.want...)
	}
	for issuer, want := range map[string]string{
		"http://oidc.example":                             "error issuer: the issuer is not usable: it is not https",
		"https://127.0.0.1:1/" + strings.Repeat("a", 600): "error issuer: the issuer has 620 characters",
	} {
		findings := Judge(token.Inspect(t.Context(), token.InspectConfig{}, issuer), false, standin.Start)
		if got := bad(findings); len(got) == 0 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %q", issuer, got)
		}
	}
}

// Who cannot reach the documents is told beside, and is no failure.
func TestJudgeReach(t *testing.T) {
	t.Parallel()
	good := token.InspectedDocument{URL: "https://oidc.example/d", Answered: true, Bytes: 9, PublicAddress: true, PublicAuthority: true, NotAfter: standin.Start.Add(30 * 24 * time.Hour)}
	for name, test := range map[string]struct {
		change func(d *token.InspectedDocument)
		want   []Severity
	}{
		"public":             {func(*token.InspectedDocument) {}, []Severity{OK}},
		"a private address":  {func(d *token.InspectedDocument) { d.PublicAddress = false }, []Severity{Warning}},
		"an own authority":   {func(d *token.InspectedDocument) { d.PublicAuthority = false }, []Severity{Warning}},
		"ends soon":          {func(d *token.InspectedDocument) { d.NotAfter = standin.Start.Add(time.Hour) }, []Severity{OK, Warning}},
		"nobody answered it": {func(d *token.InspectedDocument) { d.Answered = false }, nil},
	} {
		i := &token.Inspection{Issuer: issuerURL, StatedIssuer: issuerURL, KeysURL: "https://oidc.example/k", Discovery: good}
		test.change(&i.Discovery)
		var got []Severity
		for _, f := range Judge(i, false, standin.Start) {
			if f.Check == "reach" {
				got = append(got, f.Severity)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for _, f := range Judge(i, true, standin.Start) {
			if f.Check == "reach" {
				t.Errorf("%s: of an issuer of the cloud's own: %s", name, f.Message)
			}
		}
	}
}

func TestJudgeCluster(t *testing.T) {
	t.Parallel()
	_, curve := ellipticKey(t)
	a, b := publicKey(t, 0), publicKey(t, 1)
	p := publish(t, a)
	i := p.inspect(t)
	if i.Err != nil {
		t.Fatal(i.Err)
	}
	twin := b
	twin.ID = a.ID
	now := time.Now()
	signed := func(issuer string, n int) *token.Assertion {
		s, err := token.NewServiceAccountSigner(issuer, privatePEM(n))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := s.Token("default", "default", "api://AzureADTokenExchange", now, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := token.ParseAssertion(raw)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	forged := *signed(p.URL, 1)
	forged.KeyID = a.ID
	for name, test := range map[string]struct {
		ClusterFacts
		want []string
	}{
		"as it should be":    {ClusterFacts{Issuer: p.URL, Keys: []token.VerificationKey{a}, Token: signed(p.URL, 0)}, nil},
		"another issuer":     {ClusterFacts{Issuer: "https://kubernetes.default.svc", Keys: []token.VerificationKey{a}}, []string{"error cluster's issuer: the API server's issuer is"}},
		"a slash more":       {ClusterFacts{Issuer: p.URL + "/", Keys: []token.VerificationKey{a}, Token: signed(p.URL+"/", 0)}, []string{"error cluster's issuer", "error token: a new token of the cluster has the iss"}},
		"a key unpublished":  {ClusterFacts{Issuer: p.URL, Keys: []token.VerificationKey{a, b}, Token: signed(p.URL, 0)}, []string{"error cluster's keys: the API server accepts tokens by the key " + b.ID}},
		"signs by it":        {ClusterFacts{Issuer: p.URL, Keys: []token.VerificationKey{b}, Token: signed(p.URL, 1)}, []string{"error cluster's keys", "error token: a new token of the cluster is signed by the key " + b.ID}},
		"elliptic":           {ClusterFacts{Issuer: p.URL, Keys: []token.VerificationKey{a, curve}, Token: signed(p.URL, 0)}, []string{"warning cluster's keys"}},
		"a twin of the kid":  {ClusterFacts{Issuer: p.URL, Keys: []token.VerificationKey{twin}, Token: &forged}, []string{"error cluster's keys: the key that is published as " + a.ID + " is another", "error token: a new token of the cluster is refused"}},
		"no token to be had": {ClusterFacts{Issuer: p.URL, Keys: []token.VerificationKey{a}, TokenErr: http.ErrNotSupported}, []string{"warning token: no token could be asked for"}},
	} {
		wantFindings(t, name, JudgeCluster(i, test.ClusterFacts), test.want...)
	}
	// What is not published is said once, not for every key.
	p.keys = ""
	wantFindings(t, "nothing published", JudgeCluster(p.inspect(t), ClusterFacts{Issuer: p.URL, Keys: []token.VerificationKey{a}, Token: signed(p.URL, 0)}))
}
