package tokenproxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// TestToken: what the API server is asked, what the token service is, and that its
// answer comes through.
func TestToken(t *testing.T) {
	p := start(t, nil)
	const correlation = "99999999-1111-2222-3333-444444444444"
	response, body := p.do(t, http.MethodPost, tokenPath, form("client_id", strings.ToUpper(clientID), "claims", `{"access_token":{}}`, "x-client-sku", "MSAL.Go").Encode(),
		"client-request-id", correlation)
	if response.StatusCode != http.StatusOK || body["access_token"] != "the.token" || body["expires_in"] != 3599.0 {
		t.Fatalf("%s %v", response.Status, body)
	}
	if h := response.Header; h.Get("X-Ms-Request-Id") != "r-1" || h.Get("Set-Cookie") != "" || h.Get("Cache-Control") != "no-store" || response.ProtoMajor != 2 {
		t.Errorf("%s %v", response.Proto, h)
	}
	questions := []map[string]any{
		{"token": podToken, "audiences": []any{DefaultAudience}},
		{
			"user": "system:serviceaccount:ns:app", "uid": "u-1", "groups": []any{"system:serviceaccounts", "system:serviceaccounts:ns"},
			"extra":              map[string]any{podNameExtra: []any{"app-0"}},
			"resourceAttributes": map[string]any{"verb": "use-managed-identity", "group": "cid.wi.aks.azure.com", "resource": clientID},
		},
	}
	if diff := cmp.Diff(questions, p.api.questions()); diff != "" {
		t.Errorf("the API server was asked (-want +got):\n%s", diff)
	}
	exchanged := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion": {ownToken}, "client_id": {clientID}, "scope": {"https://vault.azure.net/.default openid"}, "claims": {`{"access_token":{}}`},
	}
	if diff := cmp.Diff(exchanged, p.cloud.forms[0]); diff != "" {
		t.Errorf("the token service was asked (-want +got):\n%s", diff)
	}
	if p.cloud.urls[0] != "https://login.example"+tokenPath || p.cloud.header[0].Get("client-request-id") != correlation {
		t.Errorf("%v %v", p.cloud.urls, p.cloud.header)
	}
	for _, secret := range []string{podToken, ownToken, "the.token", "signature-of"} {
		if strings.Contains(p.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	// Each request is decided anew: a permission that was taken away is gone.
	p.api.set(func() { p.api.allowed = func(map[string]any) bool { return false } })
	if code, body := p.post(t, form()); code != http.StatusForbidden {
		t.Errorf("without the permission: %d %v", code, body)
	}
}

// TestQuery: the way of azure-workload-identity's example, at the root.
func TestQuery(t *testing.T) {
	p := start(t, nil)
	response, body := p.do(t, http.MethodPost, "/?"+form().Encode(), "")
	if response.StatusCode != http.StatusOK || body["access_token"] != "the.token" || p.cloud.urls[0] != "https://login.example"+tokenPath {
		t.Errorf("%s %v %v", response.Status, body, p.cloud.urls)
	}
	// MSAL for JavaScript says some things in both places, which mean nothing.
	f := form("client-request-id", otherID)
	response, body = p.do(t, http.MethodPost, tokenPath+"?client-request-id="+otherID, f.Encode())
	if response.StatusCode != http.StatusOK {
		t.Errorf("%s %v", response.Status, body)
	}
	if response, body = p.do(t, http.MethodPost, tokenPath+"?client_id="+otherID, form().Encode()); response.StatusCode != http.StatusBadRequest {
		t.Errorf("two client IDs: %s %v", response.Status, body)
	}
}

// TestRefusals: each mistake has its own error, and the token service never hears
// of it.
func TestRefusals(t *testing.T) {
	p := start(t, nil)
	user := func(token string, status map[string]any) string {
		p.api.set(func() { p.api.users[token] = status })
		return token
	}
	inPod := map[string]any{podNameExtra: []string{"app-0"}}
	other := serviceAccountUser(inPod)
	other["audiences"] = []string{"https://kubernetes.default.svc"}
	unaware := serviceAccountUser(inPod)
	delete(unaware, "audiences")
	person := serviceAccountUser(inPod)
	person["user"].(map[string]any)["username"] = "alice"
	for name, test := range map[string]struct {
		form   url.Values
		status int
		error  string
		text   string
		asked  int // questions to the API server
	}{
		"another audience":      {form("client_assertion", ownToken), 401, "invalid_client", "for the audience 'api://AzureADTokenExchange'; this token proxy takes those for 'api://AKSIdentityBinding'", 0},
		"no audience":           {form("client_assertion", jwt(nil, "x")), 401, "invalid_client", "audience ''", 0},
		"no token":              {form("client_assertion", "x"), 401, "invalid_client", "not a service account token", 0},
		"an empty token":        {form("client_assertion", "a..b"), 401, "invalid_client", "not a service account token", 0},
		"a forged token":        {form("client_assertion", forgedOne), 401, "invalid_client", "invalid bearer token", 1},
		"audience not checked":  {form("client_assertion", user(jwt(DefaultAudience, "unaware"), unaware)), 401, "invalid_client", "does not say that", 1},
		"audience of another":   {form("client_assertion", user(jwt(DefaultAudience, "other"), other)), 401, "invalid_client", "does not say that", 1},
		"not a service account": {form("client_assertion", user(jwt(DefaultAudience, "alice"), person)), 401, "invalid_client", "not a service account's", 1},
		"not of a pod":          {form("client_assertion", user(jwt(DefaultAudience, "unbound"), serviceAccountUser(nil))), 401, "invalid_client", "not bound to a pod", 1},
		"another identity":      {form("client_id", otherID), 403, "unauthorized_client", `{"apiGroups": ["cid.wi.aks.azure.com"], "resources": ["` + otherID + `"], "verbs": ["use-managed-identity"]}`, 2},
		"no identity":           {form("client_id", ""), 400, "invalid_request", "'client_id'", 0},
		"a name for one":        {form("client_id", "my-app"), 400, "invalid_request", "must be a GUID", 0},
		"any identity":          {form("client_id", "*"), 400, "invalid_request", "must be a GUID", 0},
		"no scope":              {form("scope", ""), 400, "invalid_request", "'scope'", 0},
		"no assertion":          {form("client_assertion", ""), 400, "invalid_request", "'client_assertion'", 0},
		"another grant":         {form("grant_type", "refresh_token"), 400, "unsupported_grant_type", "client_credentials", 0},
		"another assertion":     {form("client_assertion_type", "x"), 400, "invalid_request", "jwt-bearer", 0},
		"a secret":              {form("client_secret", "x"), 400, "invalid_request", "'client_secret' is not supported", 0},
		"on behalf":             {form("fmi_path", "x"), 400, "invalid_request", "'fmi_path' is not supported", 0},
		"another case":          {form("Scope", "x"), 400, "invalid_request", "'Scope' is not supported", 0},
		"two scopes":            {url.Values{"scope": {"a", "b"}}, 400, "invalid_request", "more than once", 0},
		"a long body":           {form("claims", strings.Repeat("x", 65<<10)), 413, "invalid_request", "64 KiB", 0},
	} {
		before := len(p.api.questions())
		code, body := p.post(t, test.form)
		text, _ := body["error_description"].(string)
		if code != test.status || body["error"] != test.error || !strings.Contains(text, test.text) {
			t.Errorf("%s: %d %v; want %d %s %q", name, code, body, test.status, test.error, test.text)
		}
		if n := len(p.api.questions()) - before; n != test.asked {
			t.Errorf("%s: the API server was asked %d times, not %d", name, n, test.asked)
		}
	}
	if n := p.cloud.asked(); n != 0 {
		t.Errorf("the token service was asked %d times", n)
	}
}

func TestRoutes(t *testing.T) {
	p := start(t, nil)
	for name, test := range map[string]struct {
		method, target, body string
		header               []string
		status               int
		error                string
	}{
		"another tenant":   {"POST", "/" + otherID + "/oauth2/v2.0/token", form().Encode(), nil, 400, "invalid_tenant"},
		"any tenant":       {"POST", "/common/oauth2/v2.0/token", form().Encode(), nil, 400, "invalid_tenant"},
		"a second tenant":  {"POST", "/Contoso.Example/oauth2/v2.0/token", form().Encode(), nil, 200, ""},
		"get":              {"GET", tokenPath, "", nil, 405, "invalid_request"},
		"the first kind":   {"POST", "/" + tenantID + "/oauth2/token", form().Encode(), nil, 404, "invalid_request"},
		"somewhere":        {"GET", "/metadata/identity/oauth2/token", "", nil, 404, "invalid_request"},
		"another form":     {"POST", tokenPath, `{}`, []string{"Content-Type", "application/json"}, 400, "invalid_request"},
		"a bad body":       {"POST", tokenPath, `%zz=1`, nil, 400, "invalid_request"},
		"a bad query":      {"POST", tokenPath + "?%zz=1", form().Encode(), nil, 400, "invalid_request"},
		"nothing":          {"POST", tokenPath, "", nil, 400, "invalid_request"},
		"foreign instance": {"GET", "/common/discovery/instance?authorization_endpoint=http://x/" + tenantID, "", nil, 400, "invalid_request"},
		"no instance":      {"GET", "/common/discovery/instance", "", nil, 400, "invalid_request"},
		"instance, tenant": {"GET", "/common/discovery/instance?authorization_endpoint=https://x/" + otherID + "/oauth2/v2.0/authorize", "", nil, 400, "invalid_tenant"},
		"documents":        {"GET", "/" + otherID + "/v2.0/.well-known/openid-configuration", "", nil, 400, "invalid_tenant"},
	} {
		response, body := p.do(t, test.method, test.target, test.body, test.header...)
		if got, _ := body["error"].(string); response.StatusCode != test.status || got != test.error {
			t.Errorf("%s: %s %v", name, response.Status, body)
		}
	}
}

// TestDiscovery: the documents name the authority that the client was configured
// with, so that it believes them.
func TestDiscovery(t *testing.T) {
	p := start(t, func(c *Config) { c.DNSNames = []string{"sni.example"} })
	_, body := p.do(t, http.MethodGet, "/common/discovery/instance?api-version=1.1&authorization_endpoint="+
		url.QueryEscape("https://login.cloud.example:8443/"+tenantID+"/oauth2/v2.0/authorize"), "", "Host", "login.microsoft.com")
	want := map[string]any{
		"tenant_discovery_endpoint": "https://login.cloud.example:8443/" + tenantID + "/v2.0/.well-known/openid-configuration", "api-version": "1.1",
		"metadata": []any{map[string]any{"preferred_network": "login.cloud.example:8443", "preferred_cache": "login.cloud.example:8443", "aliases": []any{"login.cloud.example:8443"}}},
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
	for host, authority := range map[string]string{
		"login.cloud.example:8443":         "login.cloud.example:8443",
		"login.microsoftonline.com":        "login.microsoftonline.com",
		"127.0.0.1:8443":                   "login.example",
		"[::1]":                            "login.example",
		"lanyard-token-proxy.ns.svc":       "login.example",
		"lanyard-token-proxy.ns.svc:8443":  "login.example",
		"SNI.example":                      "login.example",
		"localhost:1":                      "login.example",
		"evil.example%22%3E%3Cscript%3E.x": "login.example",
	} {
		_, body := p.do(t, http.MethodGet, "/"+strings.ToUpper(tenantID)+"/v2.0/.well-known/openid-configuration", "", "Host", host)
		if base := "https://" + authority + "/" + tenantID; body["issuer"] != base+"/v2.0" || body["token_endpoint"] != base+"/oauth2/v2.0/token" {
			t.Errorf("%s: %v", host, body)
		}
	}
	if len(p.api.questions()) != 0 || p.cloud.asked() != 0 {
		t.Error("somebody was asked")
	}
}

// TestTokenServiceRefuses: the token service's own refusal is what the client
// gets, and what is no answer of its is not.
func TestTokenServiceRefuses(t *testing.T) {
	p := start(t, nil)
	const refusal = `{"error":"invalid_client","error_description":"AADSTS700213: no match","error_codes":[700213]}`
	p.cloud.status, p.cloud.body = 401, refusal
	response, body := p.do(t, http.MethodPost, tokenPath, form().Encode())
	if response.StatusCode != 401 || body["error_description"] != "AADSTS700213: no match" || response.Header.Get("Retry-After") != "9" {
		t.Errorf("%s %v", response.Status, body)
	}
	for name, change := range map[string]func(){
		"a redirect":    func() { p.cloud.status = http.StatusFound },
		"no connection": func() { p.cloud.err = errors.New("no route") },
		"no API server": func() { p.cloud.err = nil; p.api.set(func() { p.api.fail = 500 }) },
	} {
		p.cloud.status, p.cloud.err = 401, nil
		p.api.set(func() { p.api.fail = 0 })
		change()
		response, body := p.do(t, http.MethodPost, tokenPath, form().Encode())
		if response.StatusCode != http.StatusServiceUnavailable || body["error"] != "temporarily_unavailable" || response.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s %v", name, response.Status, body)
		}
	}
	p.api.set(func() { p.api.fail = 0 })
	if code := p.ready(t); code != http.StatusOK {
		t.Errorf("/readyz: %d", code)
	}
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	if code, body := p.post(t, form()); code != http.StatusInternalServerError || strings.Contains(body["error_description"].(string), p.file) {
		t.Errorf("without an own token: %d %v", code, body)
	}
	if code := p.ready(t); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz without an own token: %d", code)
	}
	for result, n := range map[string]string{"refused": "1", "failed": "4", "issued": "0"} {
		if want := `lanyard_token_proxy_requests_total{result="` + result + `"} ` + n; !strings.Contains(p.text(t, "metrics", "/metrics"), want) {
			t.Errorf("no metric %s", want)
		}
	}
}

