package server

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// BenchmarkFront is what the middleware adds to every request, its log line
// included: a token request is some hundred microseconds of RSA beside it.
func BenchmarkFront(b *testing.B) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	f := &front{
		router:  newRouter(azure.Cloud{Domain: "d.test", Port: 8443}),
		planes:  map[plane]http.Handler{planeEntra: answer},
		metrics: newHTTPMetrics(prometheus.NewRegistry()),
		log:     slog.New(requestHandler{slog.NewJSONHandler(nowhere{}, nil)}),
		maxBody: 4 << 20,
	}
	r := httptest.NewRequest(http.MethodPost, "https://login.d.test:8443/tenant/oauth2/v2.0/token", nil)
	b.ReportAllocs()
	for b.Loop() {
		f.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// nowhere takes log lines that were written in full, as a handler that is
// discarded would not.
type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
