package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
)

func armVerifier(k *Keys, c *standin.Clock) *Verifier {
	return NewVerifier(k, cloud, cloud.Service(azure.ServiceResourceManager), c.Now)
}

func wantReason(t testing.TB, v *Verifier, raw string, want Reason) *VerifyError {
	t.Helper()
	caller, err := v.Verify(raw)
	if err == nil {
		t.Fatalf("accepted as %+v, want refused for %q", caller, want)
	}
	refused, ok := errors.AsType[*VerifyError](err)
	if !ok {
		t.Fatalf("the error is %T: %v", err, err)
	}
	if refused.Reason != want {
		t.Errorf("refused for %q (%s), want %q", refused.Reason, refused.Detail, want)
	}
	if diff := cmp.Diff(azure.Caller{}, caller); diff != "" {
		t.Errorf("a refusal comes with a caller: %s", diff)
	}
	if (refused.Claims == nil) != (want == Malformed) && want != Malformed {
		t.Error("a refusal of a well-formed token lacks its claims")
	}
	wantNoLeak(t, err, raw)
	return refused
}

// wantNoLeak fails when an error shows a part of a token.
func wantNoLeak(t testing.TB, err error, raw string) {
	t.Helper()
	for part := range strings.SplitSeq(raw, ".") {
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
			if len(part) >= 16 && strings.Contains(text, part[:16]) {
				t.Errorf("the error shows a part of the token: %s", text)
			}
		}
	}
}

func TestVerifyCaller(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	v := armVerifier(k, c)
	claims := appClaims(c)
	claims.IdentityResourceID, claims.HostResourceID, claims.TokenID = "/mi", "/vm", "uti1"
	expires := time.Unix(claims.Expiry, 0).UTC()
	app := azure.Caller{
		TenantID: tenantID, ObjectID: objectID, AppID: clientID, Type: azure.ServicePrincipal,
		Issuer: claims.Issuer, Audience: claims.Audience, IdentityResourceID: "/mi", HostResourceID: "/vm",
		TokenID: "uti1", Expires: expires,
	}
	app2 := app
	claims2 := claims
	claims2.Version, claims2.Issuer, claims2.Audience = Version2, cloud.IssuerV2(tenantID), azure.ServiceResourceManager
	app2.Issuer, app2.Audience = claims2.Issuer, claims2.Audience
	user := app
	person := claims
	person.IDType, person.UPN, person.Scopes, person.Groups = IDTypeUser, "ada@lanyard.test", "a b", []string{"g1"}
	user.Type, user.Name, user.Scopes, user.Groups = azure.User, "ada@lanyard.test", []string{"a", "b"}, []string{"g1"}
	for name, test := range map[string]struct {
		claims Claims
		want   azure.Caller
	}{
		"application, 1.0": {claims, app},
		"application, 2.0": {claims2, app2},
		"user":             {person, user},
	} {
		raw := mint(t, k, test.claims)
		for _, again := range []string{"first", "remembered"} {
			got, err := v.Verify(raw)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, again, err)
			}
			if len(got.Scopes) == 0 {
				got.Scopes = nil
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s, %s: %s", name, again, diff)
			}
			// What a caller does with its copy must not reach the next one.
			for i := range got.Groups {
				got.Groups[i] = "changed"
			}
		}
	}
}

// Every form of audience of the service, and no other service's.
func TestVerifyAudience(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	claims := appClaims(c)
	for aud, want := range map[string]Reason{
		"https://management.azure.com":                    "",
		"https://management.azure.com/":                   "",
		"https://management.core.windows.net/":            "",
		cloud.ResourceManager():                           "",
		azure.ServiceResourceManager:                      "",
		"https://management.azure.com//":                  WrongAudience,
		"https://management.azure.com.evil":               WrongAudience,
		"https://management":                              WrongAudience,
		"https://vault.azure.net":                         WrongAudience,
		azure.ServiceKeyVault:                             WrongAudience,
		azure.ServiceGraph:                                WrongAudience,
		"api://AzureADTokenExchange":                      WrongAudience,
		strings.ToUpper("https://management.azure.com/"):  "",
		"https://management.azure.com/ https://elsewhere": WrongAudience,
	} {
		claims.Audience = aud
		raw := mint(t, k, claims)
		if want != "" {
			wantReason(t, armVerifier(k, c), raw, want)
		} else if _, err := armVerifier(k, c).Verify(raw); err != nil {
			t.Errorf("%s: %v", aud, err)
		}
	}
}

