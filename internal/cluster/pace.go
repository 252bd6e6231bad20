package cluster

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lanyard-id/lanyard/internal/channel"
)

// How often agents may report. A report is a write, and whoever has a pod's token may
// name any component; whoever has a cluster's key, any pod.
const (
	// podComponents is how many components a pod may report for in the time in which
	// one may report once.
	podComponents = 4
	// clusterReports is how many reports a cluster may make at once, and
	// clusterPerSecond how many then, which is as many agents' as have a stream.
	clusterReports   = 100
	clusterPerSecond = 20
	// maxReported bounds the memory of who has reported when. When it is full all is
	// forgotten, and a few reports come sooner than they should.
	maxReported = 8192
)

// paces bound the reports of a replica. They go by real time: this is about the
// store's work.
type paces struct {
	mu       sync.Mutex
	last     map[string]time.Time     // by cluster, pod and component
	pods     map[string]*rate.Limiter // by cluster and pod
	clusters map[string]*rate.Limiter
}

func newPaces() *paces {
	return &paces{last: map[string]time.Time{}, pods: map[string]*rate.Limiter{}, clusters: map[string]*rate.Limiter{}}
}

// admit reports whether a component in a pod may report now, and notes that it does.
func (p *paces) admit(a agent, component string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	const pause = channel.ReportPauseSeconds * time.Second
	pod := a.cluster.ID + "/" + a.pod
	source := pod + "/" + component
	if last, ok := p.last[source]; ok && now.Sub(last) < pause {
		return false
	}
	if !limiter(p.pods, pod, rate.Every(pause/podComponents), podComponents).AllowN(now, 1) ||
		!limiter(p.clusters, a.cluster.ID, clusterPerSecond, clusterReports).AllowN(now, 1) {
		return false
	}
	if len(p.last) >= maxReported {
		clear(p.last)
	}
	p.last[source] = now
	return true
}

// limiter gives that of a key.
func limiter(of map[string]*rate.Limiter, key string, limit rate.Limit, burst int) *rate.Limiter {
	l := of[key]
	if l == nil {
		if len(of) >= maxReported {
			clear(of)
		}
		l = rate.NewLimiter(limit, burst)
		of[key] = l
	}
	return l
}
