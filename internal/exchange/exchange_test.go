package exchange_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/exchange"
)

const (
	tenantID = "2f0b4a5e-1d5d-4f3a-9f59-0a8f6c2b7e22"
	clientID = "6e1ba9d3-9a9b-4d9c-8e2f-3f3f0a8c0b11"
)

var request = exchange.Request{Tenant: tenantID, ClientID: clientID, Scope: "https://vault.azure.net/.default"}

// endpoint answers in memory, in turn; the last answer stays.
type endpoint struct {
	answers []func(*http.Request) (*http.Response, error)
	forms   []map[string][]string
	urls    []string
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	e.forms, e.urls = append(e.forms, r.PostForm), append(e.urls, r.URL.String())
	answer := e.answers[min(len(e.forms), len(e.answers))-1]
	return answer(r)
}

func says(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		w.WriteString(body)
		return w.Result(), nil
	}
}

func fails(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

const good = `{"token_type":"Bearer","expires_in":3599,"access_token":"the.token"}`

func tokenFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func newClient(t *testing.T, e *endpoint, attempts int) (*exchange.Client, string) {
	t.Helper()
	file := tokenFile(t, "first.assertion\n")
	c, err := exchange.New(exchange.Config{Authority: "https://login.example/", TokenFile: file, Attempts: attempts, Transport: e})
	if err != nil {
		t.Fatal(err)
	}
	return c, file
}

// TestRequest: the one request there is, with the file's content of the moment.
func TestRequest(t *testing.T) {
	e := &endpoint{answers: []func(*http.Request) (*http.Response, error){says(200, good)}}
	c, file := newClient(t, e, 1)
	answer, err := c.Do(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	token, err := answer.Token()
	if err != nil || token.AccessToken != "the.token" || token.Expires.Sub(token.Received) != 3599*time.Second {
		t.Errorf("%+v, %v", token, err)
	}
	if err := os.WriteFile(file, []byte("second.assertion"), 0o600); err != nil {
		t.Fatal(err)
	}
	more := request
	more.Claims, more.ClientInfo = `{"access_token":{}}`, "1"
	if _, err := c.Do(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	first := map[string][]string{
		"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_id": {clientID}, "scope": {"https://vault.azure.net/.default"}, "client_assertion": {"first.assertion"},
	}
	if diff := cmp.Diff(first, e.forms[0]); diff != "" {
		t.Error(diff)
	}
	if got := e.forms[1]; got["client_assertion"][0] != "second.assertion" || got["claims"] == nil || got["client_info"] == nil {
		t.Errorf("the second request: %v", got)
	}
	if want := "https://login.example/" + tenantID + "/oauth2/v2.0/token"; e.urls[0] != want {
		t.Errorf("asked %s, want %s", e.urls[0], want)
	}
}

// TestRetries: what may pass is asked again, for as long as is bearable; a
// refusal is not.
func TestRetries(t *testing.T) {
	refused := says(401, `{"error":"invalid_client","error_description":"AADSTS700213: no","error_codes":[700213]}`)
	for name, test := range map[string]struct {
		answers []func(*http.Request) (*http.Response, error)
		asked   int
		status  int // 0: an error
		atLeast time.Duration
	}{
		"good at once":              {[]func(*http.Request) (*http.Response, error){says(200, good)}, 1, 200, 0},
		"a refusal":                 {[]func(*http.Request) (*http.Response, error){refused, says(200, good)}, 1, 401, 0},
		"out of order for a moment": {[]func(*http.Request) (*http.Response, error){says(503, ""), says(200, good)}, 2, 200, 0},
		"no connection once":        {[]func(*http.Request) (*http.Response, error){fails(errors.New("refused")), says(200, good)}, 2, 200, 0},
		"no connection at all":      {[]func(*http.Request) (*http.Response, error){fails(errors.New("refused"))}, 3, 0, 0},
		"throttled, for 3 seconds":  {[]func(*http.Request) (*http.Response, error){says(429, "", "Retry-After", "3"), says(200, good)}, 2, 200, 3 * time.Second},
		"throttled, for a minute":   {[]func(*http.Request) (*http.Response, error){says(429, "", "Retry-After", "60"), says(200, good)}, 1, 429, 0},
		"throttled for good":        {[]func(*http.Request) (*http.Response, error){says(429, "")}, 3, 429, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{answers: test.answers}
			c, _ := newClient(t, e, 3)
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				answer, err := c.Do(t.Context(), request)
				status := 0
				if answer != nil {
					status = answer.Status
				}
				if len(e.forms) != test.asked || status != test.status || (err != nil) != (test.status == 0) {
					t.Errorf("asked %d times, status %d, error %v", len(e.forms), status, err)
				}
				if took := time.Since(start); took < test.atLeast || took > 15*time.Second {
					t.Errorf("took %s", took)
				}
			})
		})
	}
	t.Run("given up on", func(t *testing.T) {
		e := &endpoint{answers: []func(*http.Request) (*http.Response, error){says(503, "")}}
		c, _ := newClient(t, e, 100)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if answer, err := c.Do(ctx, request); err == nil && answer.Status != 503 {
			t.Errorf("%+v, %v", answer, err)
		}
	})
}

