package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// The key IDs of these were reckoned by openssl:
// openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | basenc --base64url
const (
	rsaPublicPEM = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuVSeJMrUm7N8GeBdaumb
h0ODs+9jepGlJXrrWXF+h2S23GwTV7JfjGdbTDNawqtUYQC/sfm+b45DZARUlQRJ
9PKBZqWdH5l6sVfpdFr5jw7haM2mIAjBVwrdD7YUvF25QgJawBvrJnmnmpjh13Sf
DkG5VBHFVLT3yBwQ/VFp4o8Hexnc4RONPMvcd/uGnKqBlITni2yGgd31U0D9w2zq
8hcEk8PuBfn5LRPkjacnRV9jNFKQ2HmLT67rI05pv5teYcCFfYO+2TRN6J5kh62E
7gLzfl+HW5NiXwoTbiQJIi1MYXPx+wTLpPRTDhXT3A5v5DfSH+/Lbg4QtQEH1zyf
3wIDAQAB
-----END PUBLIC KEY-----
`
	rsaPublicID = "kAkRmL29CTzypIl9d1ErzKpybLdsNnwev0Q1hQ6qqkA"
	ecPublicPEM = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyz/C5FJJyQWrQ3dGFX0IKm7OTAtu
nPAa3lMtaaO2aSkh/mCojFGACGQylq52HB+Z1BpVWmboLR/KJwBnTDBiLQ==
-----END PUBLIC KEY-----
`
	ecPublicID = "aldfLCaYbNRKDBQxf-kn6R2v8sJMVOR6I-PdJyqCIFQ"
)

func TestKeyIDs(t *testing.T) {
	t.Parallel()
	keys, private, err := ParseVerificationKeys([]byte("a comment\n" + rsaPublicPEM + ecPublicPEM))
	if err != nil || private {
		t.Fatalf("%v, private %t", err, private)
	}
	text, err := EncodeKeySet(append(keys, keys[0]))
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		for _, member := range []string{"n", "e", "x", "y"} {
			delete(key, member)
		}
	}
	want := []map[string]string{
		{"use": "sig", "kty": "RSA", "kid": rsaPublicID, "alg": "RS256"},
		{"use": "sig", "kty": "EC", "kid": ecPublicID, "alg": "ES256", "crv": "P-256"},
	}
	if diff := cmp.Diff(want, set.Keys); diff != "" {
		t.Error(diff)
	}
	again, err := ParseKeySet(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys, again); diff != "" {
		t.Error(diff)
	}
	if keys[0].Usable() != nil || keys[1].Usable() == nil {
		t.Errorf("usable: %v, %v", keys[0].Usable(), keys[1].Usable())
	}
}

