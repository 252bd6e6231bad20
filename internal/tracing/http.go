package tracing

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceContext reads and writes W3C's traceparent and tracestate, and no baggage:
// what strangers send along is not to be carried on.
var traceContext = propagation.TraceContext{}

// nothing neither reads nor writes.
var nothing = propagation.NewCompositeTextMapPropagator()

// Handler records a span for every request, under the trace that the request
// comes with or as the beginning of one, unless skip says that it is of no
// interest (nil: none is). The name is the method until [Span.Route] gives
// another. On a nil Tracer it is h itself.
func (t *Tracer) Handler(h http.Handler, skip func(*http.Request) bool) http.Handler {
	if t == nil {
		return h
	}
	return otelhttp.NewHandler(h, "",
		otelhttp.WithTracerProvider(t.provider),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(traceContext),
		otelhttp.WithFilter(func(r *http.Request) bool { return skip == nil || !skip(r) }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }),
	)
}

// Transport records a span for every request that a client sends in the course
// of a recorded one. Requests to the own cloud carry the trace with them
// (propagate); strangers learn nothing of it. On a nil Tracer it is base itself.
func (t *Tracer) Transport(base http.RoundTripper, propagate bool) http.RoundTripper {
	if t == nil {
		return base
	}
	carry := nothing
	if propagate {
		carry = traceContext
	}
	return &transport{
		RoundTripper: otelhttp.NewTransport(withoutQuery{base},
			otelhttp.WithTracerProvider(t.provider),
			otelhttp.WithMeterProvider(noop.NewMeterProvider()),
			otelhttp.WithPropagators(carry),
			otelhttp.WithFilter(func(r *http.Request) bool { return trace.SpanFromContext(r.Context()).IsRecording() }),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method + " " + r.URL.Host }),
		),
		base: base,
	}
}

// transport is a traced transport that lets go of its connections as its base
// does.
type transport struct {
	http.RoundTripper
	base http.RoundTripper
}

// CloseIdleConnections is what http.Client looks for.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// withoutQuery takes the query out of what the span says of the address: in a
// stranger's address it may be what lets its bearer in.
type withoutQuery struct{ http.RoundTripper }

// RoundTrip sends the request.
func (w withoutQuery) RoundTrip(r *http.Request) (*http.Response, error) {
	if span := trace.SpanFromContext(r.Context()); span.IsRecording() && r.URL.RawQuery != "" {
		bare := *r.URL
		bare.RawQuery, bare.User = "", nil
		span.SetAttributes(attribute.String("url.full", bare.String()))
	}
	return w.RoundTripper.RoundTrip(r)
}
