package entra_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/store"
)

// TestCertificateShapes: what clients send, of each kind of key, gets a token
// that says how it was got.
func TestCertificateShapes(t *testing.T) {
	c := newCloud(t, options{})
	for _, name := range []string{
		"go", "go-adfs", "javascript", "javascript-sha1", "python", "python-old", "terraform", "terraform-ec", "elliptic", "kid-hex",
	} {
		if name == "go-adfs" {
			continue // its audience is that of the /adfs endpoint, see below
		}
		number, raw := c.byCertificate(c.certificateAssertion(t, name))
		if number != 0 {
			t.Errorf("%s: AADSTS%d", name, number)
			continue
		}
		claims := claimsOf(t, raw)
		if claims["appid"] != c.signer.AppID || claims["oid"] != c.signerPrincipal.ObjectID || claims["appidacr"] != "2" {
			t.Errorf("%s: %v", name, claims)
		}
	}
	if raw := c.certificateAssertion(t, "python-old"); strings.Count(raw, "=") == 0 {
		t.Error("the padded assertion has no padding")
	}
}

// TestCertificateThumbprints: every spelling of the certificate's name finds it,
// and no other text does.
func TestCertificateThumbprints(t *testing.T) {
	c := newCloud(t, options{})
	cert := c.certificates["rsa"]
	sha1, sha256 := cert.sha1(), cert.sha256()
	std, url, rawStd, rawURL := base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding
	other := c.certificates["other"]
	for _, test := range []struct {
		name   string
		header map[string]any
		want   int
	}{
		{"x5t#S256 standard, padded", map[string]any{"x5t#S256": std.EncodeToString(sha256)}, 0},
		{"x5t#S256 standard", map[string]any{"x5t#S256": rawStd.EncodeToString(sha256)}, 0},
		{"x5t#S256 padded", map[string]any{"x5t#S256": url.EncodeToString(sha256)}, 0},
		{"x5t#S256", map[string]any{"x5t#S256": rawURL.EncodeToString(sha256)}, 0},
		{"x5t standard, padded", map[string]any{"x5t": std.EncodeToString(sha1)}, 0},
		{"x5t standard", map[string]any{"x5t": rawStd.EncodeToString(sha1)}, 0},
		{"x5t padded", map[string]any{"x5t": url.EncodeToString(sha1)}, 0},
		{"x5t", map[string]any{"x5t": rawURL.EncodeToString(sha1)}, 0},
		{"kid in upper case", map[string]any{"kid": strings.ToUpper(hex.EncodeToString(sha1))}, 0},
		{"kid in lower case", map[string]any{"kid": hex.EncodeToString(sha1)}, 0},
		{"kid in base64url", map[string]any{"kid": rawURL.EncodeToString(sha1)}, 0},
		{"kid in padded base64url", map[string]any{"kid": url.EncodeToString(sha1)}, 0},
		{"kid in base64", map[string]any{"kid": std.EncodeToString(sha1)}, 0},
		{"the first counts", map[string]any{"x5t#S256": rawURL.EncodeToString(sha256), "x5t": rawURL.EncodeToString(other.sha1()), "kid": "x"}, 0},
		{"the first counts, x5t", map[string]any{"x5t": rawURL.EncodeToString(sha1), "kid": "x"}, 0},

		{"the other hash as x5t#S256", map[string]any{"x5t#S256": rawURL.EncodeToString(sha1)}, 700027},
		{"the other hash as x5t", map[string]any{"x5t": rawURL.EncodeToString(sha256)}, 700027},
		{"the other hash as kid", map[string]any{"kid": rawURL.EncodeToString(sha256)}, 700027},
		{"the other hash as kid, in hexadecimal", map[string]any{"kid": hex.EncodeToString(sha256)}, 700027},
		{"x5t in hexadecimal", map[string]any{"x5t": hex.EncodeToString(sha1)}, 700027},
		{"another certificate first", map[string]any{"x5t#S256": rawURL.EncodeToString(other.sha256()), "x5t": rawURL.EncodeToString(sha1)}, 700027},
		{"cut off", map[string]any{"x5t": rawURL.EncodeToString(sha1[:19])}, 700027},
		{"a line break", map[string]any{"x5t": rawURL.EncodeToString(sha1) + "\n"}, 700027},
		{"a space", map[string]any{"x5t": " " + rawURL.EncodeToString(sha1)}, 700027},
		{"the key credential's own ID", map[string]any{"kid": cert.keyID}, 700027},
		{"the subject", map[string]any{"kid": "CN=rsa"}, 700027},
		{"nothing", map[string]any{}, 5002723},
		{"empty", map[string]any{"x5t#S256": "", "x5t": "", "kid": ""}, 5002723},
		{"a number", map[string]any{"x5t": 1}, 50027},
		{"null", map[string]any{"x5t#S256": nil}, 50027},
		{"a list", map[string]any{"kid": []string{hex.EncodeToString(sha1)}}, 50027},
		{"critical extensions", map[string]any{"x5t": rawURL.EncodeToString(sha1), "crit": []string{"x5t"}}, 50027},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := c.in(t)
			header := map[string]any{"alg": "RS256"}
			for name, value := range test.header {
				header[name] = value
			}
			if number, _ := c.byCertificate(c.compose(cert, "RS256", header, c.ownClaims(nil), rawURL)); number != test.want {
				t.Errorf("AADSTS%d, want %d", number, test.want)
			}
		})
	}
}

