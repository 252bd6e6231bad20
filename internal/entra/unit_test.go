package entra

import (
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"pgregory.net/rapid"
)

func TestLifetimes(t *testing.T) {
	shortest, longest := int64(1<<62), int64(0)
	app := directory.Client{Application: &directory.Application{}}
	for range 10000 {
		l := lifetimeOf(app)
		if l.seconds < 3600 || l.seconds > 5400 || l.refresh != 0 {
			t.Fatalf("an application's token lasts %d s, to be refreshed after %d s", l.seconds, l.refresh)
		}
		shortest, longest = min(shortest, l.seconds), max(longest, l.seconds)
	}
	if shortest > 3700 || longest < 5300 {
		t.Errorf("lifetimes are between %d and %d s: not spread", shortest, longest)
	}
	if l := lifetimeOf(directory.Client{}); l != (lifetime{seconds: 86400, refresh: 43200}) {
		t.Errorf("a managed identity's token: %+v", l)
	}
}

func TestIsDomain(t *testing.T) {
	for s, want := range map[string]bool{
		"contoso.example": true, "a.b": true, "xn--bcher-kva.example": true, "1.2.3.4": true,
		"contoso": false, "contoso.": false, ".example": false, "a..b": false, "-a.b": false, "a-.b": false,
		"a.b-": false, "a_b.c": false, "bücher.example": false, "a b.c": false, "": false, ".": false,
	} {
		if got := isDomain(s); got != want {
			t.Errorf("isDomain(%q) is %v", s, got)
		}
	}
}

func TestIdentityResourceID(t *testing.T) {
	for id, want := range map[string]string{
		"/subscriptions/s/resourceGroups/RG/providers/P/t/n": "/subscriptions/s/resourcegroups/RG/providers/P/t/n",
		"/subscriptions/s/RESOURCEGROUPS/RG/providers/P/t/n": "/subscriptions/s/resourcegroups/RG/providers/P/t/n",
		"/subscriptions/s": "/subscriptions/s",
		"":                 "",
	} {
		if got := identityResourceID(id); got != want {
			t.Errorf("%s: got %s", id, got)
		}
	}
}

func TestIsAuthority(t *testing.T) {
	cloud := azure.Cloud{Domain: "lanyard.test", Port: 8443}
	h := &Handler{cloud: cloud, hosts: Hosts(cloud)}
	for issuer, want := range map[string]bool{
		cloud.IssuerV1("t"):                           true,
		cloud.IssuerV2("t"):                           true,
		"https://login.lanyard.test/t/v2.0":           true,
		"https://LOGIN.lanyard.test.:1/t/v2.0":        true,
		"https://sts.windows.net/t/":                  true,
		"https://login.microsoftonline.com/t/v2.0":    true,
		"http://login.microsoftonline.com/t/v2.0":     true,
		"https://a.login.microsoftonline.com/t":       true,
		"https://login.microsoftonline.us/t":          true,
		"https://oidc.lanyard.test:8443/t/c/":         false,
		"https://notlogin.microsoftonline.com/t":      false,
		"https://login.microsoftonline.com.evil/t":    false,
		"https://evil/login.microsoftonline.com":      false,
		"https://token.actions.githubusercontent.com": false,
		"kubernetes/serviceaccount":                   false,
		"https://%zz":                                 false,
		"":                                            false,
	} {
		if got := h.isAuthority(issuer); got != want {
			t.Errorf("isAuthority(%q) is %v", issuer, got)
		}
	}
}

func TestParseScope(t *testing.T) {
	for scope, want := range map[string]string{
		"https://management.azure.com/.default":                                   "https://management.azure.com",
		"https://management.azure.com//.default":                                  "https://management.azure.com/",
		"openid  profile api://a/.default offline_access email":                   "api://a",
		"api://a/.default/.default":                                               "api://a/.default",
		"797f4846-ba00-4fd7-ba43-dac1f8f63013/.default":                           "797f4846-ba00-4fd7-ba43-dac1f8f63013",
		"https://management.azure.com/.Default":                                   "",
		"https://management.azure.com/.default\thttps://vault.azure.net/.default": "",
		"/.default": "", ".default": "", "openid": "", " ": "",
		"api://a/.default api://a/.default": "",
		"api://a/.default api://a/read":     "",
		"api://ä/.default":                  "",
	} {
		got, e := parseScope(scope)
		if got != want || (e == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", scope, got, e)
		}
	}
}