func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		want   *azure.Error
		text   string
	}{
		"a string for a number": {answer: says(200, `{"expires_in":"3599","access_token":"x"}`)},
		"Entra's refusal": {
			answer: says(400, `{"error":"unauthorized_client","error_description":"AADSTS700016: no","error_codes":[700016]}`),
			want:   &azure.Error{Status: 400, Code: "unauthorized_client", Message: "AADSTS700016: no", Numbers: []int{700016}},
		},
		"throttled": {
			answer: says(429, `{"error":"too_many_requests","error_description":"slowly"}`, "Retry-After", "17"),
			want:   &azure.Error{Status: 429, Code: "too_many_requests", Message: "slowly", RetryAfter: 17 * time.Second},
		},
		"a gateway": {
			answer: says(502, "<html>"),
			want:   &azure.Error{Status: 502, Code: "server_error", Message: "login.example answered 502 Bad Gateway without an error document."},
		},
		"a redirect": {
			answer: says(302, "", "Location", "https://elsewhere.example/"),
			want:   &azure.Error{Status: 302, Code: "server_error", Message: "login.example answered 302 Found without an error document."},
		},
		"no JSON":      {answer: says(200, `secret.token`), text: "no token document"},
		"no token":     {answer: says(200, `{"expires_in":1}`), text: "without an access token"},
		"no end":       {answer: says(200, `{"access_token":"secret.token"}`), text: "how long"},
		"a past end":   {answer: says(200, `{"access_token":"secret.token","expires_in":-1}`), text: "how long"},
		"a nought":     {answer: says(200, `{"access_token":"secret.token","expires_in":0}`), text: "how long"},
		"an odd end":   {answer: says(200, `{"access_token":"secret.token","expires_in":{}}`), text: "how long"},
		"a long token": {answer: says(200, strings.Repeat("x", 2<<20)), text: "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{answers: []func(*http.Request) (*http.Response, error){test.answer}}
			c, _ := newClient(t, e, 1)
			answer, err := c.Do(t.Context(), request)
			if err == nil {
				_, err = answer.Token()
			}
			if test.want != nil {
				got, ok := errors.AsType[*azure.Error](err)
				if !ok || cmp.Diff(test.want, got) != "" {
					t.Errorf("got %#v", err)
				}
				return
			}
			if (err != nil) != (test.text != "") || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %q", err, test.text)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
	t.Run("a very long life", func(t *testing.T) {
		e := &endpoint{answers: []func(*http.Request) (*http.Response, error){says(200, `{"access_token":"x","expires_in":9000000000000000000}`)}}
		c, _ := newClient(t, e, 1)
		answer, err := c.Do(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := answer.Token(); err != nil || token.Expires.Sub(token.Received) > 8*24*time.Hour {
			t.Errorf("%v, %v", token.Expires, err)
		}
	})
}

func TestTokenFile(t *testing.T) {
	for name, file := range map[string]string{
		"none": filepath.Join(t.TempDir(), "none"), "empty": tokenFile(t, " \n"), "long": tokenFile(t, strings.Repeat("x", 65<<10)),
	} {
		c, err := exchange.New(exchange.Config{Authority: "https://login.example", TokenFile: file, Attempts: 3, Transport: &endpoint{}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(t.Context(), request)
		for _, err := range []error{err, c.CheckTokenFile()} {
			if _, ok := errors.AsType[*exchange.TokenFileError](err); !ok || !strings.Contains(err.Error(), file) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  exchange.Config
		want string
	}{
		"no file":        {exchange.Config{Authority: "https://x"}, "no token file"},
		"no authority":   {exchange.Config{TokenFile: "f"}, "not an https URL"},
		"in the clear":   {exchange.Config{TokenFile: "f", Authority: "http://x"}, "not an https URL"},
		"a query":        {exchange.Config{TokenFile: "f", Authority: "https://x?a=b"}, "more than a host"},
		"a user":         {exchange.Config{TokenFile: "f", Authority: "https://a:b@x"}, "more than a host"},
		"a bad proxy":    {exchange.Config{TokenFile: "f", Authority: "https://x", TokenProxy: &exchange.TokenProxy{URL: "http://x"}}, "not an https URL"},
		"a bad CA":       {exchange.Config{TokenFile: "f", Authority: "https://x", TokenProxy: &exchange.TokenProxy{URL: "https://x", CAData: "x"}}, "no certificate in PEM"},
		"no CA file":     {exchange.Config{TokenFile: "f", Authority: "https://x", TokenProxy: &exchange.TokenProxy{URL: "https://x", CAFile: "/none"}}, "no such file"},
		"two transports": {exchange.Config{TokenFile: "f", Transport: &endpoint{}, TokenProxy: &exchange.TokenProxy{URL: "https://x"}}, "own transport"},
	} {
		if _, err := exchange.New(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	c, _ := newClient(t, &endpoint{}, 1)
	for _, tenant := range []string{"", "..", "a/b", "a?b", "a b", ".a"} {
		if _, err := c.Do(t.Context(), exchange.Request{Tenant: tenant}); err == nil {
			t.Errorf("tenant %q was taken", tenant)
		}
	}
}

func TestScope(t *testing.T) {
	for resource, want := range map[string]string{
		"https://vault.azure.net":          "https://vault.azure.net/.default",
		"https://vault.azure.net/":         "https://vault.azure.net//.default",
		"https://vault.azure.net/.default": "https://vault.azure.net/.default",
		"api://x":                          "api://x/.default",
	} {
		if got := exchange.Scope(resource); got != want {
			t.Errorf("%s: %s, want %s", resource, got, want)
		}
	}
}

func TestTokenProxyFrom(t *testing.T) {
	for name, test := range map[string]struct {
		vars map[string]string
		want *exchange.TokenProxy
		err  string
	}{
		"none":        {},
		"only a name": {vars: map[string]string{"AZURE_KUBERNETES_SNI_NAME": "x"}, err: "TOKEN_PROXY is not set"},
		"all": {
			vars: map[string]string{"AZURE_KUBERNETES_TOKEN_PROXY": "https://x", "AZURE_KUBERNETES_SNI_NAME": "y", "AZURE_KUBERNETES_CA_FILE": "z"},
			want: &exchange.TokenProxy{URL: "https://x", SNIName: "y", CAFile: "z"},
		},
		"two authorities": {
			vars: map[string]string{"AZURE_KUBERNETES_TOKEN_PROXY": "https://x", "AZURE_KUBERNETES_CA_DATA": "y", "AZURE_KUBERNETES_CA_FILE": "z"},
			err:  "only one of",
		},
	} {
		got, err := exchange.TokenProxyFrom(func(name string) string { return test.vars[name] })
		if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) || cmp.Diff(test.want, got) != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestTokenProxy: the proxy is asked in the authority's place, by its own name
// and authority, and a new authority counts from the next request.
func TestTokenProxy(t *testing.T) {
	var asked []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.TLS.ServerName+" "+r.URL.Path)
		fmt.Fprint(w, good)
	}))
	server.StartTLS()
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := exchange.New(exchange.Config{
		Authority: "https://login.example/", TokenFile: tokenFile(t, "assertion"),
		TokenProxy: &exchange.TokenProxy{URL: server.URL + "/base", SNIName: "example.com", CAFile: caFile},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if want := "example.com /base/" + tenantID + "/oauth2/v2.0/token"; len(asked) != 1 || asked[0] != want {
		t.Errorf("asked %v, want %s", asked, want)
	}
	for content, fine := range map[string]bool{"": true, "x": false} {
		if err := os.WriteFile(caFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do(t.Context(), request); (err == nil) != fine {
			t.Errorf("authority %q: %v", content, err)
		}
	}
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), request); err != nil {
		t.Error(err)
	}
}
