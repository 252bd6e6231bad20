package imds_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/imds"
)

const (
	clientID   = "6e1ba9d3-9a9b-4d9c-8e2f-3f3f0a8c0b11"
	identityID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"
	tokenPath  = "/metadata/identity/oauth2/token"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// recorder is a source that keeps what it was asked.
type recorder struct {
	asked []imds.Request
	err   error
}

func (s *recorder) Token(_ context.Context, r imds.Request) (imds.Token, error) {
	s.asked = append(s.asked, r)
	if s.err != nil {
		return imds.Token{}, s.err
	}
	return imds.Token{AccessToken: "the.token", ClientID: clientID, NotBefore: now, Expires: now.Add(24 * time.Hour)}, nil
}

func handler(source imds.Source) *imds.Handler {
	return imds.New(imds.Config{Source: source, TenantID: "the-tenant", Now: func() time.Time { return now },
		Instance: &imds.Instance{Name: "vm", Location: "westeurope", Tags: map[string]string{"b": "2", "a": "1"}, PrivateIPv4: "10.0.0.4"}})
}

func get(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://169.254.169.254"+target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func body(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("body %q: %v", w.Body, err)
	}
	return v
}

func TestToken(t *testing.T) {
	source := &recorder{}
	w := get(handler(source), "GET", tokenPath+"?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net", "Metadata", "true")
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	want := map[string]any{
		"access_token": "the.token", "client_id": clientID, "expires_in": "86400", "ext_expires_in": "86400",
		"expires_on": "1772452800", "not_before": "1772366400", "resource": "https://vault.azure.net", "token_type": "Bearer",
	}
	if diff := cmp.Diff(want, body(t, w)); diff != "" {
		t.Error(diff)
	}
}

func TestSelectors(t *testing.T) {
	for query, want := range map[string]imds.Selector{
		"":                       {},
		"&client_id=" + clientID: {Kind: imds.ByClientID, Value: clientID},
		"&CLIENT_ID=" + clientID: {Kind: imds.ByClientID, Value: clientID},
		"&object_id=" + clientID: {Kind: imds.ByObjectID, Value: clientID},
		"&msi_res_id=" + strings.ReplaceAll(identityID, "/", "%2F"): {Kind: imds.ByResourceID, Value: identityID},
		"&mi_res_id=" + identityID:                                  {Kind: imds.ByResourceID, Value: identityID},
		"&msi-res-id=" + identityID:                                 {Kind: imds.ByResourceID, Value: identityID},
	} {
		source := &recorder{}
		w := get(handler(source), "GET", tokenPath+"?api%2Dversion=2018-02-01&resource=r"+query, "Metadata", "true")
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d: %s", query, w.Code, w.Body)
			continue
		}
		if got := source.asked[0].Selector; got != want {
			t.Errorf("%s: selector %+v, want %+v", query, got, want)
		}
	}
}

func TestTokenRefusals(t *testing.T) {
	const good = "?api-version=2018-02-01&resource=r"
	for name, test := range map[string]struct {
		method, target string
		header         []string
		status         int
		description    string
	}{
		"no header":                {"GET", tokenPath + good, nil, 400, "Required metadata header not specified"},
		"a probe without anything": {"GET", tokenPath, nil, 400, "Required metadata header not specified"},
		"header false":             {"GET", tokenPath + good, []string{"Metadata", "false"}, 400, "Required metadata header not specified"},
		"forwarded":                {"GET", tokenPath + good, []string{"Metadata", "true", "X-Forwarded-For", ""}, 400, "X-Forwarded-For"},
		"post":                     {"POST", tokenPath + good, []string{"Metadata", "true"}, 405, "GET requests only"},
		"no version":               {"GET", tokenPath + "?resource=r", []string{"Metadata", "true"}, 400, "'api-version' is missing"},
		"an old version":           {"GET", tokenPath + "?resource=r&api-version=2017-09-01", []string{"Metadata", "true"}, 400, "not supported"},
		"an odd version":           {"GET", tokenPath + "?resource=r&api-version=latest", []string{"Metadata", "true"}, 400, "not supported"},
		"no resource":              {"GET", tokenPath + "?api-version=2018-02-01", []string{"Metadata", "true"}, 400, "'resource' is missing"},
		"an empty resource":        {"GET", tokenPath + "?api-version=2018-02-01&resource=", []string{"Metadata", "true"}, 400, "'resource' is missing"},
		"two resources":            {"GET", tokenPath + good + "&resource=s", []string{"Metadata", "true"}, 400, "more than once"},
		"two spellings":            {"GET", tokenPath + good + "&client_id=" + clientID + "&Client_Id=" + clientID, []string{"Metadata", "true"}, 400, "more than once"},
		"two selectors":            {"GET", tokenPath + good + "&client_id=" + clientID + "&object_id=" + clientID, []string{"Metadata", "true"}, 400, "Only one of"},
		"two names of one":         {"GET", tokenPath + good + "&msi_res_id=" + identityID + "&mi_res_id=" + identityID, []string{"Metadata", "true"}, 400, "Only one of"},
		"an empty client":          {"GET", tokenPath + good + "&client_id=", []string{"Metadata", "true"}, 400, "not a GUID"},
		"a name as client":         {"GET", tokenPath + good + "&client_id=reader", []string{"Metadata", "true"}, 400, "not a GUID"},
		"no resource ID":           {"GET", tokenPath + good + "&msi_res_id=reader", []string{"Metadata", "true"}, 400, "not a resource ID"},
		"a bad escape":             {"GET", tokenPath + good + "&x=%zz", []string{"Metadata", "true"}, 400, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			source := &recorder{}
			w := get(handler(source), test.method, test.target, test.header...)
			if w.Code != test.status {
				t.Fatalf("status %d, want %d: %s", w.Code, test.status, w.Body)
			}
			got := body(t, w)
			if d, _ := got["error_description"].(string); !strings.Contains(d, test.description) || got["error"] != "invalid_request" {
				t.Errorf("answer %v, want a description with %q", got, test.description)
			}
			if len(source.asked) != 0 {
				t.Error("the source was asked")
			}
		})
	}
}

