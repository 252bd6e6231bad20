package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// NewLogger makes the cloud's logger: level is "debug", "info", "warn" or
// "error", format "text" or "json". Records that are logged with a request's
// context carry its identifiers.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q is none of debug, info, warn, error", level)
	}
	options.Level = l
	switch format {
	case "text":
		return slog.New(requestHandler{slog.NewTextHandler(w, &options)}), nil
	case "json":
		return slog.New(requestHandler{slog.NewJSONHandler(w, &options)}), nil
	default:
		return nil, fmt.Errorf("log format %q is neither text nor json", format)
	}
}

// requestHandler adds the identifiers of the context's request to every record.
type requestHandler struct{ slog.Handler }

// Handle adds the identifiers.
func (h requestHandler) Handle(ctx context.Context, r slog.Record) error {
	if req := azure.RequestFrom(ctx); req.RequestID != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("requestId", req.RequestID), slog.String("correlationId", req.CorrelationID))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the identifiers.
func (h requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the identifiers.
func (h requestHandler) WithGroup(name string) slog.Handler {
	return requestHandler{h.Handler.WithGroup(name)}
}
