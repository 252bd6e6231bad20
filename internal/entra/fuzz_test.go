package entra_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// answered checks what every answer must be, whatever was asked: JSON of one of
// two shapes, with a status that fits.
func answered(t *testing.T, a cloudtest.Answer) (issued bool) {
	t.Helper()
	if a.Status >= http.StatusInternalServerError {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	if a.Body == "" {
		return false
	}
	answer := cloudtest.Decode[map[string]any](t, a)
	_, issued = answer["access_token"]
	_, refused := answer["error"]
	if a.Status == http.StatusOK == refused || issued && refused {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	return issued
}

// FuzzTokenForm: no body gets a token that does not hold the secret.
func FuzzTokenForm(f *testing.F) {
	c := newCloud(f, options{})
	valid := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.app.AppID}, "client_secret": {"wrong"},
		"scope": {management + "/.default"},
	}.Encode()
	for _, body := range []string{
		"", "&", "=", "grant_type", valid, valid + "&scope=", valid + "&a;b", valid + "&claims=%7B%7D",
		"grant_type=client_credentials&client_id=%00", "grant_type=client_credentials&client_id=" + c.mi.AppID +
			"&scope=a/.default&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=a.b.c",
		"%67rant_type=client_credentials", strings.Repeat("a", 70<<10),
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if answered(t, c.send(formRequest(t, "/"+contoso+"/oauth2/v2.0/token", body))) && !strings.Contains(body, c.appSecret) {
			t.Fatalf("%q got a token", body)
		}
	})
}

// FuzzScope: no scope that does not name the resource gets a token for it.
func FuzzScope(f *testing.F) {
	c := newCloud(f, options{})
	for _, scope := range []string{
		"", " ", management + "/.default", management + "//.default", management + "/.default openid",
		management + "/.default " + management + "/.default", "/.default", ".default", "api://orders/.default",
		"openid", "ä/.default", "a\x00/.default", strings.Repeat("/.default", 100),
	} {
		f.Add(scope)
	}
	f.Fuzz(func(t *testing.T, scope string) {
		number, raw := c.in(t).as(c.app.AppID, url.Values{"client_secret": {c.appSecret}, "scope": {scope}})
		if number != 0 {
			return
		}
		aud, _ := claimsOf(t, raw)["aud"].(string)
		if !strings.Contains(scope, "/.default") || aud != c.api.AppID && !strings.Contains(scope, aud) {
			t.Fatalf("%q got a token for %q", scope, aud)
		}
	})
}

// FuzzAssertion: nothing but what the issuer signed gets a token.
func FuzzAssertion(f *testing.F) {
	c := newCloud(f, options{})
	valid := c.assertion(f, "valid")
	for _, name := range []string{
		"not-a-jwt", "unsigned", "signature-cut-off", "hs256", "es256", "typ", "no-iss", "no-sub", "no-aud", "no-exp",
		"subject-other", "subject-space", "audience-two", "key-unknown", "key-forged", "expired", "microsoft",
		"self-issued", "identity", "application",
	} {
		f.Add(c.assertion(f, name))
	}
	parts := strings.Split(valid, ".")
	f.Add(parts[0] + "." + parts[1] + "." + parts[2] + "=")
	f.Add(parts[0] + "=." + parts[1] + "." + parts[2])
	f.Add(valid + ".")
	f.Add(" " + valid)
	f.Add(strings.ToUpper(valid))
	f.Fuzz(func(t *testing.T, assertion string) {
		number, _ := c.in(t).federated(assertion)
		// Padding is not signed, and some clients send it.
		if number == 0 && strings.ReplaceAll(assertion, "=", "") != valid {
			t.Fatalf("%q got a token", assertion)
		}
	})
}

// FuzzPath: no path and query makes anything but a proper answer, and none
// names an authority that is not this service's.
func FuzzPath(f *testing.F) {
	c := newCloud(f, options{defaultTenant: contoso})
	const discovery = "/common/discovery/instance?api-version=1.1&authorization_endpoint="
	for _, target := range []string{
		"/", "//", "/adfs", "/" + contoso, "/" + contoso + "/oauth2/token", "/../" + contoso + "/oauth2/token",
		"/" + contoso + "/v2.0/.well-known/openid-configuration", "/%2e%2e/oauth2/token", "/a%2fb/oauth2/token",
		"/adfs/.well-known/openid-configuration?x=%zz", discovery + "https://login.lanyard.test/common/oauth2/authorize",
		discovery + "https://login.example/common/oauth2/authorize", discovery + "https%3a//a@login.lanyard.test:1/b/oauth2/v2.0/authorize",
		discovery + "//login.lanyard.test/common/oauth2/authorize", discovery,
	} {
		f.Add(target)
	}
	own := map[string]bool{"login.lanyard.test": true, "sts.lanyard.test": true, "login-us.microsoftonline.com": true, "login.microsoftonline.com": true}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || !strings.HasPrefix(target, "/") {
			return
		}
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			a := c.send(&http.Request{Method: method, URL: u, Host: "login.lanyard.test:8443", Header: http.Header{}, Body: http.NoBody})
			if answered(t, a) {
				t.Fatalf("%s %s got a token", method, target)
			}
			var document struct {
				Endpoint string `json:"tenant_discovery_endpoint"`
			}
			if json.Unmarshal([]byte(a.Body), &document) == nil && document.Endpoint != "" {
				if endpoint, err := url.Parse(document.Endpoint); err != nil || endpoint.Scheme != "https" || endpoint.User != nil || !own[strings.ToLower(endpoint.Hostname())] {
					t.Fatalf("%s leads to %s", target, document.Endpoint)
				}
			}
		}
	})
}
