package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/store"
)

// How a cluster is connected, in the words of Azure's connectivityStatus. Its
// other values do not occur: Expired is an agent whose certificate has ended on
// Azure, and agents have none here.
const (
	Connecting = "Connecting" // never heard of
	Connected  = "Connected"
	Offline    = "Offline"
)

const (
	// seenStep is how exactly the time is kept at which a cluster was last heard of.
	// A stream with a heartbeat every few seconds is a write a minute.
	seenStep = time.Minute
	// offlineAfter is after how long without a word a cluster is offline: three
	// reports, and three steps of the time that is kept.
	offlineAfter = 3 * channel.ReportSeconds * time.Second
)

// Status is what the cloud knows of a cluster by its agents.
type Status struct {
	// Enrolled tells that tokens and agents of the cluster are accepted; Issuer is
	// then the one of its tokens, and KeyIDs are those of its keys, for an issuer
	// that the cloud has assigned.
	Enrolled bool
	Issuer   string
	KeyIDs   []string
	// Connectivity is [Connecting], [Connected] or [Offline], and LastSeen when the
	// cluster was last heard of, to the minute; zero: never.
	Connectivity string
	LastSeen     time.Time
	// AgentVersion, KubernetesVersion and NodeCount are the latest reported; empty
	// and 0 where nobody has.
	AgentVersion, KubernetesVersion string
	NodeCount                       int
	// UnmutatedKnown tells that a report that is no older than a connected cluster's
	// has spoken of unmutated pods: UnmutatedCount of them, some of which are
	// Unmutated.
	UnmutatedKnown bool
	UnmutatedCount int
	Unmutated      []channel.UnmutatedPod
}

// Status gives what is known of a cluster, false if there is none of that ID. It
// reads memory: what another replica has heard follows within moments.
func (c *Clusters) Status(id string) (Status, bool) {
	now := c.now()
	c.mu.RLock()
	defer c.mu.RUnlock()
	id = azure.Fold(id)
	e := c.view.clusters[id]
	if e == nil {
		return Status{}, false
	}
	return c.view.status(id, e, now), true
}

func (v *view) status(id string, e *entry, now time.Time) Status {
	s := Status{Issuer: e.issuer(), KeyIDs: e.keys.IDs(), LastSeen: v.seen[id]}
	s.Enrolled = s.Issuer != ""
	latest := make([]*report, 0, len(v.reports[id]))
	for _, r := range v.reports[id] {
		latest = append(latest, r)
	}
	slices.SortFunc(latest, func(a, b *report) int { return b.Time.Compare(a.Time) })
	for _, r := range latest {
		if r.Time.After(s.LastSeen) {
			s.LastSeen = r.Time
		}
		if s.AgentVersion == "" {
			s.AgentVersion = r.AgentVersion
		}
		if s.KubernetesVersion == "" {
			s.KubernetesVersion = r.KubernetesVersion
		}
		if s.NodeCount == 0 {
			s.NodeCount = r.NodeCount
		}
		// Every replica of a component sees the whole cluster: the latest word counts.
		if r.Unmutated != nil && !s.UnmutatedKnown && now.Sub(r.Time) < offlineAfter {
			s.UnmutatedKnown, s.UnmutatedCount, s.Unmutated = true, r.UnmutatedCount, slices.Clone(*r.Unmutated)
		}
	}
	slices.SortFunc(s.Unmutated, func(a, b channel.UnmutatedPod) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	switch {
	case s.LastSeen.IsZero():
		s.Connectivity = Connecting
	case now.Sub(s.LastSeen) < offlineAfter:
		s.Connectivity = Connected
	default:
		s.Connectivity = Offline
	}
	return s
}

// touch notes that a cluster was heard of, unless that is known well enough.
func (c *Clusters) touch(ctx context.Context, id string) error {
	now := c.now().UTC()
	c.mu.RLock()
	last := c.view.seen[id]
	c.mu.RUnlock()
	if since := now.Sub(last); since >= 0 && since < seenStep {
		return nil
	}
	_, err := c.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Get(key(records, id)); errors.Is(err, store.ErrNotFound) {
			return nil // nothing is kept of a cluster that is gone
		} else if err != nil {
			return err
		}
		return store.PutJSON(tx, key(seenTimes, id), seen{Time: now})
	})
	return err
}
