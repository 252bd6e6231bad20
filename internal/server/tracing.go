package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/lanyard-id/lanyard/internal/tracing"
)

// TracingConfig sends OpenTelemetry traces of requests to a collector, by OTLP
// over HTTP. Traces name callers, resources and results, as the audit log does,
// and never hold tokens, secrets or assertions.
type TracingConfig struct {
	// Enabled records and sends traces. Then alone OpenTelemetry's own variables
	// (OTEL_EXPORTER_OTLP_ENDPOINT and the others of that prefix) are read, for
	// what is not set here. Default: false.
	Enabled bool `json:"enabled"`
	// OTLPEndpoint is the collector's URL, such as "http://127.0.0.1:4318";
	// "/v1/traces" is added where it has no path. Default: what the variables
	// say, else "https://localhost:4318".
	OTLPEndpoint string `json:"otlpEndpoint"`
	// Headers are sent to the collector, such as what it wants for
	// authentication: over https, or to this machine. Default: none.
	Headers map[string]string `json:"headers"`
	// SampleRatio is the part, from 0 to 1, of the traces begun here that is
	// recorded. A request that comes with a trace (traceparent) is recorded when
	// that says so. Default: 1.
	SampleRatio *float64 `json:"sampleRatio"`
}

// check checks the fields.
func (c *TracingConfig) check(bad func(field, format string, args ...any)) {
	if c.SampleRatio != nil && (*c.SampleRatio < 0 || *c.SampleRatio > 1) {
		bad("tracing.sampleRatio", "%v: want a number from 0 to 1", *c.SampleRatio)
	}
	if !c.Enabled && (c.OTLPEndpoint != "" || len(c.Headers) > 0 || c.SampleRatio != nil) {
		bad("tracing.enabled", "is needed with the other fields of tracing")
	}
	if c.OTLPEndpoint == "" {
		return
	}
	u, err := url.Parse(c.OTLPEndpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		bad("tracing.otlpEndpoint", "want a URL such as https://collector.example:4318")
		return
	}
	if len(c.Headers) > 0 && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		bad("tracing.otlpEndpoint", "%s: headers, which hold what authenticates, are sent over https or to this machine only", c.OTLPEndpoint)
	}
	for name := range c.Headers {
		if name == "" {
			bad("tracing.headers", "a header has no name")
		}
	}
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// openTracing makes the tracer, nil where tracing is off.
func (s *Server) openTracing(ctx context.Context) error {
	c := s.cfg.Tracing
	if !c.Enabled {
		return nil
	}
	ratio := 1.0
	if c.SampleRatio != nil {
		ratio = *c.SampleRatio
	}
	var err error
	s.tracer, err = tracing.New(ctx, tracing.Config{
		Endpoint: c.OTLPEndpoint, Headers: c.Headers, SampleRatio: ratio, Version: s.cfg.Version, Logger: s.log,
	})
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	s.log.Info("requests are traced", "otlpEndpoint", c.OTLPEndpoint, "headers", slices.Sorted(maps.Keys(c.Headers)), "sampleRatio", ratio)
	return nil
}

// maxTracingGrace is how long the last traces may take to be sent, unless
// requests have less.
const maxTracingGrace = 5 * time.Second

// closeTracing sends what is left. A collector that does not take it costs the
// traces, and is no reason to fail.
func (s *Server) closeTracing() {
	ctx, cancel := context.WithTimeout(context.Background(), min(maxTracingGrace, time.Duration(s.cfg.ShutdownGrace)))
	defer cancel()
	if err := s.tracer.Shutdown(ctx); err != nil {
		s.log.Warn("the last traces could not be sent", "error", err)
	}
}

// isProbe tells requests that come every few seconds and are of no interest.
func isProbe(r *http.Request) bool {
	switch r.URL.Path {
	case "/healthz", "/readyz", "/metrics":
		return true
	}
	return false
}
