package token

import (
	"crypto/elliptic"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/standin"
)

func (s *issuerServer) inspect(t *testing.T) *Inspection {
	t.Helper()
	cfg := s.config(standin.NewClock(standin.Start))
	return Inspect(t.Context(), InspectConfig{Allow: cfg.Allow, CAs: cfg.CAs}, s.URL)
}

func TestInspect(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, jwk(0, "a"), jwk(0, "a"), jwk(2, "short"), jose.JSONWebKey{Key: ellipticKey(t, elliptic.P256()).Public(), KeyID: "curve", Algorithm: "ES256"},
		jose.JSONWebKey{Key: rsaKey(1), KeyID: "private"}, jose.JSONWebKey{Key: &rsaKey(1).PublicKey, KeyID: "b", Use: "enc"})
	s.change(func() {
		s.doc["id_token_signing_alg_values_supported"] = []string{"RS256"}
		s.cache = "public, max-age=3600"
	})
	i := s.inspect(t)
	if i.Err != nil {
		t.Fatal(i.Err)
	}
	if diff := cmp.Diff([]string{"a"}, i.KeyIDs()); diff != "" {
		t.Error(diff)
	}
	var why []string
	for _, key := range i.Keys {
		if key.Unusable != nil {
			why = append(why, key.ID+": "+key.Unusable.Error())
		}
	}
	if diff := cmp.Diff([]string{
		"short: it has 1024 bits, not 2048 to 4096",
		"curve: it is an elliptic key; only RSA public keys count",
		"private: it is a private key, which must never be published; only RSA public keys count",
		`b: its use is "enc", not sig`,
	}, why); diff != "" {
		t.Error(diff)
	}
	if i.StatedIssuer != s.URL || i.KeysURL != s.URL+"/keys" || !cmp.Equal(i.Algorithms, []string{"RS256"}) || i.KeptFor != time.Hour {
		t.Errorf("%+v", i)
	}
	for _, d := range []InspectedDocument{i.Discovery, i.KeySet} {
		// Reached on loopback, with a certificate of the test's own.
		if !d.Answered || d.Bytes == 0 || d.PublicAddress || d.PublicAuthority || d.NotAfter.IsZero() {
			t.Errorf("%+v", d)
		}
	}
}

// An inspection tells what it saw on the way to what is wrong.
func TestInspectBroken(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, jwk(0, "a"))
	s.change(func() { s.doc["issuer"] = s.URL + "/" })
	i := s.inspect(t)
	wantText(t, i.Err, "is of issuer")
	if i.StatedIssuer != s.URL+"/" || i.KeysURL == "" || i.KeySet.URL != "" || i.KeySet.Answered {
		t.Errorf("%+v", i)
	}
	s.change(func() { s.doc["issuer"] = s.URL; s.doc["jwks_uri"] = s.URL + "/none" })
	i = s.inspect(t)
	wantText(t, i.Err, "status 404")
	if !i.KeySet.Answered || i.Keys != nil {
		t.Errorf("%+v", i)
	}
	s.change(func() { s.doc["jwks_uri"] = s.URL + "/keys"; s.doc["id_token_signing_alg_values_supported"] = "RS256" })
	if i = s.inspect(t); i.Err != nil || i.Algorithms != nil {
		t.Errorf("%v, %v", i.Err, i.Algorithms)
	}
	i = Inspect(t.Context(), InspectConfig{}, "http://h")
	wantText(t, i.Err, "not https")
	if i.Discovery.URL != "" || i.Discovery.Answered {
		t.Errorf("%+v", i)
	}
	wantText(t, Inspect(t.Context(), InspectConfig{}, s.URL).Err, "--issuer-allow")
}

// The way to the own cloud is taken as it is given.
func TestInspectByClient(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, jwk(0, "a"))
	if i := Inspect(t.Context(), InspectConfig{Client: s.Client()}, s.URL); i.Err != nil {
		t.Error(i.Err)
	}
	if i := Inspect(t.Context(), InspectConfig{Client: &http.Client{}}, s.URL); i.Err == nil {
		t.Error("a client without the authority inspected the issuer")
	}
}

// A token is checked by the keys that were seen, and by those that count alone.
func TestInspectionVerify(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, jwk(0, "a"), jose.JSONWebKey{Key: &rsaKey(1).PublicKey, KeyID: "b", Use: "enc"})
	i := s.inspect(t)
	if err := i.Verify(s.assertion(t, rsaKey(0), "a")); err != nil {
		t.Error(err)
	}
	wantError[*SignatureError](t, i.Verify(s.assertion(t, rsaKey(1), "a")))
	wantError[*KeyNotFoundError](t, i.Verify(s.assertion(t, rsaKey(1), "b")))
	other := *s.assertion(t, rsaKey(0), "a")
	other.Algorithm = "RS384"
	wantError[*SignatureError](t, i.Verify(&other))
	s.change(func() { s.broken = 500 })
	wantError[*UnreachableError](t, s.inspect(t).Verify(s.assertion(t, rsaKey(0), "a")))
}