// TestCertificateAttacks: what is not signed with the key of a certificate of the
// client, for this service, now, gets nothing.
func TestCertificateAttacks(t *testing.T) {
	c := newCloud(t, options{})
	for name, want := range map[string]int{
		"unregistered": 700027, "of-another-application": 700027, "expired-certificate": 700027,
		"foreign-chain": 700027, "foreign-key": 700027, "altered": 700027, "signature-cut-off": 700027,
		"rs256-as-ps256": 700027, "ps256-as-rs256": 700027, "sha256-as-x5t": 700027, "no-thumbprint": 700027,
		"unsigned": 5002738, "hs256": 5002738, "es256-with-rsa": 5002730, "unnamed": 5002723,
		"issued-by-another": 700021, "of-identity": 700021, "for-another": 50048, "audience-of-another-tenant": 700023,
		"ended": 700024, "not-begun": 700024, "of-many-days": 700024,
	} {
		if number, _ := c.byCertificate(c.certificateAssertion(t, name)); number != want {
			t.Errorf("%s: AADSTS%d, want %d", name, number, want)
		}
	}
	// The right assertion is worth nothing to another client: neither as
	// another application, nor in another tenant, nor as an identity.
	good := c.certificateAssertion(t, "go")
	form := url.Values{"client_assertion": {good}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	for name, id := range map[string]string{"another application": c.app.AppID, "an identity": c.mi.AppID} {
		if number, _ := c.as(id, form); number != 700021 {
			t.Errorf("as %s: AADSTS%d, want 700021", name, number)
		}
	}
	form.Set("client_id", c.signer.AppID)
	form.Set("grant_type", "client_credentials")
	form.Set("scope", management+"/.default")
	if status, answer := c.post("/"+fabrikam+"/oauth2/v2.0/token", form); status != http.StatusBadRequest || answer["error_codes"].([]any)[0] != 700016.0 {
		t.Errorf("in another tenant: %d %v", status, answer)
	}
	// With a secret beside it, it is one credential too many.
	if number, _ := c.as(c.signer.AppID, url.Values{
		"client_assertion": {good}, "client_assertion_type": form["client_assertion_type"], "client_secret": {c.appSecret},
	}); number != 7000218 {
		t.Errorf("with a secret: AADSTS%d, want 7000218", number)
	}
	if number, _ := c.as(strings.ToUpper(c.signer.AppID), form); number != 0 {
		t.Errorf("as itself: AADSTS%d", number)
	}
}

// TestCertificateClientInAnyCase: a client ID is a GUID, which has no case.
func TestCertificateClientInAnyCase(t *testing.T) {
	c := newCloud(t, options{})
	upper := strings.ToUpper(c.signer.AppID)
	for _, changes := range []map[string]any{{"iss": upper}, {"sub": upper}, {"iss": upper, "sub": upper}} {
		if number, _ := c.byCertificate(c.own("rsa", "PS256", changes)); number != 0 {
			t.Errorf("%v: AADSTS%d", changes, number)
		}
	}
	if number, _ := c.byCertificate(c.own("rsa", "RS256", map[string]any{"iss": "{" + c.signer.AppID + "}"})); number != 70025 {
		t.Errorf("in braces: AADSTS%d, want 70025", number)
	}
}

// TestCertificateAudiences: the endpoints and issuers of the tenant, under each
// name of the service and of the tenant, and nothing else.
func TestCertificateAudiences(t *testing.T) {
	c := newCloud(t, options{defaultTenant: contoso})
	const host = "https://login.lanyard.test:8443/"
	for audience, want := range map[string]int{
		host + contoso + "/oauth2/v2.0/token":                                    0,
		host + contoso + "/oauth2/token":                                         0,
		host + contoso + "/v2.0":                                                 0,
		host + contoso + "/":                                                     0,
		host + contoso:                                                           0,
		"https://sts.lanyard.test:8443/" + contoso + "/":                         0,
		host + strings.ToUpper(contoso) + "/oauth2/v2.0/token":                   0,
		host + "contoso.example/oauth2/v2.0/token":                               0,
		host + "Contoso.Example/oauth2/token":                                    0,
		host + "adfs/oauth2/token":                                               0,
		host + "adfs/oauth2/v2.0/token":                                          0,
		host + "adfs":                                                            0,
		"https://LOGIN.lanyard.test:8443/" + contoso + "/oauth2/v2.0/token":      0,
		"https://login-us.microsoftonline.com/" + contoso + "/oauth2/v2.0/token": 0,
		"https://login-us.microsoftonline.com:8443/" + contoso + "/v2.0":         0,
		"https://login.microsoftonline.com/contoso.example/oauth2/token":         0,

		host + fabrikam + "/oauth2/v2.0/token":                             700023,
		host + "fabrikam.example/oauth2/v2.0/token":                        700023,
		host + "common/oauth2/v2.0/token":                                  700023,
		host + "organizations/v2.0":                                        700023,
		host + contoso + "/oauth2/v2.0/authorize":                          700023,
		host + contoso + "/oauth2/v2.0/token/x":                            700023,
		host + contoso + "/oauth2/v2.0/token?x=1":                          700023,
		host + contoso + "/oauth2/v2.0/token?":                             700023,
		host + contoso + "/oauth2/v2.0/token#x":                            700023,
		host + contoso + "%2Foauth2/v2.0/token":                            700023,
		host + "x/../" + contoso + "/v2.0":                                 700023,
		host:                                                               700023,
		"https://login.lanyard.test/" + contoso + "/oauth2/v2.0/token":     700023,
		"https://login.lanyard.test:443/" + contoso + "/v2.0":              700023,
		"https://a@login.lanyard.test:8443/" + contoso + "/v2.0":           700023,
		"https://login.lanyard.test.evil:8443/" + contoso + "/v2.0":        700023,
		"https://evil.example/login.lanyard.test:8443/" + contoso:          700023,
		"http://login.lanyard.test:8443/" + contoso + "/oauth2/v2.0/token": 700023,
		"//login.lanyard.test:8443/" + contoso + "/v2.0":                   700023,
		"https://management.lanyard.test:8443/" + contoso + "/v2.0":        700023,
		"https://login.windows.net/" + contoso + "/oauth2/v2.0/token":      700023, // no alias here
		"https://management.azure.com":                                     700023,
		exchangeAudience:                                                   700023,
		c.signer.AppID:                                                     700023,
		contoso:                                                            700023,
		"https://%zz":                                                      700023,
		"":                                                                 700023,
	} {
		if number, _ := c.byCertificate(c.own("rsa", "PS256", map[string]any{"aud": audience})); number != want {
			t.Errorf("%q: AADSTS%d, want %d", audience, number, want)
		}
	}
	token := host + contoso + "/oauth2/v2.0/token"
	for want, audience := range map[int]any{0: []string{token}, 700023: []string{token, host + contoso}, 90014: []string{}, 50027: []any{token, 1}} {
		if number, _ := c.byCertificate(c.own("rsa", "PS256", map[string]any{"aud": audience})); number != want {
			t.Errorf("%v: AADSTS%d, want %d", audience, number, want)
		}
	}
}

// TestCertificateAudienceOfMappedPort: a client that comes by another port, as
// through a mapped one, names that port; nobody else's host counts, whatever the
// request says.
func TestCertificateAudienceOfMappedPort(t *testing.T) {
	c := newCloud(t, options{})
	for _, test := range []struct {
		host, audience string
		want           int
	}{
		{"login.lanyard.test:9443", "https://login.lanyard.test:9443/", http.StatusOK},
		{"login.lanyard.test", "https://login.lanyard.test/", http.StatusOK},
		{"login.lanyard.test:9443", "https://login.lanyard.test:8443/", http.StatusOK},
		{"login.lanyard.test:9443", "https://login.lanyard.test:9444/", http.StatusUnauthorized},
		{"evil.example", "https://evil.example/", http.StatusUnauthorized},
		{"evil.example:8443", "https://evil.example:8443/", http.StatusUnauthorized},
	} {
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c.signer.AppID}, "scope": {management + "/.default"},
			"client_assertion":      {c.own("rsa", "PS256", map[string]any{"aud": test.audience + contoso + "/oauth2/v2.0/token"})},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+test.host+"/"+contoso+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if got := c.send(r).Status; got != test.want {
			t.Errorf("by %s for %s: %d, want %d", test.host, test.audience, got, test.want)
		}
	}
}

