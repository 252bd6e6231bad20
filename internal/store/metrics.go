package store

import (
	"errors"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The kinds of operations in the metrics.
const (
	opGet    = "get"
	opList   = "list"
	opUpdate = "update"
	opFollow = "follow"
	opLock   = "lock"
)

type metrics struct {
	operations  *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	conflicts   prometheus.Counter
	viewLag     prometheus.Histogram
	watchLosses prometheus.Counter
	resets      prometheus.Counter
	size, used  prometheus.Gauge
}

func newMetrics() *metrics {
	const ns, sub = "lanyard", "store"
	return &metrics{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "operations_total",
			Help: "Operations on the store by kind and result.",
		}, []string{"kind", "result"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "operation_duration_seconds",
			Help:    "Duration of operations on the store.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9),
		}, []string{"kind"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "conflicts_total",
			Help: "Transactions that ran again because what they read had changed.",
		}),
		viewLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "view_lag_seconds",
			Help:    "Time from a commit of this process to its own views having it.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9),
		}),
		watchLosses: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "watch_losses_total",
			Help: "How often the watch that feeds the views was lost.",
		}),
		resets: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "view_resets_total",
			Help: "How often the views were read anew.",
		}),
		size: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "database_bytes",
			Help: "Size of the database file.",
		}),
		used: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "database_used_bytes",
			Help: "How much of the database file is in use: what the quota bounds.",
		}),
	}
}

// observe counts an operation that began at start; it is deferred.
func (m *metrics) observe(kind string, start time.Time, err *error) {
	m.operations.WithLabelValues(kind, result(*err)).Inc()
	m.durations.WithLabelValues(kind).Observe(time.Since(start).Seconds())
}

// result puts an error into one of few words.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, ErrConflict):
		return "conflict"
	case errors.Is(err, ErrLocked):
		return "locked"
	case errors.Is(err, ErrQuota):
		return "quota"
	default:
		return "error"
	}
}

// Collectors give the store's metrics: operations and their durations by kind,
// conflicts, the views' lag, age and revision, and the database's size. The views
// of a closed store have no age: NaN.
func (s *Store) Collectors() []prometheus.Collector {
	const ns, sub = "lanyard", "store"
	m := s.metrics
	return []prometheus.Collector{
		m.operations, m.durations, m.conflicts, m.viewLag, m.watchLosses, m.resets, m.size, m.used,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "view_age_seconds",
			Help: "Time since the views were last proved current.",
		}, func() float64 {
			if s.views.proved.Load() == never {
				return math.NaN()
			}
			return s.views.age().Seconds()
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "view_revision",
			Help: "The revision that the views have.",
		}, func() float64 { return float64(s.views.revision()) }),
	}
}
