package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/directory"
)

const (
	// maxStreams bounds the streams of one cluster at one replica: each of its
	// agents has one.
	maxStreams = 1024
	// keptGroups and keptBytes bound the past that is kept of a cluster, for streams
	// that lag and for agents that resume. Whoever is further behind begins anew.
	keptGroups = 512
	keptBytes  = 1 << 20
	// maxTold bounds the credentials that agents are told of. Anybody in any tenant
	// may make some that trust a cluster.
	maxTold = 10_000
)

// topic is what the agents of one cluster are told: the present state, and the
// changes that led to it. Nobody works on it but its streams: a change makes it
// stale, which wakes them, and the first one to look brings it up to date.
type topic struct {
	id, issuer string

	mu      sync.Mutex
	history string
	streams int
	// due is the revision up to which there may be changes, revision the one of
	// what is here.
	due, revision int64
	stale         bool
	gone          bool          // the cluster has ended, or has another issuer
	wake          chan struct{} // closed, and replaced, when the topic becomes stale

	cluster     channel.Cluster
	credentials map[string]channel.Credential
	snapshot    []byte // the whole state as lines; nil: to be made

	groups []group // the past, oldest first
	first  int     // the number of groups[0]
	bytes  int     // of all groups
	// forgotten is the revision at which, and before which, an agent can no more
	// resume: that of the last group that is no more kept.
	forgotten int64
}

// group is the changes of one revision, as lines.
type group struct {
	revision int64
	lines    []byte
}

// outdate says that there may be changes up to a revision.
func (t *topic) outdate(revision int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due, t.stale = max(t.due, revision), true
	t.wakeAll()
}

func (t *topic) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = true
	t.wakeAll()
}

func (t *topic) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}

func (t *topic) wakeAll() {
	close(t.wake)
	t.wake = make(chan struct{})
}

// cursor is where a stream is: the number of the next group.
type cursor int

// begin gives a stream what it has to be sent first, in pieces: what has changed since
// the revision of the history, or the whole state. ok is false when the cluster has
// ended. The pieces are shared by all streams: as many that lag would otherwise hold
// as many copies.
func (ts *topics) begin(t *topic, history string, revision int64) (lines [][]byte, at cursor, wake <-chan struct{}, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ts.refresh(t) {
		return nil, 0, nil, false
	}
	at, wake = cursor(t.first+len(t.groups)), t.wake
	if history == t.history && revision > t.forgotten && revision <= t.revision {
		// Also what is of that revision: what one transaction has changed may have
		// been seen in two parts. What the agent has already does no harm.
		for _, g := range t.groups {
			if g.revision >= revision {
				lines = append(lines, g.lines)
			}
		}
		// Nothing may have changed: the agent then hears that it is up to date.
		return append(lines, encode(channel.Change{Revision: t.revision, Kind: channel.KindSynced})), at, wake, true
	}
	if t.snapshot == nil {
		t.snapshot = t.whole()
	}
	return [][]byte{t.snapshot}, at, wake, true
}

// next gives a stream what has changed since its cursor, as [topics.begin] does. ok is
// false when the cluster has ended, or the stream lags behind what is kept.
func (ts *topics) next(t *topic, from cursor) (lines [][]byte, at cursor, wake <-chan struct{}, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ts.refresh(t) || int(from) < t.first {
		return nil, 0, nil, false
	}
	for _, g := range t.groups[int(from)-t.first:] {
		lines = append(lines, g.lines)
	}
	return lines, cursor(t.first + len(t.groups)), t.wake, true
}

// revisionNow is for heartbeats.
func (t *topic) revisionNow() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.revision
}

// refresh brings a topic up to date. The caller holds its lock. What is read from
// the views is at least as new as the revision that was due before the reading.
func (ts *topics) refresh(t *topic) bool {
	if t.gone {
		return false
	}
	if !t.stale {
		return true
	}
	t.stale = false
	t.revision = max(t.revision, t.due)
	e, ok := ts.clusters.entry(t.id)
	if !ok || e.issuer() != t.issuer {
		t.gone = true
		t.wakeAll()
		return false
	}
	cluster := clusterOf(e)
	now, all := told(ts.directory.Trusts(t.issuer), e.TenantID)
	cluster.Incomplete = !all
	t.take(cluster, now)
	return true
}

// told gives the credentials that agents are told of, and whether these are all.
// Where they are too many, those of the cluster's own tenant go first.
func told(trusts []directory.Trust, tenantID string) (credentials map[string]channel.Credential, all bool) {
	list := make([]channel.Credential, len(trusts))
	for i, trust := range trusts {
		list[i] = credentialOf(trust)
	}
	if all = len(list) <= maxTold; !all {
		foreign := func(c channel.Credential) int {
			if azure.EqualFold(c.TenantID, tenantID) {
				return 0
			}
			return 1
		}
		slices.SortFunc(list, func(a, b channel.Credential) int {
			return cmp.Or(cmp.Compare(foreign(a), foreign(b)), strings.Compare(a.ID, b.ID))
		})
		list = list[:maxTold]
	}
	credentials = make(map[string]channel.Credential, len(list))
	for _, c := range list {
		credentials[c.ID] = c
	}
	return credentials, all
}

// take makes a group of what is new.
func (t *topic) take(now channel.Cluster, credentials map[string]channel.Credential) {
	was, before := t.cluster, t.credentials
	t.cluster, t.credentials = now, credentials
	if before == nil {
		t.forgotten = t.revision - 1 // the history begins here
		return
	}
	var lines []byte
	add := func(c channel.Change) {
		c.Revision = t.revision
		lines = append(lines, encode(c)...)
	}
	if !equalClusters(was, now) {
		add(channel.Change{Kind: channel.KindCluster, Cluster: &now})
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, ok := credentials[id]; !ok {
			add(channel.Change{Kind: channel.KindCredentialGone, Credential: &channel.Credential{ID: id}})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(credentials)) {
		c := credentials[id]
		if old, ok := before[id]; !ok || !equalCredentials(old, c) {
			add(channel.Change{Kind: channel.KindCredential, Credential: &c})
		}
	}
	if lines == nil {
		return
	}
	add(channel.Change{Kind: channel.KindSynced})
	t.snapshot = nil
	t.groups = append(t.groups, group{t.revision, lines})
	t.bytes += len(lines)
	for len(t.groups) > keptGroups || t.bytes > keptBytes && len(t.groups) > 1 {
		t.bytes -= len(t.groups[0].lines)
		t.forgotten = t.groups[0].revision
		t.groups[0] = group{}
		t.groups, t.first = t.groups[1:], t.first+1
	}
}

// whole encodes the whole state.
func (t *topic) whole() []byte {
	lines := encode(channel.Change{Revision: t.revision, Kind: channel.KindReset, History: t.history})
	lines = append(lines, encode(channel.Change{Revision: t.revision, Kind: channel.KindCluster, Cluster: &t.cluster})...)
	for _, id := range slices.Sorted(maps.Keys(t.credentials)) {
		c := t.credentials[id]
		lines = append(lines, encode(channel.Change{Revision: t.revision, Kind: channel.KindCredential, Credential: &c})...)
	}
	return append(lines, encode(channel.Change{Revision: t.revision, Kind: channel.KindSynced})...)
}
