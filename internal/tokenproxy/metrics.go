package tokenproxy

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/serving"
)

// The results of token requests, as the metric and the log name them.
const (
	resultIssued       = "issued"       // the token service gave a token
	resultRefused      = "refused"      // the token service refused one
	resultForbidden    = "forbidden"    // the service account may not use the identity
	resultUnauthorized = "unauthorized" // the service account token is not accepted
	resultInvalid      = "invalid"      // the request is malformed
	resultThrottled    = "throttled"
	resultFailed       = "failed" // the API server or the token service gave no answer
)

type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: serving.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lanyard_token_proxy_requests_total",
			Help: "Token requests by result: issued, refused (by the token service), forbidden, unauthorized, invalid, throttled, failed.",
		}, []string{"result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "lanyard_token_proxy_request_duration_seconds",
			Help:    "Time to answer a token request, by result.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"result"}),
	}
	m.registry.MustRegister(m.requests, m.duration)
	for _, result := range []string{resultIssued, resultRefused, resultForbidden, resultUnauthorized, resultInvalid, resultThrottled, resultFailed} {
		m.requests.WithLabelValues(result)
	}
	return m
}

func (m *metrics) observe(result string, took time.Duration) {
	m.requests.WithLabelValues(result).Inc()
	m.duration.WithLabelValues(result).Observe(took.Seconds())
}

// resultOf is the result of an answer of this endpoint's own.
func resultOf(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return resultUnauthorized
	case status == http.StatusForbidden:
		return resultForbidden
	case status == http.StatusTooManyRequests:
		return resultThrottled
	case status >= http.StatusInternalServerError:
		return resultFailed
	}
	return resultInvalid
}
