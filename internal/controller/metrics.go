package controller

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/serving"
)

// metrics carry the names of upstream's, so that its dashboards and alerts go on.
type metrics struct {
	registry              *prometheus.Registry
	mutations             *prometheus.HistogramVec // by namespace
	latency               prometheus.Observer
	inFlight              prometheus.Gauge
	panics                prometheus.Counter
	certificateReads      prometheus.Counter
	certificateReadErrors prometheus.Counter
	ok, bad               prometheus.Counter
	routeUp               *prometheus.GaugeVec   // by authority host
	routeFailures         *prometheus.CounterVec // likewise
	unmutated             prometheus.Gauge

	mu         sync.RWMutex
	namespaces map[string]prometheus.Observer
}

// maxNamespaces bounds the label of azwi_mutation_request: each namespace costs
// a histogram. Those beyond it share the empty one.
const maxNamespaces = 500

func newMetrics() *metrics {
	m := &metrics{registry: serving.NewRegistry(), namespaces: map[string]prometheus.Observer{}}
	m.mutations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:        "azwi_mutation_request",
		Help:        "Distribution of how long it took for the azure-workload-identity mutation request, in seconds.",
		ConstLabels: prometheus.Labels{"service_name": "webhook"},
		Buckets:     mutationBuckets(),
	}, []string{"namespace"})
	webhook := prometheus.Labels{"webhook": MutatePath}
	latency := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "controller_runtime_webhook_latency_seconds", Help: "Time that admission requests took.", ConstLabels: webhook,
		Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
	})
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "controller_runtime_webhook_requests_total", Help: "Admission requests by HTTP status.", ConstLabels: webhook,
	}, []string{"code"})
	m.latency = latency
	m.ok, m.bad = requests.WithLabelValues("200"), requests.WithLabelValues("500")
	m.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "controller_runtime_webhook_requests_in_flight", Help: "Admission requests being served.", ConstLabels: webhook,
	})
	m.panics = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "controller_runtime_webhook_panics_total", Help: "Admission requests that ended in a panic.",
	})
	m.certificateReads = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "certwatcher_read_certificate_total", Help: "Times that the certificate files were read.",
	})
	m.certificateReadErrors = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "certwatcher_read_certificate_errors_total", Help: "Times that the certificate files could not be read.",
	})
	m.routeUp = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "lanyard_webhook_route_up", Help: "Whether pods are led to the cloud by the authority host (1), or refused because they may be led elsewhere (0).",
	}, []string{"authority_host"})
	m.routeFailures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lanyard_webhook_route_failures_total", Help: "Checks of the route to the cloud by the authority host that failed.",
	}, []string{"authority_host"})
	m.unmutated = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "lanyard_webhook_unmutated_pods", Help: "Pods that ask for the webhook and run without what it adds.",
	})
	m.registry.MustRegister(m.mutations, latency, requests, m.inFlight, m.panics,
		m.certificateReads, m.certificateReadErrors, m.routeUp, m.routeFailures, m.unmutated)
	return m
}

// mutationBuckets are upstream's: in steps of the first digit up to a second.
func mutationBuckets() []float64 {
	var buckets []float64
	for _, unit := range []float64{1000, 100, 10} { // one over it
		for step := 1; step <= 9; step++ {
			buckets = append(buckets, float64(step)/unit)
		}
	}
	return append(buckets, 1, 1.5, 2, 2.5, 3)
}

// mutation is the observer of a namespace.
func (m *metrics) mutation(namespace string) prometheus.Observer {
	m.mu.RLock()
	o, ok := m.namespaces[namespace]
	m.mu.RUnlock()
	if ok {
		return o
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.namespaces) >= maxNamespaces {
		namespace = ""
	}
	o = m.mutations.WithLabelValues(namespace)
	m.namespaces[namespace] = o
	return o
}

func (m *metrics) observe(namespace string, took time.Duration) {
	m.mutation(namespace).Observe(took.Seconds())
	m.latency.Observe(took.Seconds())
}

// certificateRead counts a reading of the certificate files.
func (m *metrics) certificateRead(err error) {
	m.certificateReads.Inc()
	if err != nil {
		m.certificateReadErrors.Inc()
	}
}