// ellipticKey makes a key on a curve.
func ellipticKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Every form in which a key file comes gives the same key.
func TestKeyFiles(t *testing.T) {
	t.Parallel()
	key, curve := rsaKey(0), ellipticKey(t, elliptic.P384())
	block := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	form := func(kind string, f func() ([]byte, error)) string {
		der, err := f()
		return block(kind, der, err)
	}
	certificate := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	for name, test := range map[string]struct {
		text    string
		public  crypto.PublicKey
		private bool
	}{
		"PKIX":     {form("PUBLIC KEY", func() ([]byte, error) { return x509.MarshalPKIXPublicKey(key.Public()) }), key.Public(), false},
		"PKCS #1":  {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&key.PublicKey), nil), key.Public(), false},
		"private":  {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil), key.Public(), true},
		"PKCS #8":  {form("PRIVATE KEY", func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) }), key.Public(), true},
		"SEC 1":    {block("EC PARAMETERS", []byte{6, 5}, nil) + form("EC PRIVATE KEY", func() ([]byte, error) { return x509.MarshalECPrivateKey(curve) }), curve.Public(), true},
		"EC PKCS8": {form("PRIVATE KEY", func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(curve) }), curve.Public(), true},
		"EC PKIX":  {form("PUBLIC KEY", func() ([]byte, error) { return x509.MarshalPKIXPublicKey(curve.Public()) }), curve.Public(), false},
		"an X.509": {form("CERTIFICATE", func() ([]byte, error) {
			return x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
		}), key.Public(), false},
		"with text": {"Public key\n" + form("PUBLIC KEY", func() ([]byte, error) { return x509.MarshalPKIXPublicKey(key.Public()) }) + "the end", key.Public(), false},
	} {
		got, private, err := ParseVerificationKeys([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := NewVerificationKey(test.public)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || !cmp.Equal(got[0], want) || private != test.private {
			t.Errorf("%s: %v, private %t; want %v, %t", name, got, private, want, test.private)
		}
	}
}

func TestKeyFileRefusals(t *testing.T) {
	t.Parallel()
	_, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edDER, err := x509.MarshalPKIXPublicKey(edPrivate.Public())
	if err != nil {
		t.Fatal(err)
	}
	small, err := x509.MarshalPKIXPublicKey(ellipticKey(t, elliptic.P224()).Public())
	if err != nil {
		t.Fatal(err)
	}
	secret := x509.MarshalPKCS1PrivateKey(rsaKey(0))
	for name, test := range map[string]struct{ text, want string }{
		"empty":        {"", "no PEM block with a key"},
		"no PEM":       {"ssh-rsa AAAA", "no PEM block with a key"},
		"parameters":   {string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 5}})), "no PEM block with a key"},
		"a request":    {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST"})), `"CERTIFICATE REQUEST" is not one of a key`},
		"broken":       {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), `"PUBLIC KEY" cannot be read`},
		"cut private":  {string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: secret[:100]})), `"RSA PRIVATE KEY" cannot be read`},
		"encrypted":    {string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES-256-CBC,00"}, Bytes: secret})), "encrypted"},
		"Ed25519":      {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: edDER})), "RSA and elliptic keys can"},
		"P-224":        {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: small})), "P-256, P-384 and P-521 can"},
		"second block": {rsaPublicPEM + string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"})), `"PUBLIC KEY" cannot be read`},
	} {
		keys, _, err := ParseVerificationKeys([]byte(test.text))
		if err == nil || keys != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; want an error with %q", name, keys, err, test.want)
		}
	}
}

func TestKeySetRefusals(t *testing.T) {
	t.Parallel()
	encode := func(keys ...jose.JSONWebKey) string {
		return string(must(json.Marshal(jose.JSONWebKeySet{Keys: keys})))
	}
	for name, test := range map[string]struct{ text, want string }{
		"no JSON":        {"keys", "not JSON"},
		"no keys":        {"{}", "has no keys"},
		"a private key":  {encode(jwk(0, "a"), jose.JSONWebKey{Key: rsaKey(0), KeyID: "b"}), "key 2 of the key set is not a public key"},
		"a symmetric":    {`{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}`, "not a public key"},
		"no kid":         {encode(jwk(0, "")), "has no kid"},
		"unreadable":     {`{"keys":[{"kty":"RSA"}]}`, "cannot be read"},
		"another family": {`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`, "RSA and elliptic keys can"},
	} {
		keys, err := ParseKeySet([]byte(test.text))
		if err == nil || keys != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; want an error with %q", name, keys, err, test.want)
		}
	}
	keys, err := ParseKeySet([]byte(encode(jwk(0, "mine"))))
	if err != nil || len(keys) != 1 || keys[0].ID != "mine" || !keys[0].Public.(*rsa.PublicKey).Equal(rsaKey(0).Public()) {
		t.Errorf("%v, %v", keys, err)
	}
}

// FuzzKeyFile: whatever a file holds, only keys that Kubernetes signs with come
// out, and the set that is made of them is read again as it was.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(rsaPublicPEM + ecPublicPEM))
	f.Add([]byte(rsaPublicPEM[:200]))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey(2))}))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, _, err := ParseVerificationKeys(text)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		if err != nil {
			return
		}
		set, err := EncodeKeySet(keys)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKeySet(set)
		if err != nil {
			t.Fatalf("%v: %s", err, set)
		}
		if len(again) > len(keys) || again[0].ID != keys[0].ID {
			t.Fatalf("%v became %v", keys, again)
		}
	})
}
