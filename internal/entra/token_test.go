package entra_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/entra"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestNewRefusesIncompleteConfig(t *testing.T) {
	if _, err := entra.New(entra.Config{}); err == nil {
		t.Error("no error without a directory")
	}
	c := newCloud(t, options{})
	cfg := entra.Config{
		Directory: c.Directory, Keys: c.Keys, Issuers: token.NewIssuers(token.IssuersConfig{}), Audit: c.Audit,
		Fresh: c.Store.Fresh,
	}
	if _, err := entra.New(cfg); err == nil {
		t.Error("no error without a domain")
	}
	cfg.Cloud = c.Azure
	if _, err := entra.New(cfg); err != nil {
		t.Errorf("with what is required: %v", err)
	}
	cfg.Registerer = c.registry
	if _, err := entra.New(cfg); err == nil {
		t.Error("no error where the metrics are registered already")
	}
}

// TestDeletionEndsTokensAtOnce: what is deleted gives no token in the next
// request.
func TestDeletionEndsTokensAtOnce(t *testing.T) {
	c := newCloud(t, options{})
	assertion := c.assertion(t, "valid")
	if number, raw := c.federated(assertion); number != 0 || raw == "" {
		t.Fatalf("before: AADSTS%d", number)
	}
	c.Update(func(tx *store.Tx) error {
		_, err := c.Directory.DeleteFederatedCredential(tx, contoso, c.mi.ObjectID, "shop-orders")
		return err
	})
	if number, _ := c.federated(assertion); number != 70025 {
		t.Errorf("without the credential: AADSTS%d, want 70025", number)
	}
	c.credential(c.mi.ObjectID, "shop-orders", c.issuer.URL, subject)
	if number, _ := c.federated(assertion); number != 0 {
		t.Errorf("with the credential again: AADSTS%d", number)
	}
	c.Update(func(tx *store.Tx) error { return c.Directory.DeletePrincipal(tx, contoso, c.mi.ObjectID) })
	if number, _ := c.federated(assertion); number != 700016 {
		t.Errorf("without the identity: AADSTS%d, want 700016", number)
	}

	if number, _ := c.bySecret(c.appSecret); number != 0 {
		t.Fatalf("before: AADSTS%d", number)
	}
	c.Update(func(tx *store.Tx) error { return c.Directory.SetDisabled(tx, contoso, c.appPrincipal.ObjectID, true) })
	if number, _ := c.bySecret(c.appSecret); number != 7000112 {
		t.Errorf("disabled: AADSTS%d, want 7000112", number)
	}
	c.Update(func(tx *store.Tx) error { return c.Directory.DeletePrincipal(tx, contoso, c.appPrincipal.ObjectID) })
	if number, _ := c.bySecret(c.appSecret); number != 700016 {
		t.Errorf("without the application: AADSTS%d, want 700016", number)
	}
}

