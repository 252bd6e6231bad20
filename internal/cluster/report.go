package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// Limits of reports.
const (
	maxReportBytes = 256 << 10
	// maxUnmutated is how many unmutated pods a report may name, and keptUnmutated
	// how many of them are kept by name; all are counted.
	maxUnmutated  = 1000
	keptUnmutated = 50
	maxVersion    = 128
	// maxSources is how many pods' reports are kept of a cluster. Those of pods that
	// are gone go when another pod reports for the first time.
	maxSources   = 64
	forgetReport = time.Hour
)

// report is the latest of a component in a pod, as it is stored.
type report struct {
	Time              time.Time `json:"time"`
	AgentVersion      string    `json:"agentVersion,omitempty"`
	KubernetesVersion string    `json:"kubernetesVersion,omitempty"`
	NodeCount         int       `json:"nodeCount,omitempty"`
	// Unmutated is nil where the report says nothing of them; UnmutatedCount counts
	// those too that are not kept.
	Unmutated      *[]channel.UnmutatedPod `json:"unmutated,omitempty"`
	UnmutatedCount int                     `json:"unmutatedCount,omitempty"`
}

// errGone is what is answered when a cluster ended while its agent was served.
func errGone() *azure.Error {
	return azure.Errorf(http.StatusForbidden, "ClusterNotEnrolled", "The cluster is not, or no more, enrolled for this agent.")
}

// checkReport refuses what is no report.
func checkReport(r channel.Report) error {
	refuse := func(format string, args ...any) error {
		return azure.Errorf(http.StatusBadRequest, "InvalidReport", format, args...)
	}
	switch {
	case !isName(r.Component) || len(r.Component) > 63 || strings.Contains(r.Component, "."):
		return refuse("The component '%.80s' is not of 1 to 63 letters, digits and dashes in lower case.", r.Component)
	case len(r.AgentVersion) > maxVersion || len(r.KubernetesVersion) > maxVersion:
		return refuse("A version has more than %d bytes.", maxVersion)
	case !printable(r.AgentVersion) || !printable(r.KubernetesVersion):
		return refuse("A version has a character that is not printable ASCII.")
	case r.NodeCount < 0:
		return refuse("The nodeCount %d is not possible.", r.NodeCount)
	case (r.Issuer == "") != (len(r.Keys) == 0):
		return refuse("A report has issuer and keys, or neither.")
	}
	if r.Unmutated == nil {
		return nil
	}
	if n := len(*r.Unmutated); n > maxUnmutated {
		return refuse("The report names %d unmutated pods; at most %d are taken.", n, maxUnmutated)
	}
	for _, pod := range *r.Unmutated {
		if !isName(pod.Namespace) || !isName(pod.Name) || len(pod.UID) > 64 {
			return refuse("An unmutated pod has a namespace, name or uid that no pod has.")
		}
	}
	return nil
}

// printable refuses what would be a command to a terminal: versions are shown on
// those of other people.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// takeReport keeps an agent's report, which was checked, and takes the keys in it
// where the cloud has assigned the issuer.
func (c *Clusters) takeReport(ctx context.Context, a agent, r channel.Report) error {
	var reported []token.VerificationKey
	if len(r.Keys) > 0 && a.cluster.assigned() {
		var err error
		if reported, _, err = readKeys(r.Keys); err != nil {
			return err
		}
	}
	var change keyChange
	_, err := c.store.Update(ctx, func(tx *store.Tx) (err error) {
		change, err = c.writeReport(tx, a, r, reported)
		return err
	})
	if err != nil {
		return err
	}
	return c.auditKeys(ctx, audit.Record{
		TenantID: a.cluster.TenantID, Action: "Microsoft.Kubernetes/connectedClusters/report", Scope: a.cluster.ResourceID,
		Detail: map[string]string{"issuer": a.cluster.IssuerURL, "agent": a.subject, "pod": a.pod},
	}, change)
}

// writeReport is the transaction of takeReport. What the agent proved is looked at
// again: the cluster may have ended meanwhile.
func (c *Clusters) writeReport(tx *store.Tx, a agent, r channel.Report, reported []token.VerificationKey) (change keyChange, err error) {
	id := a.cluster.ID
	rec, _, err := store.GetJSON[record](tx, key(records, id))
	if errors.Is(err, store.ErrNotFound) {
		return change, errGone()
	}
	if err != nil {
		return change, err
	}
	issuer := rec.issuer()
	if issuer == "" || issuer != a.cluster.issuer() || !slices.Contains(rec.Enrolment.AgentSubjects, a.subject) {
		return change, errGone()
	}
	if r.Issuer != "" && r.Issuer != issuer {
		return change, azure.Errorf(http.StatusConflict, "IssuerMismatch",
			"The API server says that its issuer is '%.200s', and the cluster is enrolled with '%s'. Tokens of the former will be refused: "+
				"set --service-account-issuer back, or enrol the cluster anew.", r.Issuer, issuer)
	}
	now := c.now().UTC()
	if reported != nil {
		var written bool
		if change, written, err = rec.mergeKeys(reported, now); err != nil {
			return change, err
		}
		if written {
			if err := store.PutJSON(tx, key(records, id), rec); err != nil {
				return change, err
			}
		}
	}
	kept := report{Time: now, AgentVersion: r.AgentVersion, KubernetesVersion: r.KubernetesVersion, NodeCount: r.NodeCount}
	if r.Unmutated != nil {
		kept.UnmutatedCount = len(*r.Unmutated)
		some := (*r.Unmutated)[:min(len(*r.Unmutated), keptUnmutated)]
		kept.Unmutated = &some
	}
	source := key(reports, id, r.Component, a.pod)
	if _, err := tx.Get(source); errors.Is(err, store.ErrNotFound) {
		if err := makeRoom(tx, id, now); err != nil {
			return change, err
		}
	} else if err != nil {
		return change, err
	}
	return change, store.PutJSON(tx, source, kept)
}

// makeRoom removes the reports of pods that are gone, and the oldest one when
// there are too many.
func makeRoom(tx *store.Tx, id string, now time.Time) error {
	var oldest time.Time
	n := 0
	err := dropReports(tx, id, func(_ string, r *report) bool {
		if r == nil || now.Sub(r.Time) >= forgetReport {
			return true
		}
		if n++; oldest.IsZero() || r.Time.Before(oldest) {
			oldest = r.Time
		}
		return false
	})
	if err != nil || n < maxSources {
		return err
	}
	return dropReports(tx, id, func(_ string, r *report) bool { return r != nil && r.Time.Equal(oldest) })
}

// dropReports removes those of a cluster's reports that goes says; it gets nil for
// one that cannot be read.
func dropReports(tx *store.Tx, id string, goes func(source string, r *report) bool) error {
	entries, err := tx.List(key(reports, id) + "/")
	if err != nil {
		return fmt.Errorf("listing the reports of cluster %s: %w", id, err)
	}
	for _, e := range entries {
		r := new(report)
		if json.Unmarshal(e.Value, r) != nil {
			r = nil
		}
		if goes(e.Key, r) {
			tx.Delete(e.Key)
		}
	}
	return nil
}
