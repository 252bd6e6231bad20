package entra_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // thumbprints
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// clientCertificate is a certificate of a client, with its key.
type clientCertificate struct {
	key   crypto.Signer
	der   []byte
	keyID string // of the key credential; empty for one that nobody registered
}

func (c *clientCertificate) sha1() []byte {
	sum := sha1.Sum(c.der) //nolint:gosec // a thumbprint
	return sum[:]
}

func (c *clientCertificate) sha256() []byte {
	sum := sha256.Sum256(c.der)
	return sum[:]
}

// clientKeys are those of the certificates of all tests.
var clientKeys = sync.OnceValue(func() map[string]crypto.Signer {
	keys := map[string]crypto.Signer{}
	for _, name := range []string{"rsa", "old", "other", "stranger"} {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[name] = key
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	keys["ec"] = key
	return keys
})

// newCertificate makes a self-signed certificate of one of the keys, valid from a
// day ago for a year.
func (c *cloud) newCertificate(key string) *clientCertificate {
	c.TB.Helper()
	now := c.Clock.Now()
	signer := clientKeys()[key]
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: key},
		NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	cloudtest.Must(c.TB, err)
	return &clientCertificate{key: signer, der: der}
}

// register makes a certificate of the key and registers it with an application,
// until end if that is not zero.
func (c *cloud) register(app directory.Application, key string, end time.Time) *clientCertificate {
	c.TB.Helper()
	cert := c.newCertificate(key)
	c.Update(func(tx *store.Tx) error {
		added, err := c.Directory.AddCertificate(tx, app.TenantID, app.AppID, directory.Certificate{DER: cert.der, End: end})
		cert.keyID = added.KeyID
		return err
	})
	return cert
}

// populateCertificates makes the application that proves itself by certificates,
// and another one. It comes before the clock moves, so that one is over.
func (c *cloud) populateCertificates() {
	c.TB.Helper()
	c.signer, c.signerPrincipal = c.Application(contoso, "orders-signer")
	other, _ := c.Application(contoso, "payments-signer")
	c.certificates = map[string]*clientCertificate{
		"rsa":      c.register(c.signer, "rsa", time.Time{}),
		"ec":       c.register(c.signer, "ec", time.Time{}),
		"old":      c.register(c.signer, "old", c.Clock.Now().Add(time.Hour)),
		"other":    c.register(other, "other", time.Time{}),
		"stranger": c.newCertificate("stranger"),
	}
}

