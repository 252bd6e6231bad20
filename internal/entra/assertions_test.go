package entra_test

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// assertion makes the assertion that golden files and tests call by name. All
// but "valid" and "identity" are attacks or mistakes.
func (c *cloud) assertion(tb testing.TB, name string) string {
	tb.Helper()
	i, now := c.issuer, c.Clock.Now()
	with := func(changes map[string]any) string { return i.token(now, changes) }
	header := func(changes map[string]any) map[string]any {
		h := map[string]any{"alg": "RS256", "kid": i.keyID}
		for name, value := range changes {
			h[name] = value
		}
		return h
	}
	switch name {
	case "valid":
		return with(nil)
	case "not-a-jwt":
		return "not-a-token"
	case "unsigned":
		return encodeJSON(header(map[string]any{"alg": "none"})) + "." + encodeJSON(i.claims(now, nil)) + "."
	case "signature-cut-off":
		return strings.Join(strings.Split(with(nil), ".")[:2], ".") + "."
	case "hs256":
		return signHS256(&i.key.PublicKey, header(map[string]any{"alg": "HS256"}), i.claims(now, nil))
	case "es256":
		return signES256(header(map[string]any{"alg": "ES256"}), i.claims(now, nil))
	case "typ":
		return signRS256(i.key, header(map[string]any{"typ": "at+jwt"}), i.claims(now, nil))
	case "no-iss":
		return with(map[string]any{"iss": nil})
	case "no-sub":
		return with(map[string]any{"sub": nil})
	case "no-aud":
		return with(map[string]any{"aud": nil})
	case "no-exp":
		return with(map[string]any{"exp": nil})
	case "no-iat":
		return with(map[string]any{"iat": nil})
	case "issuer-unknown":
		return with(map[string]any{"iss": "https://issuer.example"})
	case "issuer-slash":
		return with(map[string]any{"iss": i.URL + "/"})
	case "subject-other":
		return with(map[string]any{"sub": "system:serviceaccount:shop:payments"})
	case "subject-case":
		return with(map[string]any{"sub": "system:serviceaccount:Shop:orders"})
	case "subject-space":
		return with(map[string]any{"sub": subject + " "})
	case "audience-other":
		return with(map[string]any{"aud": []string{"https://kubernetes.default.svc"}})
	case "audience-two":
		return with(map[string]any{"aud": []string{exchangeAudience, "https://kubernetes.default.svc"}})
	case "key-unknown":
		return signRS256(testKeys()[1], header(map[string]any{"kid": "cluster-key-2"}), i.claims(now, nil))
	case "key-forged":
		return signRS256(testKeys()[1], header(nil), i.claims(now, nil))
	case "expired":
		return with(map[string]any{"iat": now.Add(-2 * time.Hour).Unix(), "nbf": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(-time.Hour).Unix()})
	case "future":
		return with(map[string]any{"iat": now.Add(time.Hour).Unix(), "nbf": now.Add(time.Hour).Unix(), "exp": now.Add(2 * time.Hour).Unix()})
	case "self-issued":
		return signRS256(testKeys()[1], map[string]any{"alg": "RS256", "typ": "JWT", "kid": "thumbprint"}, i.claims(now, map[string]any{
			"iss": c.app.AppID, "sub": c.app.AppID, "aud": "https://login.lanyard.test:8443/" + contoso + "/oauth2/v2.0/token"}))
	case "microsoft":
		return with(map[string]any{"iss": "https://login.microsoftonline.com/" + contoso + "/v2.0"})
	case "microsoft-subdomain":
		return with(map[string]any{"iss": "https://eu.login.microsoftonline.com/" + contoso + "/v2.0"})
	case "identity":
		return c.exchangeToken(c.mi.AppID)
	case "identity-altered":
		raw := c.exchangeToken(c.mi.AppID)
		parts := strings.Split(raw, ".")
		claims := claimsOf(tb, raw)
		claims["exp"] = now.Add(48 * time.Hour).Unix()
		return parts[0] + "." + encodeJSON(claims) + "." + parts[2]
	case "identity-wrong-audience":
		number, raw := c.federated(with(nil))
		if number != 0 {
			tb.Fatalf("no token for the identity: AADSTS%d", number)
		}
		return raw
	case "application":
		_, raw := c.as(c.app.AppID, url.Values{"client_secret": {c.appSecret}, "scope": {exchangeAudience + "/.default"}})
		return raw
	}
	if of, ok := strings.CutPrefix(name, "certificate-"); ok {
		return c.certificateAssertion(tb, of)
	}
	if of, ok := strings.CutPrefix(name, "job-"); ok {
		return c.flexibleAssertion(tb, of)
	}
	tb.Fatalf("no assertion is called %q", name)
	return ""
}

// exchangeToken gets a token of a managed identity for the token exchange, as a
// workload does that then acts as an application.
func (c *cloud) exchangeToken(clientID string) string {
	c.TB.Helper()
	number, raw := c.as(clientID, url.Values{
		"scope":                 {exchangeAudience + "/.default"},
		"client_assertion":      {c.issuer.token(c.Clock.Now(), nil)},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
	if number != 0 {
		c.TB.Fatalf("no token for the token exchange: AADSTS%d", number)
	}
	return raw
}
