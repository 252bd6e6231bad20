package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/errgroup"

	"github.com/lanyard-id/lanyard/internal/standin"
)

// anyTenant is one whose operator has said nothing of any issuer.
const anyTenant = "11111111-1111-1111-1111-111111111111"

// issuerServer is a foreign issuer over real TLS, on loopback.
type issuerServer struct {
	*httptest.Server
	fetches atomic.Int32 // of the discovery document

	mu      sync.Mutex
	jwks    string
	doc     map[string]any
	cache   string
	broken  int // a status to answer with, or 0
	handler func(w http.ResponseWriter, r *http.Request) bool
}

func newIssuer(t testing.TB, keys ...jose.JSONWebKey) *issuerServer {
	t.Helper()
	s := &issuerServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = discardLog // clients break off on purpose
	s.StartTLS()
	t.Cleanup(s.Close)
	s.doc = map[string]any{"issuer": s.URL, "jwks_uri": s.URL + "/keys"}
	s.setKeys(t, keys...)
	return s
}

func (s *issuerServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handler != nil && s.handler(w, r) {
		return
	}
	if s.broken != 0 {
		http.Error(w, "broken", s.broken)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		s.fetches.Add(1)
		json.NewEncoder(w).Encode(s.doc)
	case "/keys":
		if s.cache != "" {
			w.Header().Set("Cache-Control", s.cache)
		}
		w.Write([]byte(s.jwks))
	default:
		http.NotFound(w, r)
	}
}

// change changes what the server answers.
func (s *issuerServer) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *issuerServer) setKeys(t testing.TB, keys ...jose.JSONWebKey) {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	s.change(func() { s.jwks = string(b) })
}

// config trusts the server and lets it be dialled.
func (s *issuerServer) config(c *standin.Clock) IssuersConfig {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return IssuersConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, CAs: pool, Now: c.Now}
}

func (s *issuerServer) assertion(t testing.TB, key *rsa.PrivateKey, kid string) *Assertion {
	t.Helper()
	header := podHeader(kid)
	if kid == "" {
		delete(header, "kid")
	}
	return parse(t, forge(t, key, header, podClaims(s.URL)))
}

func parse(t testing.TB, raw string) *Assertion {
	t.Helper()
	a, err := ParseAssertion(raw)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func jwk(n int, kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: &rsaKey(n).PublicKey, KeyID: kid, Algorithm: "RS256", Use: "sig"}
}

// wantFetches checks how often the issuer was asked so far.
func (s *issuerServer) wantFetches(t *testing.T, want int32) {
	t.Helper()
	if got := s.fetches.Load(); got != want {
		t.Errorf("the issuer was asked %d times, want %d", got, want)
	}
}

func wantError[E error](t *testing.T, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("the error is %T: %v; want %T", err, err, e)
	}
	return e
}

