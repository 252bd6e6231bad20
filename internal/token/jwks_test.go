package token

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

func TestJWKSForm(t *testing.T) {
	t.Parallel()
	k, _ := newKeys(t)
	const issuer = `https://login.lanyard.test/{"tenantid}/v2.0`
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(k.JWKS(issuer), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 {
		t.Fatalf("%d keys", len(set.Keys))
	}
	key := set.Keys[0]
	chain, _ := key["x5c"].([]any)
	if len(chain) != 1 {
		t.Fatalf("x5c: %v", key["x5c"])
	}
	der, err := base64.StdEncoding.DecodeString(chain[0].(string))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		t.Errorf("the certificate is not signed by its own key: %v", err)
	}
	sum := sha1.Sum(der)
	id := base64.RawURLEncoding.EncodeToString(sum[:])
	want := map[string]any{
		"kty": "RSA", "use": "sig", "kid": id, "x5t": id, "n": key["n"], "e": "AQAB", "x5c": key["x5c"], "issuer": issuer,
	}
	if diff := cmp.Diff(want, key); diff != "" {
		t.Error(diff)
	}
}

// Another implementation's reading of the set verifies a token.
func TestJWKSVerifiesTokens(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(k.JWKS("https://issuer"), &set); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{Version1, Version2} {
		claims := appClaims(c)
		claims.Version = version
		signed, err := jose.ParseSignedCompact(mint(t, k, claims), []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signed.Verify(&set); err != nil {
			t.Errorf("version %s: %v", version, err)
		}
	}
}

func TestJWKSIsCachedAndBounded(t *testing.T) {
	t.Parallel()
	k, _ := newKeys(t)
	a, b := k.JWKS("https://a"), k.JWKS("https://a")
	if &a[0] != &b[0] {
		t.Error("the document was made twice")
	}
	if bytes.Equal(a, k.JWKS("https://b")) {
		t.Error("two issuers share a document")
	}
	for i := range 3 * maxCachedJWKS {
		k.JWKS(fmt.Sprint("https://", i))
	}
	if n := len(k.set.Load().jwks.docs); n > maxCachedJWKS {
		t.Errorf("%d documents are kept", n)
	}
}
