package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/lanyard-id/lanyard/internal/azure"
)

const guid = "11111111-2222-3333-4444-555555555555"

// newFront gives a front before one handler, which serves every plane, and what
// it logs.
func newFront(t *testing.T, h http.HandlerFunc) (*front, *bytes.Buffer) {
	t.Helper()
	var logs bytes.Buffer
	log := slog.New(requestHandler{slog.NewJSONHandler(&logs, nil)})
	return &front{
		router:  newRouter(azure.Cloud{Domain: "d.test", Port: 8443}),
		planes:  map[plane]http.Handler{planeEntra: h, planeARM: h, planeKeyVault: h, planeSelf: h},
		metrics: newHTTPMetrics(prometheus.NewRegistry()), log: log, maxBody: 64,
	}, &logs
}

// value reads a counter or gauge.
func value(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

func ask(f *front, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Result()
}

func TestIdentifiers(t *testing.T) {
	var seen azure.Request
	f, _ := newFront(t, func(_ http.ResponseWriter, r *http.Request) { seen = azure.RequestFrom(r.Context()) })
	for _, tt := range []struct {
		name   string
		header map[string]string
		keeps  bool
		echoes map[string]string
	}{
		{name: "none"},
		{name: "ARM's", header: map[string]string{"x-ms-correlation-request-id": guid}, keeps: true},
		{name: "Entra's", header: map[string]string{"client-request-id": guid}, keeps: true},
		{name: "an SDK's", header: map[string]string{"x-ms-client-request-id": guid}, keeps: true},
		{name: "no GUID", header: map[string]string{"x-ms-correlation-request-id": "mine"}},
		{name: "too long", header: map[string]string{"x-ms-correlation-request-id": guid + guid}},
		{name: "URN", header: map[string]string{"client-request-id": "urn:uuid:" + guid}},
		{name: "with line ends", header: map[string]string{"client-request-id": "a\r\nb"}},
		{
			name: "echo", keeps: true,
			header: map[string]string{"x-ms-client-request-id": guid, "x-ms-return-client-request-id": "true"},
			echoes: map[string]string{"x-ms-client-request-id": guid},
		},
		{
			name: "echo for Entra", keeps: true,
			header: map[string]string{"client-request-id": guid, "return-client-request-id": "True"},
			echoes: map[string]string{"client-request-id": guid},
		},
		{
			name:   "no echo of what is no GUID",
			header: map[string]string{"x-ms-client-request-id": "<script>", "x-ms-return-client-request-id": "true"},
			echoes: map[string]string{"x-ms-client-request-id": ""},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "https://management.d.test/", nil)
			for k, v := range tt.header {
				r.Header.Set(k, v)
			}
			resp := ask(f, r)
			if (seen.CorrelationID == guid) != tt.keeps || !azure.IsGUID(seen.CorrelationID) || !azure.IsGUID(seen.RequestID) {
				t.Errorf("identifiers %+v, want the client's kept: %v", seen, tt.keeps)
			}
			if got := resp.Header.Get("x-ms-request-id"); got != seen.RequestID {
				t.Errorf("x-ms-request-id %q, the plane saw %q", got, seen.RequestID)
			}
			if got := resp.Header.Get("x-ms-correlation-request-id"); got != seen.CorrelationID {
				t.Errorf("x-ms-correlation-request-id %q, the plane saw %q", got, seen.CorrelationID)
			}
			for k, want := range tt.echoes {
				if got := resp.Header.Get(k); got != want {
					t.Errorf("%s = %q, want %q", k, got, want)
				}
			}
			if resp.Header.Get("Strict-Transport-Security") == "" {
				t.Error("no HSTS")
			}
		})
	}
}

// errorOf reads the two forms of error.
func errorOf(t *testing.T, resp *http.Response) (code, message string) {
	t.Helper()
	var doc struct {
		Error       json.RawMessage
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	var oauth string
	if json.Unmarshal(doc.Error, &oauth) == nil {
		return oauth, doc.Description
	}
	var e struct{ Code, Message string }
	if err := json.Unmarshal(doc.Error, &e); err != nil {
		t.Fatalf("error %s: %v", doc.Error, err)
	}
	return e.Code, e.Message
}

func TestPanic(t *testing.T) {
	f, logs := newFront(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			_, _ = io.WriteString(w, "half an ans")
		}
		panic("a secret-looking detail")
	})
	for host, want := range map[string]string{"management.d.test": "InternalServerError", "login.d.test": "server_error"} {
		logs.Reset()
		r := httptest.NewRequest(http.MethodGet, "https://"+host+"/", nil)
		r.Header.Set("client-request-id", guid)
		resp := ask(f, r)
		code, message := errorOf(t, resp)
		if resp.StatusCode != http.StatusInternalServerError || code != want || !strings.Contains(message, guid) || strings.Contains(message, "detail") {
			t.Errorf("%s: %d %s %q", host, resp.StatusCode, code, message)
		}
		if n := strings.Count(logs.String(), "a secret-looking detail"); n != 1 || !strings.Contains(logs.String(), guid) {
			t.Errorf("%s: the panic was logged %d times:\n%s", host, n, logs)
		}
	}
	// An answer that has begun is cut, so that nobody takes it for whole.
	func() {
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("after half an answer the front panicked with %v, want http.ErrAbortHandler", err)
			}
		}()
		ask(f, httptest.NewRequest(http.MethodGet, "https://management.d.test/begun", nil))
	}()
	if n := value(t, f.metrics.requests.WithLabelValues("arm", "GET", "500")); n != 2 {
		t.Errorf("%v requests were counted as 500 on the plane, want 2", n)
	}
	if n := value(t, f.metrics.inFlight.WithLabelValues("arm")); n != 0 {
		t.Errorf("%v requests are still in flight", n)
	}
}