func TestVerifyTimes(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	v := armVerifier(k, c)
	claims := appClaims(c)
	claims.NotBefore = claims.IssuedAt + int64(ClockSkew/time.Second) + 1
	raw := mint(t, k, claims)
	wantReason(t, v, raw, NotYetValid)
	c.Advance(time.Second)
	if _, err := v.Verify(raw); err != nil {
		t.Errorf("within the skew: %v", err)
	}
	// The same token, now remembered: time is checked all the same.
	c.Advance(-time.Second)
	wantReason(t, v, raw, NotYetValid)
	c.Advance(3600*time.Second - time.Second)
	if _, err := v.Verify(raw); err != nil {
		t.Errorf("one second before the end: %v", err)
	}
	c.Advance(time.Second)
	wantReason(t, v, raw, Expired)
}

// Each case changes one thing in a token that is otherwise valid and signed by
// the cloud's own key, unless it says that it signs otherwise.
func TestVerifyRefusals(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	v := armVerifier(k, c)
	kid := k.List()[0].ID
	key := private(t, k, kid)
	raw := mint(t, k, appClaims(c))
	header, claims := decode(t, raw)
	head, body, sig := cut(raw)
	with := func(m map[string]any, name string, value any) map[string]any {
		m = maps.Clone(m)
		m[name] = value
		return m
	}
	without := func(m map[string]any, name string) map[string]any {
		m = maps.Clone(m)
		delete(m, name)
		return m
	}
	own := func(h, p any) string { return forge(t, key, h, p) }
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&key.PublicKey))})
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	intruder := jose.JSONWebKey{Key: &rsaKey(0).PublicKey}
	otherTenant := "99999999-9999-9999-9999-999999999999"

	if _, err := v.Verify(own(header, claims)); err != nil {
		t.Fatalf("the token that the cases change: %v", err)
	}
	for name, test := range map[string]struct {
		raw  string
		want Reason
	}{
		"empty":                  {"", Malformed},
		"one part":               {head, Malformed},
		"two parts":              {head + "." + body, Malformed},
		"four parts":             {raw + "." + sig, Malformed},
		"JWE's five parts":       {raw + ".a.b", Malformed},
		"empty header":           {"." + body + "." + sig, Malformed},
		"empty payload":          {signRS256(t, key, head+"."), Malformed},
		"JSON serialization":     {`{"payload":"` + body + `","protected":"` + head + `","signature":"` + sig + `"}`, Malformed},
		"too long":               {own(header, with(claims, "name", strings.Repeat("n", maxTokenBytes))), Malformed},
		"padding":                {signRS256(t, key, head+"=."+body), Malformed},
		"line break in a part":   {head + "." + body[:4] + "\n" + body[4:] + "." + sig, Malformed},
		"standard base64":        {head + "." + body + "+." + sig, Malformed},
		"trailing bits":          {head + "." + body + "." + sig[:len(sig)-1] + nextBit(sig), Malformed},
		"header no JSON":         {own("{", claims), Malformed},
		"header null":            {own("null", claims), Malformed},
		"header a list":          {own(`[]`, claims), Malformed},
		"payload no JSON":        {own(header, "{"), Malformed},
		"payload null":           {own(header, "null"), Malformed},
		"payload a list":         {own(header, "[]"), Malformed},
		"claims twice":           {own(header, twice(t, claims, "oid", "other")), Malformed},
		"header twice":           {own(twice(t, header, "alg", "none"), claims), Malformed},
		"aud a list":             {own(header, with(claims, "aud", []string{"https://management.azure.com/"})), Malformed},
		"exp a string":           {own(header, with(claims, "exp", "9999999999")), Malformed},
		"exp a fraction":         {own(header, with(claims, "exp", 9999999999.5)), Malformed},
		"oid a number":           {own(header, with(claims, "oid", 7)), Malformed},
		"kid a number":           {own(with(header, "kid", 7), claims), Malformed},
		"crit":                   {own(with(header, "crit", []string{"exp"}), claims), Malformed},
		"crit b64":               {own(with(with(header, "crit", []string{"b64"}), "b64", false), claims), Malformed},
		"unknown header":         {own(with(header, "zip", "DEF"), claims), Malformed},
		"another typ":            {own(with(header, "typ", "at+jwt"), claims), Malformed},
		"no typ":                 {own(without(header, "typ"), claims), Malformed},
		"own key in jwk":         {forge(t, rsaKey(0), with(header, "jwk", intruder), claims), Malformed},
		"own key in jwk, no kid": {forge(t, rsaKey(0), with(without(header, "kid"), "jwk", intruder), claims), Malformed},
		"own key by jku":         {forge(t, rsaKey(0), with(header, "jku", "https://evil/keys"), claims), Malformed},
		"own key by x5u":         {forge(t, rsaKey(0), with(header, "x5u", "https://evil/cert"), claims), Malformed},
		"own key in x5c":         {forge(t, rsaKey(0), with(header, "x5c", []string{"AAAA"}), claims), Malformed},

		"alg none":             {segment(t, with(header, "alg", "none")) + "." + body + ".", BadAlgorithm},
		"alg none, signed":     {own(with(header, "alg", "none"), claims), BadAlgorithm},
		"alg None":             {segment(t, with(header, "alg", "None")) + "." + body + ".", BadAlgorithm},
		"no alg":               {own(without(header, "alg"), claims), Malformed},
		"HS256 by public key":  {hs256(segment(t, with(header, "alg", "HS256"))+"."+body, publicPEM), BadAlgorithm},
		"HS256 by modulus":     {hs256(segment(t, with(header, "alg", "HS256"))+"."+body, key.N.Bytes()), BadAlgorithm},
		"PS256":                {sign(t, jose.PS256, key, kid, claims), BadAlgorithm},
		"RS512":                {sign(t, jose.RS512, key, kid, claims), BadAlgorithm},
		"ES256":                {sign(t, jose.ES256, ec, kid, claims), BadAlgorithm},
		"RS256 in lower case":  {own(with(header, "alg", "rs256"), claims), BadAlgorithm},
		"no kid":               {own(without(header, "kid"), claims), BadSignature},
		"unknown kid":          {own(with(header, "kid", "unknown"), claims), BadSignature},
		"kid a path":           {own(with(header, "kid", "../keys/"+kid), claims), BadSignature},
		"another key":          {forge(t, rsaKey(0), header, claims), BadSignature},
		"no signature":         {head + "." + body + ".", BadSignature},
		"short signature":      {head + "." + body + "." + sig[:100], BadSignature},
		"changed claims":       {head + "." + segment(t, with(claims, "oid", "other")) + "." + sig, BadSignature},
		"changed header":       {segment(t, without(header, "x5t")) + "." + body + "." + sig, BadSignature},
		"a foreign issuer's":   {forge(t, rsaKey(0), with(header, "kid", "f"), with(claims, "iss", "https://k8s")), WrongIssuer},
		"no oid":               {own(header, without(claims, "oid")), Incomplete},
		"no sub":               {own(header, without(claims, "sub")), Incomplete},
		"no tid":               {own(header, without(claims, "tid")), Incomplete},
		"no exp":               {own(header, without(claims, "exp")), Incomplete},
		"no idtyp":             {own(header, without(claims, "idtyp")), Incomplete},
		"another idtyp":        {own(header, with(claims, "idtyp", "device")), Incomplete},
		"OID for oid":          {own(header, with(without(claims, "oid"), "OID", objectID)), Incomplete},
		"oid null":             {own(header, with(claims, "oid", nil)), Incomplete},
		"no iss":               {own(header, without(claims, "iss")), WrongIssuer},
		"no ver":               {own(header, without(claims, "ver")), WrongIssuer},
		"unknown ver":          {own(header, with(claims, "ver", "3.0")), WrongIssuer},
		"2.0 issuer in 1.0":    {own(header, with(claims, "iss", cloud.IssuerV2(tenantID))), WrongIssuer},
		"1.0 issuer in 2.0":    {own(header, with(claims, "ver", "2.0")), WrongIssuer},
		"another tenant's iss": {own(header, with(claims, "iss", cloud.IssuerV1(otherTenant))), WrongIssuer},
		"another tid":          {own(header, with(claims, "tid", otherTenant)), WrongIssuer},
		"an alias as iss":      {own(header, with(claims, "iss", "https://sts.windows.net/"+tenantID+"/")), WrongIssuer},
		"iss without slash":    {own(header, with(claims, "iss", strings.TrimSuffix(cloud.IssuerV1(tenantID), "/"))), WrongIssuer},
		"no aud":               {own(header, without(claims, "aud")), WrongAudience},
		"another service":      {own(header, with(claims, "aud", "https://vault.azure.net")), WrongAudience},
		"exp 0":                {own(header, with(claims, "exp", 0)), Incomplete},
		"exp in the past":      {own(header, with(claims, "exp", standin.Start.Unix()-1)), Expired},
		"exp now":              {own(header, with(claims, "exp", standin.Start.Unix())), Expired},
		"exp negative":         {own(header, with(claims, "exp", -1)), Expired},
		"nbf tomorrow":         {own(header, with(claims, "nbf", standin.Start.Unix()+86400)), NotYetValid},
		"nbf past every clock": {own(header, with(claims, "nbf", int64(1)<<62)), NotYetValid},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, v, test.raw, test.want)
			// A refusal is not remembered as anything else.
			wantReason(t, v, test.raw, test.want)
		})
	}
}

