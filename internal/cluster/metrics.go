package cluster

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of attached clusters and of their agents at this replica.
// Every label comes from a fixed set, but for the cluster's ID, of which there are
// as many as clusters.
type metrics struct {
	clusters  *Clusters
	streams   prometheus.Gauge
	ended     *prometheus.CounterVec
	refused   *prometheus.CounterVec
	status    *prometheus.Desc
	unmutated *prometheus.Desc
}

func newMetrics(clusters *Clusters) *metrics {
	return &metrics{
		clusters: clusters,
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lanyard_agent_streams", Help: "Streams of changes that agents of attached clusters have at this replica.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lanyard_agent_streams_ended_total", Help: "Streams that ended, by whose doing: agent, token, cluster, stop.",
		}, []string{"by"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lanyard_agent_requests_refused_total", Help: "Requests of agents that were refused, by the code of the error.",
		}, []string{"code"}),
		status: prometheus.NewDesc("lanyard_cluster_connected", "1 for an attached cluster that is connected, else 0.", []string{"cluster"}, nil),
		unmutated: prometheus.NewDesc("lanyard_cluster_unmutated_pods",
			"Pods of an attached cluster that ask for the webhook and run without what it adds, as its agents report.", []string{"cluster"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.streams.Describe(ch)
	m.ended.Describe(ch)
	m.refused.Describe(ch)
	ch <- m.status
	ch <- m.unmutated
}

// Collect implements prometheus.Collector. What is known of clusters is read from
// memory.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.streams.Collect(ch)
	m.ended.Collect(ch)
	m.refused.Collect(ch)
	c, now := m.clusters, m.clusters.now()
	c.mu.RLock()
	defer c.mu.RUnlock()
	for id, e := range c.view.clusters {
		s := c.view.status(id, e, now)
		connected := 0.0
		if s.Connectivity == Connected {
			connected = 1
		}
		ch <- prometheus.MustNewConstMetric(m.status, prometheus.GaugeValue, connected, id)
		if s.UnmutatedKnown {
			ch <- prometheus.MustNewConstMetric(m.unmutated, prometheus.GaugeValue, float64(s.UnmutatedCount), id)
		}
	}
}
