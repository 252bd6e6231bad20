package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config configures [New].
type Config struct {
	// Endpoint is the collector's URL for OTLP over HTTP, such as
	// "http://127.0.0.1:4318"; "/v1/traces" is added where it has no path. Empty:
	// what OpenTelemetry's variables say (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
	// OTEL_EXPORTER_OTLP_ENDPOINT), else "https://localhost:4318".
	Endpoint string
	// Headers are sent to the collector, beside those of the variables.
	Headers map[string]string
	// SampleRatio is the part, from 0 to 1, of the traces begun here that is
	// recorded. Where a request comes with a trace, that one says whether it is.
	SampleRatio float64
	// Version is what runs, as the collector is told.
	Version string
	// Logger is told of traces that could not be sent; nil discards.
	Logger *slog.Logger
}

// Tracer records spans. Its methods may be called from any goroutine, and on a
// nil Tracer, which does nothing.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// scope names who records, for collectors.
const scope = "github.com/lanyard-id/lanyard"

// New makes a tracer. It connects to nobody yet: a collector that is not there
// is told by the log, and costs traces only.
func New(ctx context.Context, cfg Config) (*Tracer, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var options []otlptracehttp.Option
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("the traces' endpoint: %w", err)
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = "/v1/traces"
		}
		options = append(options, otlptracehttp.WithEndpointURL(u.String()))
	}
	if len(cfg.Headers) > 0 {
		options = append(options, otlptracehttp.WithHeaders(cfg.Headers))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("the traces' exporter: %w", err)
	}
	// What the variables say of the resource comes on top.
	who, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "lanyard"), attribute.String("service.version", cfg.Version)),
		resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("the traces' resource: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(reporting{exporter, cfg.Logger}),
		sdktrace.WithResource(who),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SampleRatio))),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer(scope)}, nil
}

// Shutdown sends what is recorded and not yet sent, until ctx ends, and stops.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// reporting is an exporter whose failures go to the log: OpenTelemetry would
// write them to standard error, by a global handler.
type reporting struct {
	sdktrace.SpanExporter
	log *slog.Logger
}

// ExportSpans sends spans. Those that cannot be sent are lost.
func (r reporting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := r.SpanExporter.ExportSpans(ctx, spans); err != nil {
		r.log.WarnContext(ctx, "traces could not be sent", "spans", len(spans), "error", err)
	}
	return nil
}

// Start begins a span under the one in ctx, and gives a context that carries it.
// It begins no trace: without a recorded span in ctx nothing is recorded, so that
// work of the background, and requests that were not sampled, cost next to
// nothing. The span must be ended.
func (t *Tracer) Start(ctx context.Context, name string) (context.Context, Span) {
	if t == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, Span{span}
}

// Current gives the span that ctx carries; it must not be ended by who asks.
func (t *Tracer) Current(ctx context.Context) Span {
	if t == nil {
		return Span{}
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		return Span{span}
	}
	return Span{}
}

// Span is a step of a request. The zero Span records nothing.
type Span struct{ span trace.Span }

// Recording reports whether anything is recorded, for values that cost something
// to make.
func (s Span) Recording() bool { return s.span != nil }

// End ends the span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// Set notes a fact, unless it is empty. Names of Lanyard's own begin with
// "lanyard.".
func (s Span) Set(name, value string) {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// SetInt notes a number.
func (s Span) SetInt(name string, value int64) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int64(name, value))
	}
}

// Fail marks the span as failed. The reason is a code, such as AADSTS700016, and
// no text that could repeat what a client sent.
func (s Span) Fail(reason string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, reason)
	}
}

// Route names the span of a request by its method and by what stands at its
// path, with names in braces for what varies.
func (s Span) Route(method, route string) {
	if s.span != nil {
		s.span.SetName(method + " " + route)
		s.span.SetAttributes(attribute.String("http.route", route))
	}
}