// TestCertificateWithoutADFS: where /adfs stands for no tenant or for another
// one, it is no audience.
func TestCertificateWithoutADFS(t *testing.T) {
	for name, opts := range map[string]options{"no tenant": {}, "another": {defaultTenant: fabrikam}} {
		c := newCloud(t, opts)
		if number, _ := c.byCertificate(c.certificateAssertion(t, "go-adfs")); number != 700023 {
			t.Errorf("%s: AADSTS%d, want 700023", name, number)
		}
	}
}

// TestCertificateTimes: five minutes of grace at both ends, and a day at most in
// between, from when the assertion begins, or from now where it does not say.
func TestCertificateTimes(t *testing.T) {
	c := newCloud(t, options{})
	now := c.Clock.Now()
	at := func(d time.Duration) any { return now.Add(d).Unix() }
	for _, test := range []struct {
		name    string
		changes map[string]any
		want    int
	}{
		{"ended just within the grace", map[string]any{"exp": at(-5*time.Minute + time.Second)}, 0},
		{"ended beyond the grace", map[string]any{"exp": at(-5 * time.Minute)}, 700024},
		{"begins at the end of the grace", map[string]any{"nbf": at(5 * time.Minute)}, 0},
		{"begins beyond the grace", map[string]any{"nbf": at(5*time.Minute + time.Second)}, 700024},
		{"a day", map[string]any{"exp": at(24 * time.Hour)}, 0},
		{"more than a day", map[string]any{"exp": at(24*time.Hour + time.Second)}, 700024},
		{"a day from iat", map[string]any{"nbf": nil, "iat": at(-time.Hour), "exp": at(23 * time.Hour)}, 0},
		{"more than a day from iat", map[string]any{"nbf": nil, "iat": at(-time.Hour), "exp": at(23*time.Hour + time.Second)}, 700024},
		{"a day from now", map[string]any{"nbf": nil, "exp": at(24 * time.Hour)}, 0},
		{"more than a day from now", map[string]any{"nbf": nil, "exp": at(24*time.Hour + time.Second)}, 700024},
		{"since 1970", map[string]any{"nbf": 0}, 700024},
		{"without jti", map[string]any{"jti": nil}, 0},
		{"without exp", map[string]any{"exp": nil}, 90014},
		{"without aud", map[string]any{"aud": nil}, 90014},
		{"without sub", map[string]any{"sub": nil}, 90014},
	} {
		if number, _ := c.byCertificate(c.own("rsa", "PS256", test.changes)); number != test.want {
			t.Errorf("%s: AADSTS%d, want %d", test.name, number, test.want)
		}
	}
}