// signWith signs with a key by an algorithm; what the header says is the
// caller's.
func signWith(key crypto.Signer, algorithm string, input string) []byte {
	sum := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch algorithm {
	case "RS256":
		signature, err = key.Sign(rand.Reader, sum[:], crypto.SHA256)
	case "PS256":
		signature, err = key.Sign(rand.Reader, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	case "ES256":
		var r, s *big.Int
		r, s, err = ecdsa.Sign(rand.Reader, key.(*ecdsa.PrivateKey), sum[:])
		if err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case "ES256 in ASN.1":
		signature, err = key.Sign(rand.Reader, sum[:], crypto.SHA256)
	case "none":
	default:
		panic(algorithm)
	}
	if err != nil {
		panic(err)
	}
	return signature
}

// ownClaims are those of MSAL for Go, with changes on top; a nil value removes a
// claim.
func (c *cloud) ownClaims(changes map[string]any) map[string]any {
	now := c.Clock.Now()
	claims := map[string]any{
		"aud": "https://login.lanyard.test:8443/" + contoso + "/oauth2/v2.0/token",
		"exp": now.Add(10 * time.Minute).Unix(), "nbf": now.Unix(),
		"iss": c.signer.AppID, "sub": c.signer.AppID, "jti": "0f1d9c1e-6c5b-4a53-b3f6-7f1e64b1a0b3",
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// own makes the assertion of MSAL for Go with a certificate.
func (c *cloud) own(certificate, algorithm string, changes map[string]any) string {
	cert := c.certificates[certificate]
	header := map[string]any{"alg": algorithm, "typ": "JWT", "x5t#S256": base64.StdEncoding.EncodeToString(cert.sha256())}
	return c.compose(cert, algorithm, header, c.ownClaims(changes), base64.RawURLEncoding)
}

// compose puts header, claims and a signature together.
func (c *cloud) compose(cert *clientCertificate, algorithm string, header, claims map[string]any, encoding *base64.Encoding) string {
	c.TB.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		cloudtest.Must(c.TB, err)
		return encoding.EncodeToString(text)
	}
	input := part(header) + "." + part(claims)
	return input + "." + encoding.EncodeToString(signWith(cert.key, algorithm, input))
}

// certificateAssertion makes the assertions of certificates that golden files and
// tests call by name: the shapes of clients first, then mistakes and attacks.
func (c *cloud) certificateAssertion(tb testing.TB, name string) string {
	tb.Helper()
	cert, now := c.certificates["rsa"], c.Clock.Now()
	header := func(algorithm string, more map[string]any) map[string]any {
		h := map[string]any{"alg": algorithm, "typ": "JWT"}
		maps.Copy(h, more)
		return h
	}
	named := map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(cert.sha256())}
	raw := base64.RawURLEncoding
	switch name {
	case "go": // MSAL for Go
		return c.own("rsa", "PS256", nil)
	case "go-adfs": // MSAL for Go that believes to speak to AD FS
		return c.compose(cert, "RS256", header("RS256", map[string]any{"x5t": base64.StdEncoding.EncodeToString(cert.sha1())}),
			c.ownClaims(map[string]any{"aud": "https://login.lanyard.test:8443/adfs/oauth2/token"}), raw)
	case "javascript": // MSAL for Node, with the chain
		return c.compose(cert, "PS256", header("PS256", map[string]any{
			"x5t#S256": raw.EncodeToString(cert.sha256()), "x5c": []string{base64.StdEncoding.EncodeToString(cert.der)},
		}), c.ownClaims(map[string]any{"iat": now.Unix()}), raw)
	case "javascript-sha1": // MSAL for Node, from a SHA-1 thumbprint
		return c.compose(cert, "RS256", header("RS256", map[string]any{"x5t": raw.EncodeToString(cert.sha1())}), c.ownClaims(nil), raw)
	case "python": // MSAL for Python: dates with fractions, no nbf
		at := float64(now.Unix()) - 0.25
		return c.compose(cert, "RS256", header("RS256", map[string]any{"x5t": base64.URLEncoding.EncodeToString(cert.sha1())}),
			c.ownClaims(map[string]any{"nbf": nil, "iat": at, "exp": at + 600}), raw)
	case "python-old": // azure-identity before MSAL: every part is padded
		h := header("RS256", map[string]any{"x5t": base64.URLEncoding.EncodeToString(cert.sha1()), "pad": ""})
		return c.compose(cert, "RS256", h, c.ownClaims(map[string]any{"exp": now.Add(30 * time.Minute).Unix()}), base64.URLEncoding)
	case "terraform":
		return c.compose(cert, "RS256", header("RS256", map[string]any{"kid": base64.URLEncoding.EncodeToString(cert.sha1())}),
			c.ownClaims(map[string]any{"exp": now.Add(time.Hour).Unix()}), raw)
	case "terraform-ec":
		ec := c.certificates["ec"]
		return c.compose(ec, "ES256 in ASN.1", header("ES256", map[string]any{"kid": base64.URLEncoding.EncodeToString(ec.sha1())}),
			c.ownClaims(map[string]any{"exp": now.Add(time.Hour).Unix()}), raw)
	case "elliptic":
		return c.own("ec", "ES256", nil)
	case "kid-hex":
		return c.compose(cert, "RS256", header("RS256", map[string]any{"kid": strings.ToUpper(hex.EncodeToString(cert.sha1()))}), c.ownClaims(nil), raw)

	case "unregistered":
		return c.own("stranger", "PS256", nil)
	case "of-another-application":
		return c.own("other", "PS256", nil)
	case "expired-certificate":
		return c.own("old", "PS256", nil)
	case "foreign-chain": // names the registered certificate, brings another
		stranger := c.certificates["stranger"]
		return c.compose(stranger, "PS256", header("PS256", map[string]any{
			"x5t#S256": named["x5t#S256"], "x5c": []string{base64.StdEncoding.EncodeToString(stranger.der)},
		}), c.ownClaims(nil), raw)
	case "foreign-key": // brings the key itself
		stranger := c.certificates["stranger"]
		public := stranger.key.Public().(*rsa.PublicKey)
		return c.compose(stranger, "PS256", header("PS256", map[string]any{
			"x5t#S256": named["x5t#S256"], "jwk": map[string]any{"kty": "RSA", "e": "AQAB", "n": raw.EncodeToString(public.N.Bytes())},
			"jku": "https://evil.example/keys", "x5u": "https://evil.example/certificate",
		}), c.ownClaims(nil), raw)
	case "unsigned":
		return c.compose(cert, "none", header("none", named), c.ownClaims(nil), raw)
	case "signature-cut-off":
		return c.compose(cert, "none", header("PS256", named), c.ownClaims(nil), raw)
	case "hs256": // signed with the certificate, which is no secret
		input := encodeJSON(header("HS256", named)) + "." + encodeJSON(c.ownClaims(nil))
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.der}))
		fmt.Fprint(mac, input)
		return input + "." + raw.EncodeToString(mac.Sum(nil))
	case "rs256-as-ps256":
		return c.compose(cert, "RS256", header("PS256", named), c.ownClaims(nil), raw)
	case "ps256-as-rs256":
		return c.compose(cert, "PS256", header("RS256", named), c.ownClaims(nil), raw)
	case "es256-with-rsa": // the algorithm is not one of the key
		return c.compose(c.certificates["ec"], "ES256", header("ES256", named), c.ownClaims(nil), raw)
	case "altered":
		parts := strings.Split(c.own("rsa", "PS256", nil), ".")
		return parts[0] + "." + encodeJSON(c.ownClaims(map[string]any{"exp": now.Add(time.Hour).Unix()})) + "." + parts[2]
	case "unnamed":
		return c.compose(cert, "PS256", header("PS256", map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(cert.der)}}), c.ownClaims(nil), raw)
	case "sha256-as-x5t":
		return c.compose(cert, "RS256", header("RS256", map[string]any{"x5t": raw.EncodeToString(cert.sha256())}), c.ownClaims(nil), raw)
	case "no-thumbprint":
		return c.compose(cert, "RS256", header("RS256", map[string]any{"kid": "my key"}), c.ownClaims(nil), raw)
	case "issued-by-another":
		return c.own("rsa", "PS256", map[string]any{"iss": c.app.AppID, "sub": c.app.AppID})
	case "of-identity":
		return c.own("rsa", "PS256", map[string]any{"iss": c.mi.AppID, "sub": c.mi.AppID})
	case "for-another":
		return c.own("rsa", "PS256", map[string]any{"sub": c.app.AppID})
	case "audience-of-another-tenant":
		return c.own("rsa", "PS256", map[string]any{"aud": "https://login.lanyard.test:8443/" + fabrikam + "/oauth2/v2.0/token"})
	case "ended":
		return c.own("rsa", "PS256", map[string]any{"nbf": now.Add(-time.Hour).Unix(), "exp": now.Add(-10 * time.Minute).Unix()})
	case "not-begun":
		return c.own("rsa", "PS256", map[string]any{"nbf": now.Add(10 * time.Minute).Unix(), "exp": now.Add(20 * time.Minute).Unix()})
	case "of-many-days":
		return c.own("rsa", "PS256", map[string]any{"exp": now.Add(24*time.Hour + time.Second).Unix()})
	}
	tb.Fatalf("no assertion of a certificate is called %q", name)
	return ""
}

// byCertificate posts an assertion as the application signer.
func (c *cloud) byCertificate(assertion string) (int, string) {
	c.TB.Helper()
	return c.as(c.signer.AppID, url.Values{
		"client_assertion":      {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
}

// directoryCertificate is the key credential of a certificate that begins later.
func directoryCertificate(cert *clientCertificate, start time.Time) directory.Certificate {
	return directory.Certificate{DER: cert.der, Start: start}
}
