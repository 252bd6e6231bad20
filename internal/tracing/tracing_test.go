package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector is an OTLP collector in memory.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	status  int // of its answers; 0: 200
	headers http.Header
	path    string
	spans   []*tracepb.Span
	who     map[string]string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{who: map[string]string{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers, c.path = r.Header, r.URL.Path
	if c.status != 0 {
		w.WriteHeader(c.status)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	text, err := io.ReadAll(body)
	var request collectorpb.ExportTraceServiceRequest
	if err := errors.Join(err, proto.Unmarshal(text, &request)); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, rs := range request.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			c.who[a.Key] = a.Value.GetStringValue()
		}
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

// find gives the one span of a name.
func (c *collector) find(t *testing.T, name string) *tracepb.Span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var found *tracepb.Span
	for _, s := range c.spans {
		if s.Name == name {
			if found != nil {
				t.Fatalf("there are several spans %q", name)
			}
			found = s
		}
	}
	if found == nil {
		t.Fatalf("there is no span %q among %d", name, len(c.spans))
	}
	return found
}

func attributes(s *tracepb.Span) map[string]string {
	m := map[string]string{}
	for _, a := range s.Attributes {
		m[a.Key] = a.Value.GetStringValue()
	}
	return m
}

func newTracer(t *testing.T, cfg Config) *Tracer {
	t.Helper()
	tr, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func shutdown(t *testing.T, tr *Tracer) {
	t.Helper()
	if err := tr.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func serve(t *testing.T, h http.Handler, header ...string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://cloud.test/x?secret=in-the-query", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
}

const (
	traceID    = "0af7651916cd43dd8448eb211c80319c"
	sampled    = "00-" + traceID + "-b7ad6b7169203331-01"
	notSampled = "00-" + traceID + "-b7ad6b7169203331-00"
)

// TestTrace: a request's span is under the trace that it came with, its steps
// are under it, and a client's request to the own cloud carries the trace on,
// one to strangers does not.
func TestTrace(t *testing.T) {
	c := newCollector(t)
	var seen http.Header
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer other.Close()
	tr := newTracer(t, Config{Endpoint: c.URL, Headers: map[string]string{"X-Key": "k"}, SampleRatio: 1, Version: "v1"})
	ask := func(ctx context.Context, propagate bool) {
		base := &http.Transport{}
		client := &http.Client{Transport: tr.Transport(base, propagate)}
		defer client.CloseIdleConnections()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, other.URL+"/keys?sig=token-in-the-query", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	h := tr.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		span := tr.Current(r.Context())
		span.Route(r.Method, "/{tenant}/token")
		span.Set("lanyard.correlation_id", "c")
		span.Set("lanyard.empty", "")
		ctx, outer := tr.Start(r.Context(), "outer")
		defer outer.End()
		_, inner := tr.Start(ctx, "inner")
		inner.SetInt("lanyard.count", 7)
		inner.Fail("AADSTS1")
		inner.End()
		ask(ctx, false)
		if seen.Get("Traceparent") != "" {
			t.Error("a stranger learns of the trace")
		}
		ask(ctx, true)
		if !strings.Contains(seen.Get("Traceparent"), traceID) {
			t.Errorf("the trace is not carried on: %q", seen.Get("Traceparent"))
		}
		w.WriteHeader(http.StatusTeapot)
	}), nil)
	serve(t, h, "Traceparent", sampled, "Baggage", "a=b")
	ask(t.Context(), true) // outside of a trace: nothing
	shutdown(t, tr)

	if c.path != "/v1/traces" || c.headers.Get("X-Key") != "k" || c.who["service.name"] != "lanyard" || c.who["service.version"] != "v1" {
		t.Errorf("sent to %s with %v by %v", c.path, c.headers, c.who)
	}
	root, outer, inner := c.find(t, "POST /{tenant}/token"), c.find(t, "outer"), c.find(t, "inner")
	if got := root.TraceId; !bytes.Equal(got, outer.TraceId) || !bytes.Equal(root.SpanId, outer.ParentSpanId) || !bytes.Equal(outer.SpanId, inner.ParentSpanId) {
		t.Error("the spans are not one within the other")
	}
	if at := attributes(root); at["http.route"] != "/{tenant}/token" || at["lanyard.correlation_id"] != "c" || at["url.path"] != "/x" {
		t.Errorf("the request's span says %v", at)
	}
	if inner.Status.GetMessage() != "AADSTS1" || inner.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("the failed step ended with %v", inner.Status)
	}
	if len(c.spans) != 5 {
		t.Errorf("%d spans, want 5", len(c.spans))
	}
	for _, s := range c.spans {
		if strings.Contains(s.String(), "in-the-query") {
			t.Errorf("a query is told: %v", s)
		}
	}
}