func TestBodyLimit(t *testing.T) {
	var read int
	var readErr error
	f, _ := newFront(t, func(_ http.ResponseWriter, r *http.Request) {
		var b []byte
		b, readErr = io.ReadAll(r.Body)
		read = len(b)
	})
	resp := ask(f, httptest.NewRequest(http.MethodPost, "https://management.d.test/", strings.NewReader(strings.Repeat("x", 65))))
	if code, _ := errorOf(t, resp); resp.StatusCode != http.StatusRequestEntityTooLarge || code != "RequestEntityTooLarge" {
		t.Errorf("a body over the limit: %d %s", resp.StatusCode, code)
	}
	ask(f, httptest.NewRequest(http.MethodPost, "https://management.d.test/", strings.NewReader(strings.Repeat("x", 64))))
	if read != 64 || readErr != nil {
		t.Errorf("a body at the limit: %d bytes, %v", read, readErr)
	}
	// A length that is not announced is counted while it is read.
	r := httptest.NewRequest(http.MethodPost, "https://management.d.test/", io.MultiReader(strings.NewReader(strings.Repeat("x", 100))))
	r.ContentLength = -1
	ask(f, r)
	if readErr == nil || read > 64 {
		t.Errorf("a body of unknown length: %d bytes, %v", read, readErr)
	}
}

func TestMisdirected(t *testing.T) {
	f, _ := newFront(t, func(http.ResponseWriter, *http.Request) { t.Error("a plane was asked") })
	for _, host := range []string{"evil.example", "oidc.d.test", "x.azurecr.d.test:8443", "login.microsoftonline.com"} {
		resp := ask(f, httptest.NewRequest(http.MethodGet, "https://"+host+"/", nil))
		code, message := errorOf(t, resp)
		if resp.StatusCode != http.StatusMisdirectedRequest || code != "MisdirectedRequest" || message == "" {
			t.Errorf("%s: %d %s %q", host, resp.StatusCode, code, message)
		}
	}
}

// TestAccessLogHoldsNoSecrets: queries, headers and bodies never reach the log,
// and a long path is cut.
func TestAccessLogHoldsNoSecrets(t *testing.T) {
	f, logs := newFront(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	r := httptest.NewRequest(http.MethodPost, "https://login.d.test/tenant/oauth2/v2.0/token?client_secret=hush1",
		strings.NewReader("client_secret=hush2"))
	r.Header.Set("Authorization", "Bearer hush3")
	r.Header.Set("client-request-id", guid)
	ask(f, r)
	line := logs.String()
	if strings.Contains(line, "hush") {
		t.Errorf("the log holds a secret: %s", line)
	}
	for _, want := range []string{`"path":"/tenant/oauth2/v2.0/token"`, `"plane":"entra"`, `"status":200`, `"correlationId":"` + guid, `"bytes":19`} {
		if !strings.Contains(line, want) {
			t.Errorf("the log lacks %s: %s", want, line)
		}
	}
	logs.Reset()
	ask(f, httptest.NewRequest(http.MethodGet, "https://management.d.test/"+strings.Repeat("a", 5000), nil))
	if logs.Len() > 2000 {
		t.Errorf("a long path made a log line of %d bytes", logs.Len())
	}
}

func TestHealth(t *testing.T) {
	stale := error(nil)
	h := &health{fresh: func() error { return stale }}
	handler := h.selfHandler(localOnly(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })))
	status := func(method, path, remote string) int {
		t.Helper()
		r := httptest.NewRequest(method, "https://d.test"+path, nil)
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	const here, there = "127.0.0.1:5", "192.0.2.7:5"
	check := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	check("healthz before the start", status("GET", "/healthz", there), 200)
	check("readyz before the start", status("GET", "/readyz", there), 503)
	h.started.Store(true)
	check("readyz", status("GET", "/readyz", there), 200)
	stale = http.ErrServerClosed
	check("readyz with stale views", status("GET", "/readyz", there), 503)
	check("healthz with stale views", status("GET", "/healthz", there), 200)
	stale = nil
	h.stopping.Store(true)
	check("readyz while stopping", status("GET", "/readyz", there), 503)
	check("metrics from here", status("GET", "/metrics", here), 200)
	check("metrics from here, IPv6", status("GET", "/metrics", "[::1]:5"), 200)
	check("metrics from here, mapped", status("GET", "/metrics", "[::ffff:127.0.0.1]:5"), 200)
	check("metrics from elsewhere", status("GET", "/metrics", there), 403)
	check("another path", status("GET", "/secret", here), 404)
	check("another method", status("POST", "/healthz", here), 405)
}
