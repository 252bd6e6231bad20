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

var failingDesc = prometheus.NewDesc("lanyard_audit_failing",
	"1 while the audit log can't be written.", nil, nil)

// Collector gives the log's metrics: records by kind and result, those lost,
// write errors, and whether writing fails now.
func (l *Log) Collector() prometheus.Collector { return collector{l} }

type collector struct{ l *Log }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	c.l.metrics.records.Describe(ch)
	c.l.metrics.lost.Describe(ch)
	c.l.metrics.errors.Describe(ch)
	ch <- failingDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.l.metrics.records.Collect(ch)
	c.l.metrics.lost.Collect(ch)
	c.l.metrics.errors.Collect(ch)
	failing := 0.0
	if c.l.failure() != nil {
		failing = 1
	}
	ch <- prometheus.MustNewConstMetric(failingDesc, prometheus.GaugeValue, failing)
}

func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failing
}
