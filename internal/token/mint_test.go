package token

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/standin"
)

func TestMintClaims(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	kid := k.List()[0].ID
	now := float64(standin.Start.Unix())
	user := func(version string, issuer string) Claims {
		u := appClaims(c)
		u.Version, u.Issuer, u.IDType, u.AppIDACR = version, issuer, IDTypeUser, ACRPublic
		u.Subject, u.Name, u.UPN, u.Scopes = "pairwise", "Ada", "ada@lanyard.test", "user_impersonation openid"
		u.Groups, u.NotBefore = []string{"g1", "g2"}, u.IssuedAt-300
		return u
	}
	identity := appClaims(c)
	identity.TokenID = "chosen"
	identity.IdentityResourceID = "/subscriptions/s/resourcegroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/n"
	identity.HostResourceID = "/subscriptions/s/resourcegroups/rg/providers/Microsoft.Compute/virtualMachines/vm"
	app2 := appClaims(c)
	app2.Version, app2.Issuer, app2.Audience = Version2, cloud.IssuerV2(tenantID), clientID
	app2.AppIDACR, app2.Roles = ACRSecret, []string{"Reader.All"}

	headerV1 := map[string]any{"alg": "RS256", "typ": "JWT", "kid": kid, "x5t": kid}
	headerV2 := map[string]any{"alg": "RS256", "typ": "JWT", "kid": kid}
	for name, test := range map[string]struct {
		claims         Claims
		header, wanted map[string]any
	}{
		"application, 1.0": {appClaims(c), headerV1, map[string]any{
			"aud": "https://management.azure.com/", "iss": "https://sts.lanyard.test:8443/" + tenantID + "/",
			"idp": "https://sts.lanyard.test:8443/" + tenantID + "/",
			"iat": now, "nbf": now, "exp": now + 3600, "ver": "1.0", "tid": tenantID, "oid": objectID, "sub": objectID,
			"appid": clientID, "appidacr": "2", "idtyp": "app"}},
		"managed identity, 1.0": {identity, headerV1, map[string]any{
			"aud": "https://management.azure.com/", "iss": cloud.IssuerV1(tenantID), "idp": cloud.IssuerV1(tenantID),
			"iat": now, "nbf": now, "exp": now + 3600, "ver": "1.0", "tid": tenantID, "oid": objectID, "sub": objectID,
			"appid": clientID, "appidacr": "2", "idtyp": "app", "uti": "chosen",
			"xms_mirid": identity.IdentityResourceID, "xms_az_rid": identity.HostResourceID}},
		"application, 2.0": {app2, headerV2, map[string]any{
			"aud": clientID, "iss": "https://login.lanyard.test:8443/" + tenantID + "/v2.0",
			"iat": now, "nbf": now, "exp": now + 3600, "ver": "2.0", "tid": tenantID, "oid": objectID, "sub": objectID,
			"azp": clientID, "azpacr": "1", "idtyp": "app", "roles": []any{"Reader.All"}}},
		"user, 1.0": {user(Version1, cloud.IssuerV1(tenantID)), headerV1, map[string]any{
			"aud": "https://management.azure.com/", "iss": cloud.IssuerV1(tenantID),
			"iat": now, "nbf": now - 300, "exp": now + 3600, "ver": "1.0", "tid": tenantID, "oid": objectID, "sub": "pairwise",
			"appid": clientID, "appidacr": "0", "idtyp": "user", "name": "Ada",
			"upn": "ada@lanyard.test", "unique_name": "ada@lanyard.test",
			"scp": "user_impersonation openid", "groups": []any{"g1", "g2"}}},
		"user, 2.0": {user(Version2, cloud.IssuerV2(tenantID)), headerV2, map[string]any{
			"aud": "https://management.azure.com/", "iss": cloud.IssuerV2(tenantID),
			"iat": now, "nbf": now - 300, "exp": now + 3600, "ver": "2.0", "tid": tenantID, "oid": objectID, "sub": "pairwise",
			"azp": clientID, "azpacr": "0", "idtyp": "user", "name": "Ada",
			"preferred_username": "ada@lanyard.test",
			"scp":                "user_impersonation openid", "groups": []any{"g1", "g2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			header, claims := decode(t, mint(t, k, test.claims))
			if diff := cmp.Diff(test.header, header); diff != "" {
				t.Errorf("header: %s", diff)
			}
			// What is random must be there, and differ in the next token.
			_, other := decode(t, mint(t, k, test.claims))
			for _, random := range []string{"aio", "rh", "xms_ftd", "xms_rd"} {
				if s, _ := claims[random].(string); len(s) < 40 || s == other[random] {
					t.Errorf("%s: %q, then %q", random, claims[random], other[random])
				}
				delete(claims, random)
			}
			for _, pair := range []string{"xms_idrel", "xms_act_fct", "xms_sub_fct"} {
				if s, _ := claims[pair].(string); len(strings.Fields(s)) != 2 {
					t.Errorf("%s: %q", pair, claims[pair])
				}
				delete(claims, pair)
			}
			if _, chosen := test.wanted["uti"]; !chosen {
				uti, _ := claims["uti"].(string)
				if b, err := base64.RawURLEncoding.DecodeString(uti); err != nil || len(b) != 16 || uti == other["uti"] {
					t.Errorf("uti: %q, then %q", uti, other["uti"])
				}
				delete(claims, "uti")
			}
			if diff := cmp.Diff(test.wanted, claims); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMintRefusals(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	for name, change := range map[string]func(*Claims){
		"no audience":      func(c *Claims) { c.Audience = "" },
		"no issuer":        func(c *Claims) { c.Issuer = "" },
		"no tenant":        func(c *Claims) { c.TenantID = "" },
		"no object ID":     func(c *Claims) { c.ObjectID = "" },
		"no client":        func(c *Claims) { c.AppID = "" },
		"no version":       func(c *Claims) { c.Version = "" },
		"unknown version":  func(c *Claims) { c.Version = "3.0" },
		"no idtyp":         func(c *Claims) { c.IDType = "" },
		"unknown idtyp":    func(c *Claims) { c.IDType = "device" },
		"no acr":           func(c *Claims) { c.AppIDACR = "" },
		"no iat":           func(c *Claims) { c.IssuedAt = 0 },
		"ends at once":     func(c *Claims) { c.Expiry = c.IssuedAt },
		"lives too long":   func(c *Claims) { c.Expiry = c.IssuedAt + 28*3600 + 1 },
		"longer than read": func(c *Claims) { c.Roles = []string{strings.Repeat("r", maxTokenBytes)} },
	} {
		t.Run(name, func(t *testing.T) {
			claims := appClaims(c)
			change(&claims)
			if raw, err := k.Mint(claims); err == nil {
				t.Errorf("minted %s", raw)
			}
		})
	}
}
