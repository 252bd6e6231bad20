package cluster

import (
	"sync"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/directory"
)

// topics are the clusters whose agents this replica serves. They are made with a
// cluster's first stream, and end with the cluster.
type topics struct {
	clusters  *Clusters
	directory *directory.Directory

	mu       sync.Mutex
	byID     map[string]*topic
	byIssuer map[string]map[*topic]struct{}
	ending   chan struct{} // closed when no stream is to go on
}

func newTopics(clusters *Clusters, dir *directory.Directory) *topics {
	ts := &topics{
		clusters: clusters, directory: dir, byID: map[string]*topic{}, byIssuer: map[string]map[*topic]struct{}{},
		ending: make(chan struct{}),
	}
	dir.OnTrusts(ts.trustsChanged)
	clusters.OnChange(ts.clustersChanged)
	return ts
}

// trustsChanged is called when credentials come and go.
func (ts *topics) trustsChanged(issuers []string, revision int64) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if issuers == nil {
		ts.endAll()
		return
	}
	for _, issuer := range issuers {
		for t := range ts.byIssuer[issuer] {
			t.outdate(revision)
		}
	}
}

// clustersChanged is called when records of clusters do.
func (ts *topics) clustersChanged(ids []string, revision int64) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ids == nil {
		ts.endAll()
		return
	}
	for _, id := range ids {
		t := ts.byID[id]
		if t == nil {
			continue
		}
		if _, ok := ts.clusters.entry(id); ok {
			t.outdate(revision)
		} else {
			ts.drop(t)
		}
	}
}

// endAll ends every topic: the store was read anew, and its revisions may count
// something else. Agents dial again, and begin anew.
func (ts *topics) endAll() {
	for _, t := range ts.byID {
		t.end()
	}
	clear(ts.byID)
	clear(ts.byIssuer)
}

// close ends all streams and lets none begin.
func (ts *topics) close() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	select {
	case <-ts.ending:
	default:
		close(ts.ending)
	}
}

// join gives the topic of a cluster for a stream of it, which must leave it; nil
// when the cluster has too many.
func (ts *topics) join(e *entry) *topic {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t, issuer := ts.byID[e.ID], e.issuer()
	if t != nil && (t.issuer != issuer || t.ended()) {
		ts.drop(t)
		t = nil
	}
	if t == nil {
		t = &topic{id: e.ID, issuer: issuer, history: uuid.NewString(), stale: true, due: e.revision, wake: make(chan struct{})}
		ts.byID[e.ID] = t
		if ts.byIssuer[issuer] == nil {
			ts.byIssuer[issuer] = map[*topic]struct{}{}
		}
		ts.byIssuer[issuer][t] = struct{}{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams >= maxStreams {
		return nil
	}
	t.streams++
	return t
}

// leave is the opposite of join.
func (ts *topics) leave(t *topic) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.mu.Lock()
	t.streams--
	over := t.gone && t.streams == 0
	t.mu.Unlock()
	if over && ts.byID[t.id] == t {
		ts.drop(t)
	}
}

// drop forgets a topic, and ends its streams. The caller holds the lock.
func (ts *topics) drop(t *topic) {
	t.end()
	delete(ts.byID, t.id)
	delete(ts.byIssuer[t.issuer], t)
	if len(ts.byIssuer[t.issuer]) == 0 {
		delete(ts.byIssuer, t.issuer)
	}
}
