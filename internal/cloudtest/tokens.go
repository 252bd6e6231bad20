package cloudtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/token"
)

// azureCLI is the application by which users of tests sign in.
const azureCLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

// Verifier is that of the configured service.
func (c *Cloud) Verifier() *token.Verifier {
	return token.NewVerifier(c.Keys, c.Azure, c.Azure.Service(c.cfg.Service), c.Clock.Now)
}

// Claims are those of a good token for the configured service, of the principal
// of a name: an application's by its secret, or a user's by the Azure CLI. It
// lasts an hour.
func (c *Cloud) Claims(name string) token.Claims {
	p := c.Principal(name)
	now := c.Clock.Now()
	claims := token.Claims{
		Audience: c.Azure.Service(c.cfg.Service).URIs[0], Issuer: c.Azure.IssuerV1(p.TenantID), Version: token.Version1,
		TenantID: p.TenantID, ObjectID: p.ObjectID, AppID: p.AppID, AppIDACR: token.ACRSecret, IDType: token.IDTypeApp,
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expiry: now.Add(time.Hour).Unix(), TokenID: "uti-" + name,
	}
	if p.Type == azure.User {
		claims.AppID, claims.IDType, claims.Scopes, claims.Name = azureCLI, token.IDTypeUser, "user_impersonation", name
	}
	return claims
}

// Token makes a token with the claims of [Cloud.Claims], changed where a test
// says so.
func (c *Cloud) Token(name string, change ...func(*token.Claims)) string {
	c.TB.Helper()
	claims := c.Claims(name)
	for _, f := range change {
		f(&claims)
	}
	raw, err := c.Keys.Mint(claims)
	Must(c.TB, err)
	return raw
}

// Authorization makes the header of a request as the principal of a name, "-"
// or "" for no header. The faults say what is wrong with it:
//
//	basic        another scheme
//	malformed    no token at all
//	resigned     another signature
//	forged       signed by another key, under the name of the right one
//	none         without a signature, by the algorithm "none"
//	expired      two days old
//	early        for use in two days
//	issuer       by another cloud
//	arm          for Resource Manager
//	audience=X   for X
//	tenant=X     of the tenant X, whose issuer issued it
func (c *Cloud) Authorization(name string, faults ...string) string {
	c.TB.Helper()
	if name == "" || name == "-" {
		return ""
	}
	sign := func(raw string) string { return raw }
	claims := c.Claims(name)
	const late = 48 * 3600
	for _, fault := range faults {
		kind, value, _ := strings.Cut(fault, "=")
		switch kind {
		case "basic":
			return "Basic b3duZXI6c2VjcmV0"
		case "malformed":
			return "Bearer not.a.token"
		case "resigned":
			sign = resigned
		case "forged":
			sign = func(raw string) string { return forged(c, raw) }
		case "none":
			sign = unsigned
		case "expired":
			claims.IssuedAt, claims.NotBefore, claims.Expiry = claims.IssuedAt-late, claims.NotBefore-late, claims.Expiry-late
		case "early":
			claims.IssuedAt, claims.NotBefore, claims.Expiry = claims.IssuedAt+late, claims.NotBefore+late, claims.Expiry+late
		case "issuer":
			claims.Issuer = "https://sts.windows.net/" + claims.TenantID + "/"
		case "arm":
			claims.Audience = c.Azure.ResourceManager()
		case "audience":
			claims.Audience = value
		case "tenant":
			claims.TenantID, claims.Issuer = value, c.Azure.IssuerV1(value)
		default:
			c.TB.Fatalf("no token is %q", fault)
		}
	}
	raw, err := c.Keys.Mint(claims)
	Must(c.TB, err)
	return "Bearer " + sign(raw)
}

// resigned changes a character of the signature; not the last, which holds few
// bits.
func resigned(raw string) string {
	changed := []byte(raw)
	if at := &changed[len(changed)-9]; *at == 'A' {
		*at = 'B'
	} else {
		*at = 'A'
	}
	return string(changed)
}

// unsigned says that a token needs no signature.
func unsigned(raw string) string {
	claims := strings.Split(raw, ".")[1]
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + claims + "."
}

// forgersKey is made once: making it takes longer than most tests.
var forgersKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// forged signs a token anew with a key that is nobody's.
func forged(c *Cloud, raw string) string {
	key, err := forgersKey()
	Must(c.TB, err)
	signed := raw[:strings.LastIndexByte(raw, '.')]
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	Must(c.TB, err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}