func TestIssuersVerify(t *testing.T) {
	t.Parallel()
	s, c := newIssuer(t, jwk(0, "a"), jwk(1, "b")), standin.NewClock(standin.Start)
	i := NewIssuers(s.config(c))
	for name, a := range map[string]*Assertion{
		"first key":      s.assertion(t, rsaKey(0), "a"),
		"second key":     s.assertion(t, rsaKey(1), "b"),
		"no kid, first":  s.assertion(t, rsaKey(0), ""),
		"no kid, second": s.assertion(t, rsaKey(1), ""),
		"padded":         parse(t, padded(t, "a", podClaims(s.URL))),
	} {
		if err := i.Verify(t.Context(), anyTenant, a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.wantFetches(t, 1)
}

func TestIssuersRefusals(t *testing.T) {
	t.Parallel()
	s, c := newIssuer(t, jwk(0, "a")), standin.NewClock(standin.Start)
	i := NewIssuers(s.config(c))
	ctx := t.Context()

	missing := wantError[*KeyNotFoundError](t, i.Verify(ctx, anyTenant, s.assertion(t, rsaKey(1), "b")))
	if missing.Issuer != s.URL || missing.KeyID != "b" {
		t.Errorf("names %+v", missing)
	}
	for name, a := range map[string]*Assertion{
		"another key by the same kid": s.assertion(t, rsaKey(1), "a"),
		"no kid, another key":         s.assertion(t, rsaKey(1), ""),
		"own key in jwk": parse(t, forge(t, rsaKey(1),
			map[string]any{"alg": "RS256", "kid": "a", "jwk": jose.JSONWebKey{Key: &rsaKey(1).PublicKey}}, podClaims(s.URL))),
		"no signature": parse(t, segment(t, podHeader("a"))+"."+segment(t, podClaims(s.URL))+"."),
		"alg none": parse(t, segment(t, map[string]any{"alg": "none", "kid": "a"})+"."+
			segment(t, podClaims(s.URL))+"."),
		"HS256": parse(t, hs256(segment(t, map[string]any{"alg": "HS256", "kid": "a"})+"."+
			segment(t, podClaims(s.URL)), rsaKey(0).N.Bytes())),
		"PS256":         parse(t, sign(t, jose.PS256, rsaKey(0), "a", podClaims(s.URL))),
		"RS256 of none": parse(t, forge(t, rsaKey(0), map[string]any{"alg": "none", "kid": "a"}, podClaims(s.URL))),
	} {
		refused := wantError[*SignatureError](t, i.Verify(ctx, anyTenant, a))
		if refused.Issuer != s.URL {
			t.Errorf("%s: names issuer %q", name, refused.Issuer)
		}
	}
	// A changed claim.
	raw := forge(t, rsaKey(0), podHeader("a"), podClaims(s.URL))
	head, _, sig := cut(raw)
	claims := podClaims(s.URL)
	claims["sub"] = "system:serviceaccount:ns:admin"
	wantError[*SignatureError](t, i.Verify(ctx, anyTenant, parse(t, head+"."+segment(t, claims)+"."+sig)))
}

// Keys that must not count, though the signature by them is right.
func TestIssuersUnusableKeys(t *testing.T) {
	t.Parallel()
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	encryption, other := jwk(0, "a"), jwk(0, "a")
	encryption.Use, other.Algorithm = "enc", "PS256"
	for name, key := range map[string]struct {
		jwk    jose.JSONWebKey
		signer int
	}{
		"short":          {jwk(2, "a"), 2},
		"for encryption": {encryption, 0},
		"for PS256":      {other, 0},
		"elliptic curve": {jose.JSONWebKey{Key: &ec.PublicKey, KeyID: "a"}, 0},
		"symmetric":      {jose.JSONWebKey{Key: []byte(strings.Repeat("k", 256)), KeyID: "a"}, 0},
		"private":        {jose.JSONWebKey{Key: rsaKey(0), KeyID: "a"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newIssuer(t, key.jwk, jwk(1, "usable")), standin.NewClock(standin.Start)
			i := NewIssuers(s.config(c))
			a := s.assertion(t, rsaKey(key.signer), "a")
			wantError[*KeyNotFoundError](t, i.Verify(t.Context(), anyTenant, a))
			s.setKeys(t, key.jwk)
			c.Advance(refetchAfter)
			wantError[*UnreachableError](t, i.Verify(t.Context(), anyTenant, a))
		})
	}
}

// A key whose verification would cost too much does not count.
func TestParseForeignKeysSize(t *testing.T) {
	t.Parallel()
	for bits, usable := range map[int]bool{2047: false, 2048: true, 4096: true, 4097: false, 65536: false} {
		modulus := make([]byte, (bits+7)/8)
		modulus[0], modulus[len(modulus)-1] = 1<<((bits-1)%8), 1
		_, err := parseForeignKeys(fmt.Appendf(nil, `{"keys":[{"kty":"RSA","kid":"a","e":"AQAB","n":%q}]}`,
			base64.RawURLEncoding.EncodeToString(modulus)))
		if (err == nil) != usable {
			t.Errorf("%d bits: %v, want usable %t", bits, err, usable)
		}
	}
}

// Of an issuer's keys only the first hundred count.
func TestIssuersFirstHundredKeys(t *testing.T) {
	t.Parallel()
	var keys []jose.JSONWebKey
	for range maxForeignKeys - 1 {
		keys = append(keys, jwk(1, "other"))
	}
	s, c := newIssuer(t, append(keys, jwk(0, "a"))...), standin.NewClock(standin.Start)
	if err := NewIssuers(s.config(c)).Verify(t.Context(), anyTenant, s.assertion(t, rsaKey(0), "a")); err != nil {
		t.Errorf("the hundredth key: %v", err)
	}
	s.setKeys(t, append(keys, jwk(1, "other"), jwk(0, "a"))...)
	err := NewIssuers(s.config(c)).Verify(t.Context(), anyTenant, s.assertion(t, rsaKey(0), "a"))
	wantError[*KeyNotFoundError](t, err)
}

func TestIssuersRotation(t *testing.T) {
	t.Parallel()
	s, c := newIssuer(t, jwk(0, "a")), standin.NewClock(standin.Start)
	i := NewIssuers(s.config(c))
	old, renewed := s.assertion(t, rsaKey(0), "a"), s.assertion(t, rsaKey(1), "b")
	if err := i.Verify(t.Context(), anyTenant, old); err != nil {
		t.Fatal(err)
	}
	s.setKeys(t, jwk(0, "a"), jwk(1, "b"))

	// Just after a fetch another one is not due.
	wantError[*KeyNotFoundError](t, i.Verify(t.Context(), anyTenant, renewed))
	c.Advance(refetchAfter - time.Second)
	wantError[*KeyNotFoundError](t, i.Verify(t.Context(), anyTenant, renewed))
	s.wantFetches(t, 1)

	c.Advance(time.Second)
	if err := i.Verify(t.Context(), anyTenant, renewed); err != nil {
		t.Errorf("the new key: %v", err)
	}
	s.wantFetches(t, 2)
	for range 100 {
		wantError[*KeyNotFoundError](t, i.Verify(t.Context(), anyTenant, s.assertion(t, rsaKey(1), "unknown")))
	}
	s.wantFetches(t, 2)

	// A withdrawn key ends when the keys' time is over.
	s.setKeys(t, jwk(1, "b"))
	c.Advance(keysUnstated)
	wantError[*KeyNotFoundError](t, i.Verify(t.Context(), anyTenant, old))
	s.wantFetches(t, 3)
}

// An issuer that was made anew under its old name may reuse a kid.
func TestIssuersSameKidNewKey(t *testing.T) {
	t.Parallel()
	s, c := newIssuer(t, jwk(0, "a")), standin.NewClock(standin.Start)
	i := NewIssuers(s.config(c))
	if err := i.Verify(t.Context(), anyTenant, s.assertion(t, rsaKey(0), "a")); err != nil {
		t.Fatal(err)
	}
	s.setKeys(t, jwk(1, "a"))
	c.Advance(refetchAfter)
	if err := i.Verify(t.Context(), anyTenant, s.assertion(t, rsaKey(1), "a")); err != nil {
		t.Error(err)
	}
	wantError[*SignatureError](t, i.Verify(t.Context(), anyTenant, s.assertion(t, rsaKey(0), "a")))
}

func TestIssuersLifetime(t *testing.T) {
	t.Parallel()
	for cache, want := range map[string]time.Duration{
		"":                                  keysUnstated,
		"public, max-age=3600":              time.Hour,
		"max-age=600, must-revalidate":      10 * time.Minute,
		`Max-Age="7200"`:                    2 * time.Hour,
		"max-age=0":                         minKeysTTL,
		"max-age=31536000":                  maxKeysTTL,
		"max-age=99999999999999999999":      keysUnstated,
		"max-age=-1":                        keysUnstated,
		"no-store":                          minKeysTTL,
		"private, no-cache, max-age=100000": minKeysTTL,
	} {
		head := http.Header{}
		if cache != "" {
			head.Set("Cache-Control", cache)
		}
		if got := lifetime(head); got != want {
			t.Errorf("%q: %s, want %s", cache, got, want)
		}
	}
	s, c := newIssuer(t, jwk(0, "a")), standin.NewClock(standin.Start)
	s.change(func() { s.cache = "max-age=600" })
	i, a := NewIssuers(s.config(c)), s.assertion(t, rsaKey(0), "a")
	for _, step := range []struct {
		after   time.Duration
		fetches int32
	}{{0, 1}, {599 * time.Second, 1}, {time.Second, 2}} {
		c.Advance(step.after)
		if err := i.Verify(t.Context(), anyTenant, a); err != nil {
			t.Fatal(err)
		}
		s.wantFetches(t, step.fetches)
	}
}

// An outage of the issuer is bridged, for a time.
func TestIssuersOutage(t *testing.T) {
	t.Parallel()
	s, c := newIssuer(t, jwk(0, "a")), standin.NewClock(standin.Start)
	i, a := NewIssuers(s.config(c)), s.assertion(t, rsaKey(0), "a")
	if err := i.Verify(t.Context(), anyTenant, a); err != nil {
		t.Fatal(err)
	}
	asked := 0
	s.change(func() {
		s.handler = func(w http.ResponseWriter, _ *http.Request) bool {
			asked++
			http.Error(w, "down", http.StatusServiceUnavailable)
			return true
		}
	})
	c.Advance(keysUnstated)
	for range 10 {
		if err := i.Verify(t.Context(), anyTenant, a); err != nil {
			t.Fatalf("during the outage: %v", err)
		}
	}
	s.change(func() {
		if asked != 1 {
			t.Errorf("asked %d times within %s, want 1", asked, retryAfter)
		}
	})
	// Whether an unknown key is published cannot be told.
	wantError[*UnreachableError](t, i.Verify(t.Context(), anyTenant, s.assertion(t, rsaKey(1), "b")))
	c.Advance(keysStale - time.Second)
	if err := i.Verify(t.Context(), anyTenant, a); err != nil {
		t.Errorf("before the end of the bridge: %v", err)
	}
	c.Advance(time.Second)
	wantError[*UnreachableError](t, i.Verify(t.Context(), anyTenant, a))

	s.change(func() { s.handler = nil })
	wantError[*UnreachableError](t, i.Verify(t.Context(), anyTenant, a))
	c.Advance(retryAfter)
	if err := i.Verify(t.Context(), anyTenant, a); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

func TestIssuersShareOneFetch(t *testing.T) {
	t.Parallel()
	s, c := newIssuer(t, jwk(0, "a")), standin.NewClock(standin.Start)
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.change(func() {
		s.handler = func(http.ResponseWriter, *http.Request) bool {
			once.Do(func() { close(entered); <-release })
			return false
		}
	})
	i, a := NewIssuers(s.config(c)), s.assertion(t, rsaKey(0), "a")
	// The one who begins the fetch gives up: that ends its waiting alone.
	leader, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- i.Verify(leader, anyTenant, a) }()
	<-entered
	var group errgroup.Group
	for range 20 {
		group.Go(func() error { return i.Verify(t.Context(), anyTenant, a) })
	}
	leave()
	if err := wantError[*UnreachableError](t, <-left); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	close(release)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	s.wantFetches(t, 1)
}

// TestIssuersLocal: the cloud's own copy of an issuer's keys counts, and is used
// for the tenant that it is for alone.
func TestIssuersLocal(t *testing.T) {
	t.Parallel()
	s, c := newIssuer(t, jwk(0, "a")), standin.NewClock(standin.Start)
	cfg := s.config(c)
	const own = "https://oidc.lanyard.test/t/c/"
	local := localKeys(t, jwk(1, "b"))
	cfg.Local = func(tenant, issuer string) (*LocalKeys, bool) {
		switch {
		case issuer == own:
			return local, true
		case issuer == s.URL && tenant == "bound":
			return localKeys(t, jwk(1, "b")), true
		}
		return nil, false
	}
	i := NewIssuers(cfg)
	a := parse(t, forge(t, rsaKey(1), podHeader("b"), podClaims(own)))
	for _, tenant := range []string{anyTenant, "bound"} {
		if err := i.Verify(t.Context(), tenant, a); err != nil {
			t.Fatal(err)
		}
	}
	// New keys count at once, and old ones no more; nothing is fetched when there
	// are none.
	local = localKeys(t, jwk(0, "a"))
	wantError[*KeyNotFoundError](t, i.Verify(t.Context(), anyTenant, a))
	local = nil
	wantError[*UnreachableError](t, i.Verify(t.Context(), anyTenant, a))
	s.wantFetches(t, 0)
	// The keys that one tenant's operator gave for an issuer sign for no other
	// tenant, and for that tenant alone the issuer's own do not.
	forged := s.assertion(t, rsaKey(1), "b")
	if err := i.Verify(t.Context(), "bound", forged); err != nil {
		t.Error(err)
	}
	wantError[*KeyNotFoundError](t, i.Verify(t.Context(), anyTenant, forged))
	if err := i.Verify(t.Context(), anyTenant, s.assertion(t, rsaKey(0), "a")); err != nil {
		t.Error(err)
	}
	wantError[*KeyNotFoundError](t, i.Verify(t.Context(), "bound", s.assertion(t, rsaKey(0), "a")))
	s.wantFetches(t, 1)
}

// localKeys takes the public halves of keys as the cloud does.
func localKeys(t testing.TB, keys ...jose.JSONWebKey) *LocalKeys {
	t.Helper()
	parsed, err := ParseKeySet(must(json.Marshal(jose.JSONWebKeySet{Keys: keys})))
	if err != nil {
		t.Fatal(err)
	}
	return NewLocalKeys(parsed)
}

// TestLocalKeysAreUsable: of what an API server publishes only what federation
// accepts counts.
func TestLocalKeysAreUsable(t *testing.T) {
	t.Parallel()
	elliptic := must(NewVerificationKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public()))
	short := must(NewVerificationKey(rsaKey(2).Public()))
	good := must(NewVerificationKey(rsaKey(0).Public()))
	if got := NewLocalKeys([]VerificationKey{elliptic, good, short}).IDs(); !slices.Equal(got, []string{good.ID}) {
		t.Errorf("usable: %v", got)
	}
}

func TestIssuersAreBounded(t *testing.T) {
	t.Parallel()
	s, c := newIssuer(t, jwk(0, "a")), standin.NewClock(standin.Start)
	i, a := NewIssuers(s.config(c)), s.assertion(t, rsaKey(0), "a")
	for n := range maxIssuers + 10 {
		if err := i.Verify(t.Context(), anyTenant, a); err != nil {
			t.Fatal(err)
		}
		c.Advance(time.Second)
		claims := podClaims("http://not-https/" + strings.Repeat("n", n))
		wantError[*UnreachableError](t, i.Verify(t.Context(), anyTenant, parse(t, forge(t, rsaKey(2), podHeader("a"), claims))))
		c.Advance(time.Second)
	}
	if n := len(i.known); n != maxIssuers {
		t.Errorf("%d issuers are kept, want %d", n, maxIssuers)
	}
	if i.known[s.URL] == nil {
		t.Error("an issuer in use was forgotten")
	}
}