func (r *running) ready(t *testing.T) int {
	t.Helper()
	response, err := http.Get("http://" + r.Addr("health").String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func (r *running) text(t *testing.T, server, path string) string {
	t.Helper()
	response, err := http.Get("http://" + r.Addr(server).String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestLimits(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimits(func() time.Time { return now })
	through := func(remote string, n int) (admitted int) {
		for range n {
			if leave, refused := l.enter(remote); refused == nil {
				admitted++
				leave()
			} else if refused.Status != http.StatusTooManyRequests || refused.RetryAfter <= 0 {
				t.Errorf("%+v", refused)
			}
		}
		return admitted
	}
	if n := through("10.0.0.1:1", 2*burst); n != burst {
		t.Errorf("%d at once", n)
	}
	if n := through("10.0.0.2:1", 1); n != 1 {
		t.Error("another address is not let in")
	}
	now = now.Add(time.Second)
	if n := through("[::ffff:10.0.0.1]:7", burst); n != perSecond {
		t.Errorf("%d a second later", n)
	}
	// Addresses without end cost no memory without end.
	for i := range 2 * maxAddresses {
		through("[2001:db8::"+string("0123456789abcdef"[i%16])+":"+string("0123456789abcdef"[i/16%16])+string("0123456789abcdef"[i/256%16])+string("0123456789abcdef"[i/4096%16])+"]:1", 1)
	}
	if len(l.addresses) > maxAddresses {
		t.Errorf("%d addresses", len(l.addresses))
	}
	now = now.Add(time.Hour)
	through("10.0.0.3:1", 1)
	if len(l.addresses) != 1 {
		t.Errorf("%d addresses after an hour", len(l.addresses))
	}
	var held []func()
	for i := range maxOpen {
		leave, refused := l.enter(fmt.Sprintf("10.0.%d.1:1", 1+i/maxOpenEach))
		if refused != nil {
			t.Fatal(refused)
		}
		held = append(held, leave)
	}
	if n := through("10.0.1.1:1", 1); n != 0 {
		t.Error("one more at a time from one address")
	}
	if n := through("10.0.0.4:1", 1); n != 0 {
		t.Error("one more at a time")
	}
	held[0]()
	if n := through("10.0.0.4:1", 1); n != 1 {
		t.Error("there is room again, and nobody gets in")
	}
	for range maxDeciding {
		if _, refused := l.decide(); refused != nil {
			t.Fatal(refused)
		}
	}
	if _, refused := l.decide(); refused == nil || refused.Status != http.StatusTooManyRequests {
		t.Errorf("one more decision at a time: %+v", refused)
	}
}

// TestAuthorityIsPublished: in the ConfigMap, whose other data stay.
func TestAuthorityIsPublished(t *testing.T) {
	api := newAPIServer(t)
	dyn, err := dynamic.NewForConfig(&rest.Config{Host: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	client := dyn.Resource(configMaps).Namespace("ns")
	data := func() map[string]any {
		d, _ := api.configMap["data"].(map[string]any)
		return d
	}
	for _, bundle := range []string{"first", "first", "second"} {
		api.set(func() { api.conflicts = 2 })
		if err := publishAuthority(t.Context(), client, "ns", "x-ca", bundle); err != nil {
			t.Fatal(err)
		}
		api.set(func() {
			if data()["ca.crt"] != bundle {
				t.Errorf("got %v, want %q", data(), bundle)
			}
			if bundle == "second" && data()["other"] != "stays" {
				t.Error("other data are gone")
			}
			data()["other"] = "stays"
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no tenant":          {func(c *Config) { c.Tenants = nil }, "AZURE_TENANT_ID"},
		"any tenant":         {func(c *Config) { c.Tenants = []string{"Common"} }, `"Common"`},
		"an odd tenant":      {func(c *Config) { c.Tenants = []string{"a/b"} }, `"a/b"`},
		"Entra's audience":   {func(c *Config) { c.Audience = "API://AzureADTokenExchange" }, "--audience"},
		"no namespace":       {func(c *Config) { c.CertDir = "" }, "POD_NAMESPACE"},
		"no authority":       {func(c *Config) { c.AuthorityHost = "" }, "token service"},
		"in the clear":       {func(c *Config) { c.AuthorityHost = "http://x/" }, "https"},
		"no own token":       {func(c *Config) { c.TokenFile = "" }, "token file"},
		"no certificate":     {func(c *Config) { c.CertDir = "/none" }, "reading the certificate"},
		"an odd API address": {func(c *Config) { c.Kubernetes = &rest.Config{Host: "://"} }, "API server"},
	} {
		c := Config{
			Kubernetes: &rest.Config{Host: "http://127.0.0.1:1"}, Tenants: []string{tenantID}, AuthorityHost: "https://x/", TokenFile: "x",
			CertDir: "x", Addr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
		}
		test.change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzForm: whatever is sent, a request that passes has one of each, and a GUID.
func FuzzForm(f *testing.F) {
	f.Add(form().Encode())
	f.Add("client_id=a&client_id=b")
	f.Add("grant_type=client_credentials&x-client-sku=1&x-client-sku=2")
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		got, refused := parseForm(values)
		if refused != nil {
			return
		}
		if len(got.clientID) != 36 || got.clientID != strings.ToLower(got.clientID) || got.assertion == "" || len(values["client_id"]) != 1 || len(values["client_assertion"]) != 1 {
			t.Errorf("%q: %+v", raw, got)
		}
		checkAudience(got.assertion, DefaultAudience)
	})
}