func TestSourceErrors(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		want   string
	}{
		"not found": {imds.ErrIdentityNotFound, 400, "Identity not found"},
		"several":   {imds.ErrSeveralIdentities, 400, "Multiple user assigned identities exist"},
		"resource":  {&azure.Error{Status: 400, Code: "invalid_resource", Message: "AADSTS500011: no"}, 400, "AADSTS500011"},
		"unknown":   {errors.New("disk on fire at /dev/sda"), 500, "the log of the service"},
	} {
		t.Run(name, func(t *testing.T) {
			w := get(handler(&recorder{err: test.err}), "GET", tokenPath+"?api-version=2018-02-01&resource=r", "Metadata", "true")
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) || strings.Contains(w.Body.String(), "/dev/sda") {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		})
	}
}

// TestPaths has paths that some routers would turn into one of the service's.
func TestPaths(t *testing.T) {
	for _, path := range []string{"/", "/metadata", "/metadata/identity", "/metadata/identity/oauth2", "/metadata/identity/oauth2/token/x",
		"/metadata//identity/oauth2/token", "/metadata/./identity/oauth2/token", "/metadata/instance/../identity/oauth2/token",
		"/metadata/identity%2Foauth2/token", "/latest/meta-data/", "/computeMetadata/v1/", "/metadata/scheduledevents"} {
		source := &recorder{}
		w := get(handler(source), "GET", path+"?api-version=2018-02-01&resource=r", "Metadata", "true")
		if w.Code != http.StatusNotFound || len(source.asked) != 0 {
			t.Errorf("%s: status %d, source asked %d times", path, w.Code, len(source.asked))
		}
	}
	if w := get(handler(&recorder{}), "GET", "/Metadata/Identity/OAuth2/Token/?api-version=2018-02-01&resource=r", "Metadata", "true"); w.Code != http.StatusOK {
		t.Errorf("another case and a trailing slash: status %d", w.Code)
	}
}

func TestInfoAndInstance(t *testing.T) {
	h := handler(&recorder{})
	for target, want := range map[string]string{
		"/metadata/identity/info?api-version=2018-02-01":                                                              `{"tenantId":"the-tenant"}`,
		"/metadata/instance/compute/location?api-version=2021-02-01&format=text":                                      "westeurope",
		"/metadata/instance/compute/tags?api-version=2021-02-01&format=text":                                          "a:1;b:2",
		"/metadata/instance/compute/tagsList/1/name?api-version=2021-02-01&format=text":                               "b",
		"/metadata/instance/network/interface/0/ipv4/ipAddress/0/privateIpAddress?api-version=2021-02-01&format=text": "10.0.0.4",
		"/metadata/instance?api-version=2021-02-01&format=text":                                                       "compute/\nnetwork/",
	} {
		w := get(h, "GET", target, "Metadata", "true")
		if w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("%s: %d %q, want %q", target, w.Code, w.Body, want)
		}
	}
	for target, status := range map[string]int{
		"/metadata/instance":                                                       400,
		"/metadata/instance?api-version=1999-01-01":                                400,
		"/metadata/instance/compute/location?api-version=2021-02-01":               400,
		"/metadata/instance/compute/nothing?api-version=2021-02-01":                404,
		"/metadata/instance/compute/tagsList/7?api-version=2021-02-01":             404,
		"/metadata/instance/compute/location/x?api-version=2021-02-01":             404,
		"/metadata/instance/compute?api-version=2021-02-01&api-version=2021-02-01": 400,
	} {
		if w := get(h, "GET", target, "Metadata", "true"); w.Code != status {
			t.Errorf("%s: %d, want %d: %s", target, w.Code, status, w.Body)
		}
	}
	if w := get(h, "GET", "/metadata/instance?api-version=2021-02-01"); w.Code != 400 || !strings.Contains(w.Body.String(), "Required metadata header not specified") {
		t.Errorf("without the header: %d %s", w.Code, w.Body)
	}
}

