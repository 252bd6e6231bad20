package sidecar

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

const (
	tenantID = "2f0b4a5e-1d5d-4f3a-9f59-0a8f6c2b7e22"
	clientID = "6e1ba9d3-9a9b-4d9c-8e2f-3f3f0a8c0b11"
	otherID  = "00000000-1111-2222-3333-444444444444"
	objectID = "99999999-1111-2222-3333-444444444444"
	identity = "/subscriptions/" + otherID + "/resourcegroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"

	theAssertion = "service.account.token"
)

// entra is a token service that knows one identity.
type entra struct {
	mu     sync.Mutex
	forms  []url.Values
	status int    // 200 when 0
	body   string // of another status
	header http.Header
	claims string
}

func (e *entra) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forms = append(e.forms, form)
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, ProtoMajor: 1, ProtoMinor: 1}
	text := fmt.Sprintf(`{"token_type":"Bearer","expires_in":3599,"access_token":%q}`, e.token())
	if e.status != 0 {
		answer.StatusCode, text = e.status, e.body
		for name, values := range e.header {
			answer.Header[name] = values
		}
	}
	answer.Body = io.NopCloser(strings.NewReader(text))
	return answer, nil
}

func (e *entra) token() string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(e.claims)) + ".secret-signature"
}

func (e *entra) answer(status int, body string, header http.Header) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status, e.body, e.header = status, body, header
}

func (e *entra) asked() []url.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.forms
}

type running struct {
	*Proxy
	entra *entra
	log   *bytes.Buffer // to be read after the stop
	file  string
	stop  func()
}

func start(t *testing.T, change func(*Config)) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(theAssertion), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &running{
		entra: &entra{claims: fmt.Sprintf(`{"oid":%q,"xms_mirid":%q,"nbf":1772366400}`, objectID, identity)},
		log:   new(bytes.Buffer), file: file,
	}
	c := Config{
		TenantID: tenantID, ClientID: clientID, AuthorityHost: "https://login.example/", TokenFile: file,
		Transport: r.entra, Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.Proxy = p
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

const tokenPath = "/metadata/identity/oauth2/token?api-version=2018-02-01"

func (r *running) get(t *testing.T, target string, header ...string) (int, map[string]any, http.Header) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+r.Addr().String()+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Errorf("%s: no JSON: %v", target, err)
	}
	return response.StatusCode, body, response.Header
}

