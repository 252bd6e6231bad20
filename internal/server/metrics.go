package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newRegistry makes the cloud's registry, with the process's own metrics. Two
// clouds in one process have one each.
func newRegistry(version string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "lanyard_build_info", Help: "1, labelled with the version that runs.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	reg.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// httpMetrics count requests. Every label value comes from a fixed set.
type httpMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
}

func newHTTPMetrics(reg prometheus.Registerer) *httpMetrics {
	m := &httpMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lanyard_http_requests_total", Help: "Answered requests by plane, method and status.",
		}, []string{"plane", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lanyard_http_request_duration_seconds", Help: "Time to answer a request, by plane and method.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"plane", "method"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "lanyard_http_requests_in_flight", Help: "Requests that are being answered, by plane.",
		}, []string{"plane"}),
	}
	reg.MustRegister(m.requests, m.duration, m.inFlight)
	return m
}

// begin counts a request in, and gives what counts it out.
func (m *httpMetrics) begin(p plane, method string) func(status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other" // a stranger's word is no label
	}
	running := m.inFlight.WithLabelValues(string(p))
	running.Inc()
	return func(status int, took time.Duration) {
		running.Dec()
		m.requests.WithLabelValues(string(p), method, strconv.Itoa(status)).Inc()
		m.duration.WithLabelValues(string(p), method).Observe(took.Seconds())
	}
}