// TestCertificateRotation: a new certificate works beside the old one, and the
// old one ends when it is removed, or when its time comes.
func TestCertificateRotation(t *testing.T) {
	c := newCloud(t, options{})
	want := func(step, certificate string, want int) {
		t.Helper()
		if number, _ := c.byCertificate(c.own(certificate, "PS256", nil)); number != want {
			t.Errorf("%s: %s: AADSTS%d, want %d", step, certificate, number, want)
		}
	}
	want("before", "rsa", 0)
	want("before", "stranger", 700027)
	c.certificates["next"] = c.register(c.signer, "stranger", c.Clock.Now().Add(time.Hour))
	want("with both", "rsa", 0)
	want("with both", "next", 0)
	c.Update(func(tx *store.Tx) error {
		return c.Directory.RemoveCertificate(tx, contoso, c.signer.AppID, c.certificates["rsa"].keyID)
	})
	want("with the new one", "rsa", 700027)
	want("with the new one", "next", 0)
	c.Clock.Advance(time.Hour - time.Second)
	want("before its end", "next", 0)
	c.Clock.Advance(time.Second)
	want("at its end", "next", 700027)

	want("the elliptic one", "ec", 5002730)
	if number, _ := c.byCertificate(c.own("ec", "ES256", nil)); number != 0 {
		t.Errorf("the elliptic one: AADSTS%d", number)
	}
	c.Update(func(tx *store.Tx) error {
		return c.Directory.SetDisabled(tx, contoso, c.signerPrincipal.ObjectID, true)
	})
	if number, _ := c.byCertificate(c.own("ec", "ES256", nil)); number != 7000112 {
		t.Errorf("a disabled application: AADSTS%d, want 7000112", number)
	}
}

