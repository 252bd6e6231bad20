package audit

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	records *prometheus.CounterVec
	lost    prometheus.Counter
	errors  prometheus.Counter
}

func newMetrics() *metrics {
	const ns, sub = "lanyard", "audit"
	return &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "records_total",
			Help: "Audit records by kind and result, those that couldn't be kept among them.",
		}, []string{"kind", "result"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "records_lost_total",
			Help: "Audit records that couldn't be kept.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "write_errors_total",
			Help: "Failed writes to the audit log.",
		}),
	}
}

// Collectors give the log's metrics: records by kind and result, those lost,
// write errors, and whether writing fails now.
func (l *Log) Collectors() []prometheus.Collector {
	failing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "lanyard", Subsystem: "audit", Name: "failing",
		Help: "1 while the audit log can't be written.",
	}, func() float64 {
		if l.failure() != nil {
			return 1
		}
		return 0
	})
	return []prometheus.Collector{l.metrics.records, l.metrics.lost, l.metrics.errors, failing}
}

func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failing
}
