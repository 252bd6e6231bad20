package cluster

import (
	"fmt"
	"testing"
	"time"
)

// TestPaces: whoever has a cluster's key may name any pod. The cluster has its limit,
// and its neighbours have theirs; what is kept of all is bounded.
func TestPaces(t *testing.T) {
	p, now := newPaces(), time.Unix(0, 0)
	of := func(cluster, pod string) agent {
		return agent{cluster: &entry{record: record{Cluster: Cluster{ID: cluster}}}, pod: pod}
	}
	flood := func() (taken int) {
		for i := range 10 * clusterReports {
			if p.admit(of("east", fmt.Sprint(now.Unix(), "-", i)), "webhook", now) {
				taken++
			}
		}
		return taken
	}
	if n := flood(); n != clusterReports {
		t.Errorf("%d reports at once", n)
	}
	if !p.admit(of("west", "p"), "webhook", now) {
		t.Error("a neighbour's is refused")
	}
	if p.admit(of("west", "p"), "webhook", now.Add(4*time.Second)) || !p.admit(of("west", "p"), "webhook", now.Add(5*time.Second)) {
		t.Error("a component does not report once in five seconds")
	}
	now = now.Add(time.Second)
	if n := flood(); n != clusterPerSecond {
		t.Errorf("%d reports a second later", n)
	}
	for range 20 {
		now = now.Add(time.Hour)
		flood()
	}
	if len(p.last) > maxReported || len(p.pods) > maxReported || len(p.clusters) != 2 {
		t.Errorf("%d reports, %d pods and %d clusters are kept", len(p.last), len(p.pods), len(p.clusters))
	}
}