// TestCertificateNotYetValid: a key credential whose time has not come is none.
func TestCertificateNotYetValid(t *testing.T) {
	c := newCloud(t, options{})
	cert := c.newCertificate("stranger")
	c.Update(func(tx *store.Tx) error {
		_, err := c.Directory.AddCertificate(tx, contoso, c.signer.AppID, directoryCertificate(cert, c.Clock.Now().Add(time.Hour)))
		return err
	})
	c.certificates["next"] = cert
	if number, _ := c.byCertificate(c.own("next", "PS256", nil)); number != 700027 {
		t.Errorf("before: AADSTS%d, want 700027", number)
	}
	c.Clock.Advance(time.Hour)
	if number, _ := c.byCertificate(c.own("next", "PS256", nil)); number != 0 {
		t.Errorf("then: AADSTS%d", number)
	}
}

// FuzzCertificateAssertion: of all texts only what the certificate's key signed
// gets a token.
func FuzzCertificateAssertion(f *testing.F) {
	c := newCloud(f, options{})
	valid := c.certificateAssertion(f, "go")
	f.Add(valid)
	for _, name := range []string{
		"unregistered", "of-another-application", "foreign-chain", "foreign-key", "unsigned", "signature-cut-off", "hs256", "rs256-as-ps256",
		"es256-with-rsa", "altered", "unnamed", "no-thumbprint", "issued-by-another", "for-another", "audience-of-another-tenant", "of-many-days",
	} {
		f.Add(c.certificateAssertion(f, name))
	}
	parts := strings.Split(valid, ".")
	f.Add(parts[0] + "." + parts[1] + "." + parts[2] + "==")
	f.Add(parts[0] + "." + parts[1] + "." + strings.ToUpper(parts[2]))
	f.Fuzz(func(t *testing.T, assertion string) {
		number, _ := c.in(t).byCertificate(assertion)
		// Padding is not signed, and some clients send it.
		if number == 0 && strings.ReplaceAll(assertion, "=", "") != valid {
			t.Fatalf("%q got a token", assertion)
		}
	})
}