// TestDeletedIdentityVouchesForNobody: a token that a managed identity got
// before it was deleted is no assertion any more.
func TestDeletedIdentityVouchesForNobody(t *testing.T) {
	c := newCloud(t, options{})
	assertion := c.assertion(t, "identity")
	post := func() int {
		number, _ := c.as(c.app.AppID, url.Values{
			"client_assertion":      {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		})
		return number
	}
	if number := post(); number != 0 {
		t.Fatalf("before: AADSTS%d", number)
	}
	c.Clock.Advance(25 * time.Hour)
	if number := post(); number != 700024 {
		t.Errorf("a day later: AADSTS%d, want 700024", number)
	}
	c.Clock.Advance(-25 * time.Hour)
	c.Update(func(tx *store.Tx) error { return c.Directory.SetDisabled(tx, contoso, c.mi.ObjectID, true) })
	if number := post(); number != 700226 {
		t.Errorf("with the identity disabled: AADSTS%d, want 700226", number)
	}
	c.Update(func(tx *store.Tx) error { return c.Directory.DeletePrincipal(tx, contoso, c.mi.ObjectID) })
	if number := post(); number != 700226 {
		t.Errorf("after the identity's deletion: AADSTS%d, want 700226", number)
	}
}

// TestIdentityVouchesByItsExchangeTokenAlone: a token for another resource is no
// assertion, even where a credential names that resource as its audience.
func TestIdentityVouchesByItsExchangeTokenAlone(t *testing.T) {
	c := newCloud(t, options{})
	trusting, _ := c.Application(contoso, "trusts-for-orders")
	c.credential(trusting.ObjectID, "for-orders", c.Azure.IssuerV2(contoso), c.mi.ObjectID, c.api.AppID)
	_, raw := c.as(c.mi.AppID, url.Values{
		"scope":                 {"api://orders/.default"},
		"client_assertion":      {c.assertion(t, "valid")},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
	number, _ := c.as(trusting.AppID, url.Values{
		"client_assertion":      {raw},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
	if number != 700214 {
		t.Errorf("AADSTS%d, want 700214", number)
	}
}

// TestOnlyManagedIdentitiesVouch: an application's token for the token exchange
// is no assertion, even where a credential names the application.
func TestOnlyManagedIdentitiesVouch(t *testing.T) {
	c := newCloud(t, options{})
	trusting, _ := c.Application(contoso, "trusts-an-application")
	c.credential(trusting.ObjectID, "application", c.Azure.IssuerV2(contoso), c.appPrincipal.ObjectID)
	number, _ := c.as(trusting.AppID, url.Values{
		"client_assertion":      {c.assertion(t, "application")},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
	if number != 700226 {
		t.Errorf("AADSTS%d, want 700226", number)
	}
}

func TestSecretExpires(t *testing.T) {
	c := newCloud(t, options{})
	c.Clock.Advance(2*365*24*time.Hour - time.Hour)
	if number, _ := c.bySecret(c.appSecret); number != 0 {
		t.Errorf("in its last days: AADSTS%d", number)
	}
	c.Clock.Advance(3 * 24 * time.Hour)
	if number, _ := c.bySecret(c.appSecret); number != 7000222 {
		t.Errorf("after its end: AADSTS%d, want 7000222", number)
	}
}

// TestAssertionTimes: five minutes of grace at both ends, to the second.
func TestAssertionTimes(t *testing.T) {
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
		{"without nbf, issued beyond the grace", map[string]any{"nbf": nil, "iat": at(6 * time.Minute)}, 700024},
		{"without nbf", map[string]any{"nbf": nil}, 0},
		{"without iat", map[string]any{"iat": nil}, 70023},
		{"with neither", map[string]any{"nbf": nil, "iat": nil}, 70023},
		{"lives as long as it may", map[string]any{"iat": at(-time.Hour), "exp": at(24 * time.Hour)}, 0},
		{"lives longer", map[string]any{"iat": at(-time.Hour), "exp": at(24*time.Hour + time.Second)}, 70023},
		{"ends never", map[string]any{"exp": 1e300}, 50027},
		{"ends before 1970", map[string]any{"exp": -1}, 50027},
		{"a date as text", map[string]any{"exp": "tomorrow"}, 50027},
	} {
		if number, _ := c.federated(c.issuer.token(now, test.changes)); number != test.want {
			t.Errorf("%s: AADSTS%d, want %d", test.name, number, test.want)
		}
	}
}

// TestIssuerIsAskedOnlyWhereTrusted: nobody makes the service fetch from an
// address that no credential of the client names, nor for another subject or
// audience.
func TestIssuerIsAskedOnlyWhereTrusted(t *testing.T) {
	c := newCloud(t, options{})
	for _, name := range []string{
		"not-a-jwt", "unsigned", "hs256", "es256", "typ", "no-iss", "no-sub", "no-aud", "no-exp",
		"issuer-unknown", "issuer-slash", "subject-other", "subject-case", "subject-space",
		"audience-other", "audience-two", "microsoft", "self-issued",
	} {
		if number, _ := c.federated(c.assertion(t, name)); number == 0 {
			t.Errorf("%s got a token", name)
		}
	}
	if n := c.issuer.fetches.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
	if number, _ := c.federated(c.assertion(t, "key-forged")); number != 700027 {
		t.Errorf("key-forged: AADSTS%d, want 700027", number)
	}
	if n := c.issuer.fetches.Load(); n == 0 {
		t.Error("the issuer was not asked for its keys")
	}
}

// TestSameSubjectOfAnotherCluster: clusters have service accounts of the same
// names.
func TestSameSubjectOfAnotherCluster(t *testing.T) {
	c := newCloud(t, options{})
	other := newIssuer(t)
	other.key, other.keyID = testKeys()[1], "other-key"
	now := c.Clock.Now()
	if number, _ := c.federated(other.token(now, nil)); number != 700211 {
		t.Errorf("the other cluster's token: AADSTS%d, want 700211", number)
	}
	// It says that it is the trusted cluster, by its own key and under either key ID.
	if number, _ := c.federated(other.token(now, map[string]any{"iss": c.issuer.URL})); number != 7000272 {
		t.Errorf("with the trusted issuer's name: AADSTS%d, want 7000272", number)
	}
	other.keyID = c.issuer.keyID
	if number, _ := c.federated(other.token(now, map[string]any{"iss": c.issuer.URL})); number != 700027 {
		t.Errorf("with the trusted issuer's name and key ID: AADSTS%d, want 700027", number)
	}
	if n := other.fetches.Load(); n != 0 {
		t.Errorf("the other cluster was asked %d times", n)
	}
}

// TestAssertionIsBoundToItsClient: an assertion proves the identity whose
// credential it matches, and no other.
func TestAssertionIsBoundToItsClient(t *testing.T) {
	c := newCloud(t, options{})
	second := c.identity(contoso, "id-payments")
	c.credential(second.ObjectID, "payments", c.issuer.URL, "system:serviceaccount:shop:payments")
	form := url.Values{
		"client_assertion":      {c.assertion(t, "valid")},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
	if number, _ := c.as(second.AppID, form); number != 700213 {
		t.Errorf("as the other identity: AADSTS%d, want 700213", number)
	}
	number, raw := c.as(c.mi.AppID, form)
	if number != 0 {
		t.Fatalf("as the identity: AADSTS%d", number)
	}
	if claims := claimsOf(t, raw); claims["oid"] != c.mi.ObjectID || claims["sub"] != c.mi.ObjectID || claims["appid"] != c.mi.AppID {
		t.Errorf("the token is of %v", claims)
	}
}

// TestSecretsOfTheQueryStringAreNotRead: they would end up in logs.
func TestSecretsOfTheQueryStringAreNotRead(t *testing.T) {
	c := newCloud(t, options{})
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.app.AppID}, "client_secret": {c.appSecret},
		"scope": {management + "/.default"},
	}
	status, answer := c.post("/"+contoso+"/oauth2/v2.0/token?"+form.Encode(), nil)
	if status != http.StatusBadRequest || !strings.HasPrefix(answer["error_description"].(string), "AADSTS900144: ") {
		t.Errorf("%d %v", status, answer)
	}
}

func TestBodyIsBounded(t *testing.T) {
	c := newCloud(t, options{})
	status, answer := c.post("/"+contoso+"/oauth2/v2.0/token", url.Values{"client_secret": {strings.Repeat("x", 64<<10)}})
	if status != http.StatusRequestEntityTooLarge || answer["error"] != "invalid_request" {
		t.Errorf("%d %v", status, answer)
	}
	// What is repeated of it is short.
	_, answer = c.post("/"+contoso+"/oauth2/v2.0/token", url.Values{"grant_type": {strings.Repeat("ü", 10<<10)}})
	if n := len(answer["error_description"].(string)); n > 2<<10 {
		t.Errorf("the description has %d bytes", n)
	}
}

// TestNothingIsToldThatIsNotRecorded: with an audit log that refuses, there is
// neither a token nor a verdict on a credential.
func TestNothingIsToldThatIsNotRecorded(t *testing.T) {
	c := newCloud(t, options{})
	cloudtest.Must(t, c.Audit.Close())
	for name, secret := range map[string]string{"right": c.appSecret, "wrong": "wrong", "expired": c.expiredSecret} {
		status, answer := c.post("/"+contoso+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c.app.AppID}, "client_secret": {secret},
			"scope": {management + "/.default"},
		})
		if status != http.StatusServiceUnavailable || answer["access_token"] != nil || answer["error"] != "temporarily_unavailable" {
			t.Errorf("%s secret: %d %v", name, status, answer)
		}
	}
}

// TestNothingLeaks: neither logs nor audit records hold a secret, an assertion,
// a token, or a part of one.
func TestNothingLeaks(t *testing.T) {
	c := newCloud(t, options{})
	secrets := []string{c.appSecret, c.expiredSecret, c.disabledSecret, c.foreignSecret, "hunter2-hunter2"}
	var tokens []string
	for _, secret := range secrets {
		_, raw := c.bySecret(secret)
		tokens = append(tokens, raw)
		// Pasted into the wrong parameter.
		for _, name := range []string{"client_id", "grant_type", "scope", "claims", "client_assertion", "client_assertion_type", "resource"} {
			form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.app.AppID}, "scope": {management + "/.default"}}
			form.Set(name, secret)
			c.post("/"+contoso+"/oauth2/v2.0/token", form)
			c.post("/"+contoso+"/oauth2/token", form)
		}
		for _, name := range []string{"subject_token", "subject_token_type", "requested_subject"} {
			form := url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "scope": {management + "/.default"},
				"subject_token": {tokens[0]}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
				"requested_subject": {c.mi.AppID},
			}
			form.Set(name, secret)
			c.post("/"+contoso+"/oauth2/v2.0/token", form)
		}
		c.post("/"+secret+"/oauth2/v2.0/token", nil)
	}
	for _, name := range []string{
		"valid", "not-a-jwt", "unsigned", "hs256", "es256", "typ", "no-iss", "issuer-unknown", "subject-other",
		"audience-other", "key-unknown", "key-forged", "expired", "microsoft", "identity", "application",
	} {
		assertion := c.assertion(t, name)
		_, raw := c.federated(assertion)
		tokens = append(tokens, assertion, raw)
		_, raw = c.as(c.app.AppID, url.Values{
			"client_assertion":      {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		})
		tokens = append(tokens, raw)
	}
	for _, raw := range tokens {
		for part := range strings.SplitSeq(raw, ".") {
			if len(part) > 20 {
				secrets = append(secrets, part)
			}
		}
	}
	logs, records := c.Log.String(), c.AuditText()
	if !strings.Contains(logs, "AADSTS7000215") || !strings.Contains(records, "AADSTS7000215") {
		t.Error("nothing was logged")
	}
	for _, secret := range secrets {
		if strings.Contains(logs, secret) {
			t.Errorf("the log holds %q", secret)
		}
		if strings.Contains(records, secret) {
			t.Errorf("the audit log holds %q", secret)
		}
	}
}

func TestMetrics(t *testing.T) {
	c := newCloud(t, options{})
	c.bySecret(c.appSecret)
	c.bySecret("wrong")
	c.bySecret("wrong")
	c.federated(c.assertion(t, "valid"))
	c.post("/"+contoso+"/oauth2/v2.0/token", url.Values{"grant_type": {"anything"}})
	got := map[string]float64{}
	families, err := c.registry.Gather()
	cloudtest.Must(t, err)
	for _, family := range families {
		for _, m := range family.Metric {
			labels := []string{family.GetName()}
			for _, l := range m.Label {
				labels = append(labels, l.GetValue())
			}
			got[strings.Join(labels, " ")] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"lanyard_tokens_total secret client_credentials issued":     1,
		"lanyard_tokens_total secret client_credentials 7000215":    2,
		"lanyard_tokens_total federated client_credentials issued":  1,
		"lanyard_tokens_total none other 70003":                     1,
		"lanyard_token_request_duration_seconds client_credentials": 4,
		"lanyard_token_request_duration_seconds other":              1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// TestIdentifiers: the client's identifier of the request comes back in every
// place, one that is no GUID in none.
func TestIdentifiers(t *testing.T) {
	c := newCloud(t, options{})
	const id = "9e1b2f4c-6a52-4b5e-8f64-0a7c1d1f3b22"
	for _, test := range []struct {
		name, header, query, body string
		ask                       bool
		want                      bool
	}{
		{name: "header", header: id, ask: true, want: true},
		{name: "query", query: "?client-request-id=" + id, ask: true, want: true},
		{name: "body", body: "grant_type=x&client-request-id=" + id, ask: true, want: true},
		{name: "not asked back", header: id, want: true},
		{name: "no GUID", header: "x\" onload=", ask: true},
		{name: "none", ask: true},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost,
			"https://login.lanyard.test:8443/"+contoso+"/oauth2/token"+test.query, strings.NewReader(test.body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if test.header != "" {
			r.Header.Set("client-request-id", test.header)
		}
		if test.ask {
			r.Header.Set("return-client-request-id", "true")
		}
		a := c.send(r)
		if got := strings.Contains(a.Body, `"correlation_id":"`+id+`"`); got != test.want {
			t.Errorf("%s: in the answer: %v, want %v: %s", test.name, got, test.want, a.Body)
		}
		if got := a.Header.Get("client-request-id") == id; got != (test.want && test.ask) {
			t.Errorf("%s: in the header: %v", test.name, got)
		}
		if !test.want && (a.Header.Get("client-request-id") != "" || strings.Contains(a.Body, "onload")) {
			t.Errorf("%s: what is no GUID came back: %v %s", test.name, a.Header, a.Body)
		}
		if trace := a.Header.Get("x-ms-request-id"); len(trace) != len(id) || !strings.Contains(a.Body, trace) {
			t.Errorf("%s: trace identifier %q", test.name, trace)
		}
	}
}

// TestStrictSaysNoMore: a strict service says what Entra says.
func TestStrictSaysNoMore(t *testing.T) {
	for _, strict := range []bool{false, true} {
		c := newCloud(t, options{strict: strict, noIssuerAllow: true})
		_, answer := c.post("/"+contoso+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c.mi.AppID}, "scope": {management + "/.default"},
			"client_assertion":      {c.assertion(t, "valid")},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		})
		text := answer["error_description"].(string)
		if strings.Contains(text, "--issuer-allow") == strict {
			t.Errorf("strict %v: %s", strict, text)
		}
		if strings.Contains(text, "dial") || strings.Contains(text, "refused") {
			t.Errorf("the client is told of the network: %s", text)
		}
	}
}

func TestHosts(t *testing.T) {
	got := strings.Join(entra.Hosts(azure.Cloud{Domain: "lanyard.test", Port: 443,
		Aliases: []string{"Login.MicrosoftOnline.com", "*.vault.azure.net", "management.azure.com", "sts.windows.net"}}), " ")
	if want := "login.lanyard.test sts.lanyard.test login.microsoftonline.com sts.windows.net"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// An application without a service principal is registered and nobody: its
// secret is good again when it has one.
func TestClientWithoutServicePrincipal(t *testing.T) {
	c := newCloud(t, options{})
	c.Update(func(tx *store.Tx) error {
		return c.Directory.DeleteServicePrincipal(tx, contoso, c.appPrincipal.ObjectID)
	})
	status, answer := c.post("/"+contoso+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.app.AppID}, "client_secret": {c.appSecret}, "scope": {management + "/.default"},
	})
	want := "AADSTS7000229: The client application " + c.app.AppID + " is missing service principal in the tenant " + contoso + ". "
	if status != 401 || answer["error"] != "invalid_client" || !strings.HasPrefix(answer["error_description"].(string), want) {
		t.Errorf("got %d %v, want 401 %s", status, answer, want)
	}
	c.Update(func(tx *store.Tx) error {
		_, err := c.Directory.CreateServicePrincipal(tx, contoso, c.app.AppID)
		return err
	})
	if number, _ := c.bySecret(c.appSecret); number != 0 {
		t.Errorf("with a service principal again: AADSTS%d", number)
	}
}