// TestToken: what a client of IMDS asks, what is asked for it, and what it gets.
func TestToken(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	p := start(t, nil)
	code, body, _ := p.get(t, tokenPath+"&resource=https%3A%2F%2Fvault.azure.net%2F", "Metadata", "true")
	if code != http.StatusOK {
		t.Fatalf("%d %v", code, body)
	}
	for _, name := range []string{"expires_in", "ext_expires_in", "expires_on"} {
		if s, ok := body[name].(string); !ok || s == "" {
			t.Errorf("%s is %v", name, body[name])
		}
		delete(body, name)
	}
	want := map[string]any{
		"access_token": p.entra.token(), "client_id": clientID, "not_before": "1772366400",
		"resource": "https://vault.azure.net/", "token_type": "Bearer",
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
	form := p.entra.asked()[0]
	if form.Get("client_id") != clientID || form.Get("scope") != "https://vault.azure.net//.default" || form.Get("client_assertion") != theAssertion {
		t.Errorf("asked %v", form)
	}
	// Again, in the case and with the slash that IMDS does not mind: from memory.
	if code, _, _ := p.get(t, strings.Replace(tokenPath, "metadata", "MetaData", 1)+"&resource=https://vault.azure.net/&client_id="+strings.ToUpper(clientID), "Metadata", "true"); code != http.StatusOK {
		t.Error(code)
	}
	if n := len(p.entra.asked()); n != 1 {
		t.Errorf("asked %d times", n)
	}
	// Another identity is another token.
	if _, body, _ := p.get(t, tokenPath+"&resource=https://vault.azure.net/&client_id="+otherID, "Metadata", "true"); body["client_id"] != otherID {
		t.Errorf("%v", body)
	}
	if forms := p.entra.asked(); len(forms) != 2 || forms[1].Get("client_id") != otherID {
		t.Errorf("asked %v", forms)
	}
	p.stop()
	for _, secret := range []string{theAssertion, "secret-signature"} {
		if strings.Contains(p.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// TestSelectors: an object or resource ID gives the pod's own identity or a
// refusal that says why, never another identity's token.
func TestSelectors(t *testing.T) {
	p := start(t, nil)
	for query, want := range map[string]string{
		"&object_id=" + objectID:                                   "",
		"&principal_id=" + strings.ToUpper(objectID):               "",
		"&msi_res_id=" + identity:                                  "",
		"&mi_res_id=" + strings.Replace(identity, "/id", "/ID", 1): "",
		"&object_id=" + otherID:                                    "its object_id is '" + objectID + "'",
		"&msi_res_id=" + identity + "2":                            "its msi_res_id is '" + identity + "'",
		"&object_id=x":                                             "not a GUID",
		"&msi_res_id=x":                                            "not a resource ID",
		"&client_id=" + clientID + "&object_id=" + objectID:        "Only one of",
		"&object_id=" + objectID + "&object_id=" + otherID:         "more than once",
		"&client_id=":                                              "not a GUID",
	} {
		code, body, _ := p.get(t, tokenPath+"&resource=r"+query, "Metadata", "true")
		if want == "" {
			if code != http.StatusOK || body["client_id"] != clientID {
				t.Errorf("%s: %d %v", query, code, body)
			}
			continue
		}
		if text, _ := body["error_description"].(string); code != http.StatusBadRequest || body["error"] != "invalid_request" || !strings.Contains(text, want) {
			t.Errorf("%s: %d %v, want %q", query, code, body, want)
		}
	}
	t.Run("a token that does not say", func(t *testing.T) {
		p := start(t, nil)
		p.entra.claims = `{}`
		if code, body, _ := p.get(t, tokenPath+"&resource=r&object_id="+objectID, "Metadata", "true"); code != http.StatusBadRequest {
			t.Errorf("%d %v", code, body)
		}
	})
	t.Run("no identity of its own", func(t *testing.T) {
		p := start(t, func(c *Config) { c.ClientID = "" })
		code, body, _ := p.get(t, tokenPath+"&resource=r", "Metadata", "true")
		if text, _ := body["error_description"].(string); code != http.StatusBadRequest || !strings.Contains(text, "azure.workload.identity/client-id") {
			t.Errorf("%d %v", code, body)
		}
		if code, body, _ := p.get(t, tokenPath+"&resource=r&client_id="+otherID, "Metadata", "true"); code != http.StatusOK {
			t.Errorf("%d %v", code, body)
		}
	})
	t.Run("an odd identity", func(t *testing.T) {
		p := start(t, func(c *Config) { c.ClientID = "my-identity" })
		code, body, _ := p.get(t, tokenPath+"&resource=r", "Metadata", "true")
		if text, _ := body["error_description"].(string); code != http.StatusBadRequest || !strings.Contains(text, "no GUID") {
			t.Errorf("%d %v", code, body)
		}
	})
}

// TestRefusals: IMDS's own checks hold, and what is not served is not passed on.
func TestRefusals(t *testing.T) {
	p := start(t, nil)
	for name, test := range map[string]struct {
		target string
		header []string
		status int
		error  string
	}{
		"no header":        {tokenPath + "&resource=r", nil, 400, "invalid_request"},
		"forwarded":        {tokenPath + "&resource=r", []string{"Metadata", "true", "X-Forwarded-For", "1.2.3.4"}, 400, "invalid_request"},
		"no resource":      {tokenPath, []string{"Metadata", "true"}, 400, "invalid_request"},
		"no version":       {"/metadata/identity/oauth2/token?resource=r", []string{"Metadata", "true"}, 400, "invalid_request"},
		"the machine":      {"/metadata/instance?api-version=2021-02-01", []string{"Metadata", "true"}, 404, "Not found"},
		"its tenant":       {"/metadata/identity/info?api-version=2018-02-01", []string{"Metadata", "true"}, 404, "Not found"},
		"a way around":     {"/metadata/x/../identity/oauth2/token?api-version=2018-02-01&resource=r", []string{"Metadata", "true"}, 404, "Not found"},
		"wireserver's way": {"/machine?comp=goalstate", nil, 404, "Not found"},
	} {
		if code, body, _ := p.get(t, test.target, test.header...); code != test.status || body["error"] != test.error {
			t.Errorf("%s: %d %v", name, code, body)
		}
	}
	if n := len(p.entra.asked()); n != 0 {
		t.Errorf("the token service was asked %d times", n)
	}
}

// TestTokenServiceRefuses: Entra's errors, in IMDS's form and statuses.
func TestTokenServiceRefuses(t *testing.T) {
	p := start(t, nil)
	for name, test := range map[string]struct {
		status     int
		body       string
		header     http.Header
		want       int
		error      string
		text       string
		retryAfter string
	}{
		"no federated credential": {401, `{"error":"invalid_client","error_description":"AADSTS700213: no match"}`, nil, 400, "invalid_client", "AADSTS700213", ""},
		"no such identity":        {400, `{"error":"unauthorized_client","error_description":"AADSTS700016: none"}`, nil, 400, "unauthorized_client", "AADSTS700016", ""},
		"no such resource":        {400, `{"error":"invalid_resource","error_description":"AADSTS500011: none"}`, nil, 400, "invalid_resource", "AADSTS500011", ""},
		"no resource at all":      {400, `{"error":"invalid_scope","error_description":"AADSTS70011: scope"}`, nil, 400, "invalid_resource", "AADSTS70011", ""},
		"throttled":               {429, `{"error":"too_many_requests","error_description":"slowly"}`, http.Header{"Retry-After": {"60"}}, 429, "too_many_requests", "slowly", "60"},
		"down":                    {503, ``, http.Header{"Retry-After": {"7"}}, 503, "temporarily_unavailable", "503", "7"},
		"a captive portal":        {302, ``, nil, 503, "temporarily_unavailable", "302", ""},
	} {
		p.entra.answer(test.status, test.body, test.header)
		code, body, header := p.get(t, tokenPath+"&resource="+url.QueryEscape(name), "Metadata", "true")
		text, _ := body["error_description"].(string)
		if code != test.want || body["error"] != test.error || !strings.Contains(text, test.text) || header.Get("Retry-After") != test.retryAfter {
			t.Errorf("%s: %d %v %v", name, code, body, header)
		}
	}
	p.entra.answer(0, "", nil)
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	code, body, _ := p.get(t, tokenPath+"&resource=r", "Metadata", "true")
	if text, _ := body["error_description"].(string); code != http.StatusInternalServerError || !strings.Contains(text, p.file) {
		t.Errorf("no token file: %d %v", code, body)
	}
}

// TestProbe: a probe waits for a proxy that starts late, and says why one is not
// ready.
func TestProbe(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	probed := make(chan error, 1)
	go func() { probed <- Probe(t.Context(), port) }()
	p := start(t, func(c *Config) { c.Port = port })
	if err := <-probed; err != nil {
		t.Error(err)
	}
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // time for one answer on a busy machine
	defer cancel()
	if err := Probe(ctx, port); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a token: %v", err)
	}
	p.stop()
	ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := Probe(ctx, port); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestConfigFrom(t *testing.T) {
	vars := map[string]string{
		"AZURE_TENANT_ID": tenantID, "AZURE_CLIENT_ID": clientID, "AZURE_AUTHORITY_HOST": "https://login.example/",
		"AZURE_FEDERATED_TOKEN_FILE": "/token", "AZURE_KUBERNETES_TOKEN_PROXY": "https://proxy.example",
	}
	getenv := func(name string) string { return vars[name] }
	c, err := ConfigFrom(getenv)
	if err != nil || c.TenantID != tenantID || c.ClientID != clientID || c.AuthorityHost != "https://login.example/" || c.TokenFile != "/token" ||
		c.TokenProxy == nil || c.TokenProxy.URL != "https://proxy.example" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST", "AZURE_FEDERATED_TOKEN_FILE"} {
		had := vars[name]
		vars[name] = ""
		if _, err := ConfigFrom(getenv); err == nil || !strings.Contains(err.Error(), name+" is not set") {
			t.Errorf("without %s: %v", name, err)
		}
		vars[name] = had
	}
	for name, change := range map[string]func(*Config){
		"tenant":    func(c *Config) { c.TenantID = "a/b" },
		"authority": func(c *Config) { c.AuthorityHost = "http://login.example/" },
		"port":      func(c *Config) { c.Port = 70000 },
	} {
		c := Config{TenantID: tenantID, AuthorityHost: "https://login.example/", TokenFile: "x", Log: slog.New(slog.DiscardHandler)}
		change(&c)
		if p, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
			p.listener.Close()
		}
	}
}

// TestLateTokenService: a request that nobody waits for any more is no error of
// the proxy's, and the answer is there for the next.
func TestLateTokenService(t *testing.T) {
	arrived, answer := make(chan struct{}, 1), make(chan struct{})
	p := start(t, func(c *Config) {
		inner := c.Transport
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			arrived <- struct{}{}
			<-answer
			return inner.RoundTrip(r)
		})
	})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-arrived
		leave()
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addr().String()+tokenPath+"&resource=r", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Metadata", "true")
	if response, err := http.DefaultClient.Do(request); !errors.Is(err, context.Canceled) {
		response.Body.Close()
		t.Errorf("got %v", err)
	}
	close(answer)
	if code, body, _ := p.get(t, tokenPath+"&resource=r", "Metadata", "true"); code != http.StatusOK {
		t.Errorf("%d %v", code, body)
	}
	if n := len(p.entra.asked()); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
