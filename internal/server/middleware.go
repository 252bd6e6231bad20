package server

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/tracing"
)

// front is what every request passes before a plane sees it: identifiers,
// limits, routing by host, recovery, and afterwards the access log and metrics.
type front struct {
	router  *router
	planes  map[plane]http.Handler
	metrics *httpMetrics
	tracer  *tracing.Tracer
	log     *slog.Logger
	maxBody int64
}

// ServeHTTP answers one request.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	p := f.router.route(r.Host)
	req := identify(r)
	r = r.WithContext(azure.WithRequest(r.Context(), req))
	if span := f.tracer.Current(r.Context()); span.Recording() {
		span.Set("lanyard.plane", string(p))
		span.Set("lanyard.request_id", req.RequestID)
		span.Set("lanyard.correlation_id", req.CorrelationID)
	}
	rec := &recorder{ResponseWriter: w}
	setHeaders(rec.Header(), r, req)
	done := f.metrics.begin(p, r.Method)

	defer func() {
		status := rec.status
		v := recover()
		switch v {
		case nil:
			if status == 0 {
				status = http.StatusOK // net/http's own, for an empty answer
			}
		case http.ErrAbortHandler:
			status = 499 // the answer was cut; a status that no handler writes
		default:
			f.log.ErrorContext(r.Context(), "a request's handler panicked", "plane", string(p), "panic", fmt.Sprint(v),
				"stack", string(debug.Stack()))
			if status == 0 {
				writeError(rec, r, p, http.StatusInternalServerError, "InternalServerError",
					"The server encountered an internal error. The correlation ID is "+req.CorrelationID+".")
				v = nil
			}
			status = http.StatusInternalServerError
		}
		took := time.Since(began)
		done(status, took)
		f.access(r, p, rec, status, took)
		if v != nil {
			// The answer has begun: only cutting the connection tells the client.
			panic(http.ErrAbortHandler)
		}
	}()
	f.serve(rec, r, p)
}

func (f *front) serve(w http.ResponseWriter, r *http.Request, p plane) {
	if r.ContentLength > f.maxBody {
		// The connection ends with the answer, so that the body is not read.
		w.Header().Set("Connection", "close")
		writeError(w, r, p, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge",
			fmt.Sprintf("The request's body has %d bytes; at most %d are taken.", r.ContentLength, f.maxBody))
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w, r.Body, f.maxBody)
	}
	h, ok := f.planes[p]
	if !ok {
		writeError(w, r, p, http.StatusMisdirectedRequest, "MisdirectedRequest", f.router.explain(r.Host))
		return
	}
	h.ServeHTTP(w, r)
}

// access writes the access log. It has no query, header or body: that is where
// tokens and secrets travel.
func (f *front) access(r *http.Request, p plane, rec *recorder, status int, took time.Duration) {
	level := slog.LevelInfo
	if p == planeSelf {
		level = slog.LevelDebug // probes come every few seconds
	}
	f.log.LogAttrs(r.Context(), level, "request",
		slog.String("plane", string(p)),
		slog.String("method", clip(r.Method, 16)),
		slog.String("host", clip(r.Host, 256)),
		slog.String("path", clip(r.URL.EscapedPath(), 1024)),
		slog.Int("status", status),
		slog.Int64("bytes", rec.bytes),
		slog.Duration("took", took),
		slog.String("remote", r.RemoteAddr),
	)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

// identify gives the request its identifiers. Azure's clients may bring their
// own correlation ID, under one of three names; anything but a GUID is no
// identifier that logs and answers should repeat.
func identify(r *http.Request) azure.Request {
	req := azure.Request{RequestID: uuid.NewString(), RemoteAddr: r.RemoteAddr}
	for _, name := range []string{"X-Ms-Correlation-Request-Id", "Client-Request-Id", "X-Ms-Client-Request-Id"} {
		if id := r.Header.Get(name); azure.IsGUID(id) {
			req.CorrelationID = id
			return req
		}
	}
	req.CorrelationID = uuid.NewString()
	return req
}

// setHeaders sets what every answer carries. A plane may overwrite it.
func setHeaders(h http.Header, r *http.Request, req azure.Request) {
	h.Set("X-Ms-Request-Id", req.RequestID)
	h.Set("X-Ms-Correlation-Request-Id", req.CorrelationID)
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	h.Set("X-Content-Type-Options", "nosniff")
	echo(h, r, "X-Ms-Client-Request-Id", "X-Ms-Return-Client-Request-Id")
	echo(h, r, "Client-Request-Id", "Return-Client-Request-Id")
}

// echo repeats the client's own identifier to a client that asks for it.
func echo(h http.Header, r *http.Request, name, ask string) {
	if id := r.Header.Get(name); azure.IsGUID(id) && azure.EqualFold(r.Header.Get(ask), "true") {
		h.Set(name, id)
	}
}

// writeError answers in the form of the plane: the token service's clients read
// OAuth errors, all others an error document.
func writeError(w http.ResponseWriter, r *http.Request, p plane, status int, code, message string) {
	var doc any = map[string]any{"error": map[string]string{"code": code, "message": message}}
	if p == planeEntra {
		oauth := "invalid_request"
		if status >= http.StatusInternalServerError {
			oauth = "server_error"
		}
		req := azure.RequestFrom(r.Context())
		doc = map[string]string{
			"error": oauth, "error_description": message,
			"trace_id": req.RequestID, "correlation_id": req.CorrelationID,
		}
	}
	writeJSON(w, status, doc)
}

func writeJSON(w http.ResponseWriter, status int, doc any) {
	b, err := json.Marshal(doc)
	if err != nil { // documents of strings and numbers always encode
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a client that is gone is nobody's error
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 { // 1xx are not the answer
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write counts the body.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
