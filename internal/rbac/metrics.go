package rbac

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts decisions. The counters of all label values are looked up
// once, since every request counts.
type metrics struct {
	decisions *prometheus.CounterVec
	durations *prometheus.HistogramVec

	counters  [2][3]prometheus.Counter // by kind and result
	observers [2]prometheus.Observer   // by kind
}

func newMetrics() *metrics {
	const ns, sub = "lanyard", "rbac"
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "decisions_total",
			Help: "Authorization decisions by kind (action or data) and result (allowed, denied or error).",
		}, []string{"kind", "result"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "decision_duration_seconds",
			Help:    "Duration of authorization decisions, without their audit record.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 10),
		}, []string{"kind"}),
	}
	for i, kind := range []string{"action", "data"} {
		m.observers[i] = m.durations.WithLabelValues(kind)
		for j, result := range []string{"allowed", "denied", "error"} {
			m.counters[i][j] = m.decisions.WithLabelValues(kind, result)
		}
	}
	return m
}

func (m *metrics) decided(data, allowed bool, err error, took time.Duration) {
	kind, result := 0, 1
	if data {
		kind = 1
	}
	switch {
	case err != nil:
		result = 2
	case allowed:
		result = 0
	}
	m.counters[kind][result].Inc()
	m.observers[kind].Observe(took.Seconds())
}

// Collectors give the guard's metrics: decisions by kind and result, and how
// long they took.
func (g *Guard) Collectors() []prometheus.Collector {
	return []prometheus.Collector{g.metrics.decisions, g.metrics.durations}
}
