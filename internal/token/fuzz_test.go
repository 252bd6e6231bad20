package token

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// FuzzVerify: of all texts only the token that was minted is accepted, in the
// very spelling that it was given.
func FuzzVerify(f *testing.F) {
	k, c := newKeys(f)
	v := armVerifier(k, c)
	raw := mint(f, k, appClaims(c))
	head, body, sig := cut(raw)
	header, claims := decode(f, raw)
	header["crit"] = []string{"exp"}
	for _, seed := range []string{
		raw, "", "..", "a.b.c", head + "." + body + ".", head + "=." + body + "=." + sig + "=",
		raw + ".", raw + "\n", strings.ToLower(raw), head + "." + head + "." + sig,
		segment(f, `{"alg":"none"}`) + "." + body + ".",
		segment(f, `{"alg":"RS256","kid":null}`) + "." + segment(f, `{"exp":1e400}`) + "." + sig,
		segment(f, header) + "." + segment(f, claims) + "." + sig,
		strings.Repeat("a", maxTokenBytes+1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		caller, err := v.Verify(text)
		if err == nil && text != raw {
			t.Fatalf("accepted as %+v: %q", caller, text)
		}
		if err != nil && text == raw {
			t.Fatal(err)
		}
	})
}

// FuzzParseAssertion: no text is read as more than it says, and only what the
// issuer's key signed passes for signed.
func FuzzParseAssertion(f *testing.F) {
	local := localKeys(f, jwk(0, "k"))
	i := NewIssuers(IssuersConfig{Local: func(string, string) (*LocalKeys, bool) { return local, true }})
	signed := forge(f, rsaKey(0), podHeader("k"), podClaims("https://issuer"))
	head, body, sig := cut(signed)
	for _, seed := range []string{
		signed, "", "..", "a.b.c", head + "." + body + ".", head + "==." + body + "." + sig + "==",
		segment(f, `{"alg":"none"}`) + "." + body + ".",
		segment(f, `{"alg":"RS256","kid":"k","crit":[]}`) + "." + body + "." + sig,
		segment(f, `{"alg":"RS256"}`) + "." + segment(f, `{"aud":["a",1],"exp":1e308,"nbf":-1}`) + "." + sig,
		segment(f, `{"alg":"RS256"}`) + "." + segment(f, `{"aud":"a","exp":1772366400.5,"iss":"i","sub":"s"}`) + ".",
		segment(f, strings.Repeat("[", 9000)) + "..",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAssertion(text)
		if err != nil {
			if a != nil {
				t.Fatal("an error comes with an assertion")
			}
			return
		}
		if len(text) > maxTokenBytes || a.Algorithm == "" || a.Claims == nil || len(a.KeyID) > maxKeyIDBytes {
			t.Fatalf("parsed as %+v: %q", a, text)
		}
		for _, each := range []int64{a.Expiry.Unix(), a.NotBefore.Unix(), a.IssuedAt.Unix()} {
			if year := each / (365 * 86400); year > 9999 {
				t.Fatalf("a date beyond years: %q", text)
			}
		}
		// The padding of a signature is not signed; all else is.
		if i.Verify(t.Context(), anyTenant, a) == nil && strings.TrimRight(text, "=") != signed {
			t.Fatalf("passes for signed: %q", text)
		}
	})
}

// FuzzForeignKeys: whatever an issuer publishes, only usable keys come out.
func FuzzForeignKeys(f *testing.F) {
	f.Add(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk(0, "k"), jwk(2, "short")}})))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC"},{"kty":"RSA","x5c":["AA"]}]}`))
	f.Add([]byte(`{"keys":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseForeignKeys(text)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxForeignKeys {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, key := range keys {
			if bits := key.public.N.BitLen(); bits < minForeignBits || bits > maxForeignBits {
				t.Fatalf("a key of %d bits", bits)
			}
		}
	})
}