func TestParseForm(t *testing.T) {
	f, e := parseForm("a=1&b=x+y%20z&&c=a%3Bb;c&d&=e&f=%C3%BC&")
	if e != nil {
		t.Fatal(e)
	}
	for name, want := range map[string]string{"a": "1", "b": "x y z", "c": "a;b;c", "d": "", "": "e", "f": "ü"} {
		if got, ok := f[name]; !ok || got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	for body, number := range map[string]int{
		"a=%": 9002313, "%zz=1": 9002313, "a=%ff": 9002313, "%ff=a": 9002313,
		"a=1&a=1": 9000411, "a=1&%61=2": 9000411, "a&a": 9000411,
	} {
		if _, e := parseForm(body); e == nil || e.Numbers[0] != number {
			t.Errorf("%q: got %v, want AADSTS%d", body, e, number)
		}
	}
}

// TestFaultTexts: every fault has its parts, and no number stands for two
// different answers.
func TestFaultTexts(t *testing.T) {
	seen := map[int]fault{}
	for _, f := range []fault{
		errMethod, errMalformed, errDuplicate, errMissing, errParameter, errGrantType,
		errTenantNotFound, errTenantName, errTenantMissing,
		errScopeSuffix, errScope, errScopeResources, errResourceParameter, errResource,
		errClientNotFound, errClientNoPrincipal, errClientDisabled, errCredentialMissing, errSecret, errSecretExpired,
		errAssertionMalformed, errAssertionType, errAssertionAlgorithm, errAssertionClaim, errAssertionTime, errAssertionSignature,
		errFederatedNone, errFederatedIssuer, errFederatedSubject, errFederatedSubjectCase, errFederatedAudience,
		errCertificateClient, errCertificateSubject, errCertificateAudience, errCertificateUnnamed, errCertificateAlgorithm,
		errFlexibleMismatch, errFlexibleDuplicate, errFlexibleExpression, errFlexibleEvaluation, errFlexibleClient,
		errFlexibleIssuer, errFlexibleClaims, errFederatedLifetime,
		errFederatedKey, errFederatedUnreachable, errFederatedOwnIssuer, errFederatedNotManaged, errFederatedExchange,
		errInstance, errInstanceRequest, errUnavailable, errInternal,
	} {
		if f.number == 0 || f.status < 400 || f.code == "" || f.reason == "" || f.text == "" {
			t.Errorf("incomplete: %+v", f)
		}
		if other, ok := seen[f.number]; ok {
			t.Errorf("AADSTS%d is both %q and %q", f.number, f.reason, other.reason)
		}
		seen[f.number] = f
	}
}

// TestMatchFederatedIsExact holds matchFederated against the rule it states:
// it gives a credential only where issuer, subject and the one audience are the
// same strings, and always where they are.
func TestMatchFederatedIsExact(t *testing.T) {
	// Strings that are easily taken for one another.
	text := rapid.SampledFrom([]string{"a", "A", "a ", " a", "a/", "a\u00a0", "ａ", "a\x00", "K", "\u212a", "k", ""})
	rapid.Check(t, func(t *rapid.T) {
		var client directory.Client
		for range rapid.IntRange(0, 4).Draw(t, "credentials") {
			client.FederatedCredentials = append(client.FederatedCredentials, directory.FederatedCredential{
				Issuer: text.Draw(t, "issuer"), Subject: text.Draw(t, "subject"), Audiences: []string{text.Draw(t, "audience")},
			})
		}
		issuer, subject := text.Draw(t, "iss"), text.Draw(t, "sub")
		audience := rapid.SliceOfN(text, 0, 2).Draw(t, "aud")
		want := false
		for _, c := range client.FederatedCredentials {
			want = want || c.Issuer == issuer && c.Subject == subject && subject != "" && len(audience) == 1 && audience[0] == c.Audiences[0]
		}
		c, e := matchFederated(client, issuer, subject, audience)
		if (e == nil) != want {
			t.Fatalf("got %v, want a match: %v", e, want)
		}
		if e == nil && (c.Issuer != issuer || c.Subject != subject || c.Audiences[0] != audience[0]) {
			t.Fatalf("matched %+v", c)
		}
	})
}

func TestParseClaims(t *testing.T) {
	for claims, want := range map[string]string{
		"":                                 "",
		"{}":                               "",
		`{"access_token":null}`:            "",
		`{"access_token":{"xms_cc":null}}`: "",
		`{"access_token":{"xms_cc":{}}}`:   "",
		`{"id_token":{"xms_cc":{"values":["CP1"]}}}`:                                                   "",
		`{"access_token":{"xms_cc":{"values":["llt"]}}}`:                                               "",
		`{"access_token":{"xms_cc":{"values":["CP1"]}}}`:                                               "CP1",
		`{"access_token":{"xms_cc":{"values":["cp1"]}}}`:                                               "CP1",
		`{"access_token":{"xms_cc":{"value":"cp1"}}}`:                                                  "CP1",
		`{"access_token":{"xms_cc":{"essential":true,"values":["llt","CP1","CP1"]}}}`:                  "CP1",
		`{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["CP1"]}},"x":null}`: "CP1",
	} {
		known, e := parseClaims(claims)
		if e != nil || strings.Join(known, " ") != want {
			t.Errorf("%s: %q, %v", claims, known, e)
		}
	}
	for _, claims := range []string{
		"null", "[]", "1", "CP1", "{", `{"access_token":"CP1"}`, `{"access_token":["CP1"]}`, `{"access_token":{"xms_cc":"CP1"}}`,
		`{"access_token":{"xms_cc":["CP1"]}}`, `{"access_token":{"xms_cc":{"values":"CP1"}}}`, `{"access_token":{"xms_cc":{"values":[1]}}}`,
		`{"access_token":{"xms_cc":{"value":1}}}`, `{} {}`,
	} {
		if known, e := parseClaims(claims); e == nil || e.Numbers[0] != 90100 || known != nil {
			t.Errorf("%s: %q, %v", claims, known, e)
		}
	}
}

// TestFlexibleCredentialMatchesNoSubject: an expression in place of a subject is
// not a subject.
func TestFlexibleCredentialMatchesNoSubject(t *testing.T) {
	client := directory.Client{FederatedCredentials: []directory.FederatedCredential{{
		Issuer: "i", Audiences: []string{"a"},
		ClaimsMatchingExpression: &directory.ClaimsMatchingExpression{Value: "claims['sub'] matches '*'", LanguageVersion: 1},
	}}}
	for _, subject := range []string{"", "s"} {
		if _, e := matchFederated(client, "i", subject, []string{"a"}); e == nil || e.Numbers[0] != 700213 {
			t.Errorf("subject %q: %v", subject, e)
		}
	}
}

func TestTimestamp(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 622340100, time.FixedZone("", 3600))
	if got, want := timestamp7(at), "2026-03-01T11:00:00.6223401Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := timestamp7(time.Time{}), "0001-01-01T00:00:00.0000000Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