func TestNewApplicationVerifier(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	const app, uri = "44444444-4444-4444-4444-444444444444", "api://example"
	v := NewApplicationVerifier(k, cloud, tenantID, []string{app, uri}, c.Now)
	claims := appClaims(c)
	for aud, want := range map[string]Reason{
		app: "", uri: "", uri + "/": WrongAudience, "API://example": WrongAudience, "https://management.azure.com": WrongAudience,
	} {
		claims.Audience = aud
		raw := mint(t, k, claims)
		if want != "" {
			wantReason(t, v, raw, want)
		} else if _, err := v.Verify(raw); err != nil {
			t.Errorf("%s: %v", aud, err)
		}
	}
	other := "99999999-9999-9999-9999-999999999999"
	claims.Audience, claims.TenantID, claims.Issuer = app, other, cloud.IssuerV1(other)
	wantReason(t, v, mint(t, k, claims), WrongIssuer)
}

// Each resource remembers for itself: a token that one accepted opens no other.
func TestVerifiersShareNothing(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	raw := mint(t, k, appClaims(c))
	vault := NewVerifier(k, cloud, cloud.Service(azure.ServiceKeyVault), c.Now)
	for range 2 {
		if _, err := armVerifier(k, c).Verify(raw); err != nil {
			t.Fatal(err)
		}
		wantReason(t, vault, raw, WrongAudience)
	}
}

func TestVerifiedIsBounded(t *testing.T) {
	t.Parallel()
	var v verified
	kept := sha256.Sum256([]byte("kept"))
	v.put(kept, accepted{keyID: "kept"})
	for i := range 5 * maxVerified {
		v.put(sha256.Sum256(fmt.Append(nil, i)), accepted{})
		if a, ok := v.get(kept); !ok || a.keyID != "kept" {
			t.Fatalf("a token in use was forgotten after %d others", i)
		}
		if n := len(v.young) + len(v.old); n > 2*maxVerified {
			t.Fatalf("%d are kept", n)
		}
	}
	if _, ok := v.get(sha256.Sum256([]byte("0"))); ok {
		t.Error("an old token is still kept")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func cut(raw string) (header, payload, signature string) {
	parts := strings.Split(raw, ".")
	return parts[0], parts[1], parts[2]
}

// nextBit gives a last character that stands for the same bytes with other
// unused bits.
func nextBit(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])^1])
}

// twice encodes an object with a member that comes twice.
func twice(t *testing.T, m map[string]any, name string, value string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(segment(t, m))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "}") + `,"` + name + `":"` + value + `"}`
}

func hs256(input string, secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(segment(t, claims))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