// TestSampling: the trace that a request comes with decides, else the ratio.
func TestSampling(t *testing.T) {
	for name, test := range map[string]struct {
		ratio  float64
		header []string
		want   int
	}{
		"all":                        {1, nil, 2},
		"none":                       {0, nil, 0},
		"none, but for the client's": {0, []string{"Traceparent", sampled}, 2},
		"all, but for the client's":  {1, []string{"Traceparent", notSampled}, 0},
		"no trace that can be read":  {1, []string{"Traceparent", "00-x"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t)
			tr := newTracer(t, Config{Endpoint: c.URL + "/", SampleRatio: test.ratio})
			h := tr.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, span := tr.Start(r.Context(), "step")
				if span.Recording() != (test.want > 0) {
					t.Errorf("recording is %v", span.Recording())
				}
				span.End()
			}), func(r *http.Request) bool { return r.Header.Get("Skip") != "" })
			serve(t, h, test.header...)
			shutdown(t, tr)
			if len(c.spans) != test.want {
				t.Errorf("%d spans, want %d", len(c.spans), test.want)
			}
		})
	}
	c := newCollector(t)
	tr := newTracer(t, Config{Endpoint: c.URL, SampleRatio: 1})
	serve(t, tr.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(*http.Request) bool { return true }))
	if _, span := tr.Start(t.Context(), "background"); span.Recording() {
		t.Error("a step begins a trace")
	}
	shutdown(t, tr)
	if len(c.spans) != 0 {
		t.Errorf("%d spans of what is skipped", len(c.spans))
	}
}

// TestVariables: OpenTelemetry's own variables say what the configuration leaves
// open.
func TestVariables(t *testing.T) {
	c := newCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL+"/base")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key="+url.PathEscape("from the variable"))
	tr := newTracer(t, Config{SampleRatio: 1})
	serve(t, tr.Handler(http.NotFoundHandler(), nil))
	shutdown(t, tr)
	if c.path != "/base/v1/traces" || c.headers.Get("X-Key") != "from the variable" || len(c.spans) != 1 {
		t.Errorf("sent %d spans to %q with %v", len(c.spans), c.path, c.headers)
	}
}

// TestCollectorThatRefuses: the log is told, and nothing else happens.
func TestCollectorThatRefuses(t *testing.T) {
	c := newCollector(t)
	c.status = http.StatusUnauthorized
	var logs bytes.Buffer
	tr := newTracer(t, Config{Endpoint: c.URL, SampleRatio: 1, Logger: slog.New(slog.NewTextHandler(&logs, nil)), Headers: map[string]string{"Authorization": "Bearer of-the-collector"}})
	serve(t, tr.Handler(http.NotFoundHandler(), nil))
	shutdown(t, tr)
	if !strings.Contains(logs.String(), "traces could not be sent") || !strings.Contains(logs.String(), "401") || strings.Contains(logs.String(), "of-the-collector") {
		t.Errorf("the log says %q", logs.String())
	}
}

// request is what a step looks like where it is recorded.
func request(ctx context.Context, tr *Tracer) {
	tr.Current(ctx).Set("lanyard.plane", "x")
	ctx, span := tr.Start(ctx, "outer")
	defer span.End()
	_, inner := tr.Start(ctx, "inner")
	inner.SetInt("lanyard.count", 1)
	inner.Fail("x")
	inner.Route("GET", "/")
	inner.End()
}

// TestOff: without a tracer nothing is recorded or allocated, and handlers and
// transports are what they were.
func TestOff(t *testing.T) {
	var off *Tracer
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { request(ctx, off) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got, span := off.Start(ctx, "x"); got != ctx || span.Recording() {
		t.Error("something is recorded")
	}
	base := &http.Transport{}
	if off.Transport(base, true) != http.RoundTripper(base) {
		t.Error("the transport is wrapped")
	}
	if h := http.NotFoundHandler(); off.Handler(h, nil) == nil {
		t.Error("there is no handler")
	}
	if err := off.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func BenchmarkOff(b *testing.B) {
	var off *Tracer
	b.ReportAllocs()
	for b.Loop() {
		request(b.Context(), off)
	}
}

// BenchmarkNotSampled is what a step costs in a request that is not recorded.
func BenchmarkNotSampled(b *testing.B) {
	tr, err := New(b.Context(), Config{Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = tr.Shutdown(context.Background()) }()
	b.ReportAllocs()
	for b.Loop() {
		request(b.Context(), tr)
	}
}