func TestLimits(t *testing.T) {
	clock := now
	h := imds.New(imds.Config{Source: &recorder{}, Now: func() time.Time { return clock }, Limits: imds.Limits{PerSecond: 2}})
	ask := func() int {
		return get(h, "GET", tokenPath+"?api-version=2018-02-01&resource=r", "Metadata", "true").Code
	}
	if got := []int{ask(), ask(), ask()}; !cmp.Equal(got, []int{200, 200, 429}) {
		t.Fatalf("statuses %v", got)
	}
	clock = clock.Add(time.Second)
	if got := ask(); got != 200 {
		t.Fatalf("in the next second: %d", got)
	}
}

func TestConcurrencyLimit(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := imds.New(imds.Config{Limits: imds.Limits{Concurrent: 1}, Source: imds.SourceFunc(func(context.Context, imds.Request) (imds.Token, error) {
		close(entered)
		<-leave
		return imds.Token{}, imds.ErrIdentityNotFound
	})})
	done := make(chan struct{})
	go func() {
		defer close(done)
		get(h, "GET", tokenPath+"?api-version=2018-02-01&resource=r", "Metadata", "true")
	}()
	<-entered
	w := get(h, "GET", tokenPath+"?api-version=2018-02-01&resource=r", "Metadata", "true")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("a second request at a time: %d", w.Code)
	}
	close(leave)
	<-done
}

func TestAppService(t *testing.T) {
	source := &recorder{}
	h := imds.NewAppService(imds.AppServiceConfig{Source: source, Secret: "of-the-run", DefaultSelector: imds.Selector{Kind: imds.ByClientID, Value: clientID}})
	const query = "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net"
	w := get(h, "GET", query, "X-IDENTITY-HEADER", "of-the-run")
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := map[string]any{"access_token": "the.token", "client_id": clientID, "expires_on": "1772452800",
		"not_before": "1772366400", "resource": "https://vault.azure.net", "token_type": "Bearer"}
	if diff := cmp.Diff(want, body(t, w)); diff != "" {
		t.Error(diff)
	}
	if got := source.asked[0].Selector; got.Value != clientID {
		t.Errorf("the default identity is %+v", got)
	}
	for _, test := range []struct {
		method, target, secret string
		status                 int
	}{
		{"GET", query, "", 401}, {"GET", query, "of-the-ruN", 401}, {"GET", query, "of-the-run2", 401},
		{"POST", query, "of-the-run", 405},
		{"GET", "/msi/token?resource=r", "of-the-run", 400},
		{"GET", "/msi/token?resource=r&api-version=2017-09-01", "of-the-run", 400},
		{"GET", "/msi/token?api-version=2019-08-01", "of-the-run", 400},
	} {
		if w := get(h, test.method, test.target, "X-IDENTITY-HEADER", test.secret); w.Code != test.status {
			t.Errorf("%s %s with %q: %d, want %d", test.method, test.target, test.secret, w.Code, test.status)
		}
	}
	if len(source.asked) != 1 {
		t.Errorf("the source was asked %d times", len(source.asked))
	}
}

// FuzzToken sends any query: the answer is JSON with a status of the protocol,
// and the source is asked for what the query says or not at all.
func FuzzToken(f *testing.F) {
	for _, q := range []string{"", "api-version=2018-02-01&resource=r", "api-version=2018-02-01&resource=r&client_id=" + clientID, "%zz", "a=%00&a=b", "api%2Dversion=2018-02-01;resource=r"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		source := &recorder{}
		r := httptest.NewRequest("GET", "http://169.254.169.254"+tokenPath, nil)
		r.URL.RawQuery = query
		r.Header.Set("Metadata", "true")
		w := httptest.NewRecorder()
		handler(source).ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 {
			t.Fatalf("status %d", w.Code)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("body %q", w.Body)
		}
		if len(source.asked) != 0 != (w.Code == 200) {
			t.Fatalf("status %d, source asked %d times", w.Code, len(source.asked))
		}
	})
}
