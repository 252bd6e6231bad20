package entra_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/store"
)

// TestSecretRotation: several secrets work at a time, so that a new one is in
// every place before the old one ends.
func TestSecretRotation(t *testing.T) {
	c := newCloud(t, options{})
	app, _ := c.Application(contoso, "rotated")
	use := func(secret string) int {
		t.Helper()
		number, _ := c.as(app.AppID, url.Values{"client_secret": {secret}})
		return number
	}
	want := func(step string, numbers map[string]int) {
		t.Helper()
		for secret, want := range numbers {
			if number := use(secret); number != want {
				t.Errorf("%s: AADSTS%d, want %d", step, number, want)
			}
		}
	}
	first := c.secret(app, c.Clock.Now().Add(time.Hour))
	want("the first", map[string]int{first: 0})
	second := c.secret(app, time.Time{})
	third := c.secret(app, time.Time{})
	want("all three", map[string]int{first: 0, second: 0, third: 0, c.appSecret: 7000215})
	c.Clock.Advance(time.Hour)
	want("the first is over", map[string]int{first: 7000222, second: 0, third: 0})
	keyID := c.reread(app).Secrets[1].KeyID
	c.Update(func(tx *store.Tx) error { return c.Directory.RemoveSecret(tx, contoso, app.AppID, keyID) })
	want("the second was removed", map[string]int{first: 7000222, second: 7000215, third: 0})

	// A certificate beside it changes nothing.
	cert := c.register(app, "stranger", time.Time{})
	c.certificates["app"] = cert
	number, _ := c.as(app.AppID, url.Values{
		"client_assertion":      {c.own("app", "PS256", map[string]any{"iss": app.AppID, "sub": app.AppID})},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
	if number != 0 {
		t.Errorf("the certificate: AADSTS%d", number)
	}
	want("with a certificate", map[string]int{third: 0})
}

// TestApplicationCredentials: an application proves itself by each of its kinds
// of credential, and by none of them while it is disabled, or once it is deleted.
func TestApplicationCredentials(t *testing.T) {
	c := newCloud(t, options{})
	app, principal := c.Application(contoso, "everything")
	secret := c.secret(app, time.Time{})
	c.certificates["app"] = c.register(app, "stranger", time.Time{})
	c.credential(app.ObjectID, "cluster", c.issuer.URL, subject)
	c.expression(app.ObjectID, "namespace", "claims['sub'] matches 'system:serviceaccount:jobs:*'")
	c.credential(app.ObjectID, "identity", c.Azure.IssuerV2(contoso), c.mi.ObjectID)
	assertion := func(raw string) url.Values {
		return url.Values{
			"client_assertion":      {raw},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
	}
	now := c.Clock.Now()
	credentials := map[string]struct {
		form url.Values
		acr  string
	}{
		"secret":      {url.Values{"client_secret": {secret}}, "1"},
		"certificate": {assertion(c.own("app", "PS256", map[string]any{"iss": app.AppID, "sub": app.AppID})), "2"},
		"subject":     {assertion(c.issuer.token(now, nil)), "2"},
		"expression":  {assertion(c.issuer.token(now, map[string]any{"sub": "system:serviceaccount:jobs:nightly"})), "2"},
		"identity":    {assertion(c.exchangeToken(c.mi.AppID)), "2"},
	}
	want := func(step string, want int) {
		t.Helper()
		for name, credential := range credentials {
			number, raw := c.as(app.AppID, credential.form)
			if number != want {
				t.Errorf("%s: %s: AADSTS%d, want %d", step, name, number, want)
				continue
			}
			if want != 0 {
				continue
			}
			claims := claimsOf(t, raw)
			if claims["appid"] != app.AppID || claims["oid"] != principal.ObjectID || claims["appidacr"] != credential.acr {
				t.Errorf("%s: %s: %v", step, name, claims)
			}
		}
	}
	setDisabled := func(disabled bool) {
		t.Helper()
		c.Update(func(tx *store.Tx) error { return c.Directory.SetDisabled(tx, contoso, principal.ObjectID, disabled) })
	}
	want("enabled", 0)
	setDisabled(true)
	want("disabled", 7000112)
	setDisabled(false)
	want("enabled again", 0)
	c.Update(func(tx *store.Tx) error { return c.Directory.DeletePrincipal(tx, contoso, principal.ObjectID) })
	want("deleted", 700016)
}

// TestResourceDecidesOnVersion: a client asks for the same resource by each of
// its names and at each endpoint, and the resource says which version it gets.
func TestResourceDecidesOnVersion(t *testing.T) {
	c := newCloud(t, options{})
	form := func(name, value string) url.Values {
		return url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c.app.AppID}, "client_secret": {c.appSecret}, name: {value},
			"claims": {`{"access_token":{"xms_cc":{"values":["CP1"]}}}`},
		}
	}
	set := func(version int) {
		t.Helper()
		c.Update(func(tx *store.Tx) error { return c.Directory.SetAccessTokenVersion(tx, contoso, c.api.AppID, version) })
	}
	for _, version := range []int{2, 1, 0} {
		set(version)
		for _, name := range []string{"api://orders", "api://" + c.api.AppID, c.api.AppID} {
			for path, form := range map[string]url.Values{
				"/oauth2/v2.0/token": form("scope", name+"/.default openid offline_access profile"),
				"/oauth2/token":      form("resource", name),
			} {
				status, answer := c.post("/"+contoso+path, form)
				if status != 200 {
					t.Fatalf("version %d, %s at %s: %d %v", version, name, path, status, answer)
				}
				claims := claimsOf(t, answer["access_token"].(string))
				ver, aud, client, acr, iss := "1.0", name, "appid", "appidacr", c.Azure.IssuerV1(contoso)
				if version == 2 {
					ver, aud, client, acr, iss = "2.0", c.api.AppID, "azp", "azpacr", c.Azure.IssuerV2(contoso)
				}
				if claims["ver"] != ver || claims["aud"] != aud || claims[client] != c.app.AppID || claims[acr] != "1" || claims["iss"] != iss {
					t.Errorf("version %d, %s at %s: %v", version, name, path, claims)
				}
				if _, told := claims["xms_cc"]; told {
					t.Errorf("an application's token says xms_cc: %v", claims)
				}
			}
		}
	}
	// The cloud's own services have version 1, whatever the endpoint, and are
	// told what the client can do.
	for path, form := range map[string]url.Values{
		"/oauth2/v2.0/token": form("scope", management+"/.default"), "/oauth2/token": form("resource", management),
	} {
		_, answer := c.post("/"+contoso+path, form)
		claims := claimsOf(t, answer["access_token"].(string))
		if cc, ok := claims["xms_cc"].([]any); claims["ver"] != "1.0" || !ok || len(cc) != 1 || cc[0] != "CP1" {
			t.Errorf("%s: %v", path, claims)
		}
	}
}
