package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
)

// signer makes the signature part for a signing input.
type signer func(tb testing.TB, digest []byte) []byte

func byPKCS1(key *rsa.PrivateKey) signer {
	return func(_ testing.TB, digest []byte) []byte {
		return must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest))
	}
}

func byPSS(key *rsa.PrivateKey, salt int) signer {
	return func(_ testing.TB, digest []byte) []byte {
		return must(rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest, &rsa.PSSOptions{SaltLength: salt}))
	}
}

func byECDSA(key *ecdsa.PrivateKey) signer {
	return func(tb testing.TB, digest []byte) []byte {
		tb.Helper()
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			tb.Fatal(err)
		}
		size := (key.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
}

func byASN1(key *ecdsa.PrivateKey) signer {
	return func(_ testing.TB, digest []byte) []byte { return must(ecdsa.SignASN1(rand.Reader, key, digest)) }
}

// signedAs makes an assertion with that alg in its header, whatever really
// signed it.
func signedAs(tb testing.TB, algorithm string, by signer) string {
	tb.Helper()
	input := segment(tb, map[string]any{"alg": algorithm, "typ": "JWT"}) + "." + segment(tb, podClaims("issuer"))
	sum := sha256.Sum256([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(by(tb, sum[:]))
}

func curveKey(tb testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func TestVerifyKey(t *testing.T) {
	t.Parallel()
	key, curve := rsaKey(0), curveKey(t, elliptic.P256())
	for name, test := range map[string]struct {
		raw string
		key crypto.PublicKey
	}{
		"RS256":         {signedAs(t, "RS256", byPKCS1(key)), key.Public()},
		"PS256":         {signedAs(t, "PS256", byPSS(key, rsa.PSSSaltLengthEqualsHash)), key.Public()},
		"ES256":         {signedAs(t, "ES256", byECDSA(curve)), curve.Public()},
		"ES256 in ASN1": {signedAs(t, "ES256", byASN1(curve)), curve.Public()},
		"padded":        {padded(t, "k", podClaims("issuer")), key.Public()},
	} {
		if err := parse(t, test.raw).VerifyKey(test.key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		altered := []byte(test.raw)
		altered[strings.IndexByte(test.raw, '.')+20] ^= 1
		if a, err := ParseAssertion(string(altered)); err == nil {
			wantError[*SignatureError](t, a.VerifyKey(test.key))
		}
	}
}

// What is signed in another way than the header says, by another key, or not at
// all, is not signed.
func TestVerifyKeyRefusals(t *testing.T) {
	t.Parallel()
	key, other := rsaKey(0), rsaKey(1)
	curve, otherCurve := curveKey(t, elliptic.P256()), curveKey(t, elliptic.P256())
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	byPublicKey := func(_ testing.TB, digest []byte) []byte {
		mac := hmac.New(sha256.New, der)
		mac.Write(digest)
		return mac.Sum(nil)
	}
	nothing := func(testing.TB, []byte) []byte { return nil }
	zeros := func(testing.TB, []byte) []byte { return make([]byte, 64) }
	for name, test := range map[string]struct {
		raw string
		key crypto.PublicKey
	}{
		"PS256 with a signature of RS256": {signedAs(t, "PS256", byPKCS1(key)), key.Public()},
		"RS256 with a signature of PS256": {signedAs(t, "RS256", byPSS(key, rsa.PSSSaltLengthEqualsHash)), key.Public()},
		"PS256 with a long salt":          {signedAs(t, "PS256", byPSS(key, 64)), key.Public()},
		"PS256 without a salt":            {signedAs(t, "PS256", byPSS(key, 0)), key.Public()},
		"another key, RS256":              {signedAs(t, "RS256", byPKCS1(other)), key.Public()},
		"another key, PS256":              {signedAs(t, "PS256", byPSS(other, rsa.PSSSaltLengthEqualsHash)), key.Public()},
		"another key, ES256":              {signedAs(t, "ES256", byECDSA(otherCurve)), curve.Public()},
		"no signature, RSA":               {signedAs(t, "PS256", nothing), key.Public()},
		"no signature, ES256":             {signedAs(t, "ES256", nothing), curve.Public()},
		"zeros, ES256":                    {signedAs(t, "ES256", zeros), curve.Public()},
	} {
		t.Run(name, func(t *testing.T) { wantError[*SignatureError](t, parse(t, test.raw).VerifyKey(test.key)) })
	}
	p384 := curveKey(t, elliptic.P384())
	edwards := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for name, test := range map[string]struct {
		raw string
		key crypto.PublicKey
	}{
		"none":                      {signedAs(t, "none", nothing), key.Public()},
		"none, ES256 key":           {signedAs(t, "none", nothing), curve.Public()},
		"HS256 with the public key": {signedAs(t, "HS256", byPublicKey), key.Public()},
		"RS512":                     {signedAs(t, "RS512", byPKCS1(key)), key.Public()},
		"lower case":                {signedAs(t, "rs256", byPKCS1(key)), key.Public()},
		"ES256 for an RSA key":      {signedAs(t, "ES256", byECDSA(curve)), key.Public()},
		"RS256 for an elliptic key": {signedAs(t, "RS256", byPKCS1(key)), curve.Public()},
		"ES256 on P-384":            {signedAs(t, "ES256", byECDSA(p384)), p384.Public()},
		"EdDSA":                     {signedAs(t, "EdDSA", nothing), edwards.Public()},
		"no key":                    {signedAs(t, "RS256", byPKCS1(key)), nil},
		"a key by value":            {signedAs(t, "RS256", byPKCS1(key)), key.PublicKey},
	} {
		t.Run(name, func(t *testing.T) {
			err := parse(t, test.raw).VerifyKey(test.key)
			if wantError[*KeyMismatchError](t, err).Error() == "" {
				t.Error("no text")
			}
		})
	}
	wantError[*SignatureError](t, (&Assertion{Algorithm: "RS256"}).VerifyKey(key.Public()))
}

func TestParseAssertionThumbprints(t *testing.T) {
	t.Parallel()
	of := func(header string) (*Assertion, error) {
		return ParseAssertion(segment(t, header) + "." + segment(t, "{}") + ".")
	}
	a, err := of(`{"alg":"PS256","x5t":"one","x5t#S256":"two+/=","x5c":[1]}`)
	if err != nil || a.X5T != "one" || a.X5TS256 != "two+/=" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, header := range []string{
		`{"alg":"PS256","x5t":1}`, `{"alg":"PS256","x5t":null}`, `{"alg":"PS256","x5t#S256":["a"]}`,
		`{"alg":"PS256","x5t#S256":"` + strings.Repeat("a", maxKeyIDBytes+1) + `"}`,
	} {
		if _, err := of(header); err == nil {
			t.Errorf("%s was read", header)
		}
	}
}
