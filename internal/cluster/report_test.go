package cluster_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/store"
)

// fromPod gives a token of another pod of the agents.
func (w *world) fromPod(c cluster.Cluster, key signer, pod string) string {
	w.TB.Helper()
	return w.token(c, key, kubernetes(func(k map[string]any) { k["pod"] = map[string]any{"name": pod, "uid": "u"} }))
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	key := signers[0]()
	c := w.attach("east")
	status := func() cluster.Status {
		t.Helper()
		s, ok := w.clusters.Status(strings.ToUpper(c.ID))
		if !ok {
			t.Fatal("there is no such cluster")
		}
		return s
	}
	if s := status(); s.Enrolled || s.Connectivity != cluster.Connecting {
		t.Errorf("made: %+v", s)
	}
	w.enroll(c, []string{agentSubject}, key)
	pods := []channel.UnmutatedPod{{Namespace: "shop", Name: "b", UID: "1"}, {Namespace: "shop", Name: "a", UID: "2"}}
	first := w.Clock.Now()
	w.report(c, w.fromPod(c, key, "one"), channel.Report{
		Component: "webhook", AgentVersion: "1.0", KubernetesVersion: "1.36", NodeCount: 3, Unmutated: &pods,
	}).Want(t, http.StatusOK)
	w.Clock.Advance(time.Second)
	w.report(c, w.fromPod(c, key, "two"), channel.Report{Component: "webhook", AgentVersion: "1.1"}).Want(t, http.StatusOK)
	want := cluster.Status{
		Enrolled: true, Issuer: c.IssuerURL, KeyIDs: []string{"one"}, Connectivity: cluster.Connected, LastSeen: first.Add(time.Second),
		AgentVersion: "1.1", KubernetesVersion: "1.36", NodeCount: 3, UnmutatedKnown: true, UnmutatedCount: 2,
		Unmutated: []channel.UnmutatedPod{pods[1], pods[0]},
	}
	if diff := cmp.Diff(want, status()); diff != "" {
		t.Error(diff)
	}
	text := w.gathered(t)
	for _, line := range []string{`lanyard_cluster_unmutated_pods cluster=` + c.ID + ` 2`, `lanyard_cluster_connected cluster=` + c.ID + ` 1`} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	// None is a word too, and the latest counts.
	w.report(c, w.fromPod(c, key, "three"), channel.Report{Component: "webhook", Unmutated: &[]channel.UnmutatedPod{}}).Want(t, http.StatusOK)
	w.Clock.Advance(time.Second)
	if s := status(); !s.UnmutatedKnown || s.UnmutatedCount != 0 {
		t.Errorf("none: %+v", s)
	}
	w.Clock.Advance(3 * time.Minute)
	if s := status(); s.Connectivity != cluster.Offline || s.UnmutatedKnown || s.AgentVersion != "1.1" {
		t.Errorf("after silence: %+v", s)
	}
	// Nothing is left of a cluster that is gone.
	w.Update(func(tx *store.Tx) error { return w.clusters.Delete(tx, c.ID, c.ResourceID) })
	if left := w.Entries("clusters/"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, ok := w.clusters.Status(c.ID); ok {
		t.Error("a deleted cluster has a status")
	}
}

// gathered prints the gauges, a line each.
func (w *world) gathered(t *testing.T) string {
	t.Helper()
	families, err := w.metrics.Gather()
	cloudtest.Must(t, err)
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			b.WriteString(f.GetName())
			for _, l := range m.GetLabel() {
				fmt.Fprintf(&b, " %s=%s", l.GetName(), l.GetValue())
			}
			fmt.Fprintf(&b, " %v\n", m.GetGauge().GetValue())
		}
	}
	return b.String()
}

// TestStreamsShowThatAClusterIsThere: at a bounded rate, heartbeats or not.
func TestStreamsShowThatAClusterIsThere(t *testing.T) {
	w := newWorld(t)
	w.serve()
	key := signers[0]()
	c := w.attached("east", key)
	s := w.stream(c, w.token(c, key), "")
	s.group()
	seen := func() time.Time {
		status, _ := w.clusters.Status(c.ID)
		return status.LastSeen
	}
	w.Eventually("the cluster is connected", func() bool { return !seen().IsZero() })
	first := seen()
	w.Clock.Advance(59 * time.Second)
	beat := func() {
		t.Helper()
		for range 3 {
			var line channel.Change
			cloudtest.Must(t, s.dec.Decode(&line))
		}
	}
	beat()
	if got := seen(); !got.Equal(first) {
		t.Errorf("the time was kept again after %v", got.Sub(first))
	}
	w.Clock.Advance(2 * time.Second)
	w.Eventually("the time is kept again", func() bool { return seen().After(first) })
}

// TestReportsAreBounded: in rate, in size, and in what is kept.
func TestReportsAreBounded(t *testing.T) {
	w := newWorld(t)
	key := signers[0]()
	c := w.attached("east", key)
	raw := w.token(c, key)
	w.report(c, raw, channel.Report{Component: "webhook"}).Want(t, http.StatusOK)
	if a := w.report(c, raw, channel.Report{Component: "webhook"}); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "5" {
		t.Errorf("a second report at once: %d %s", a.Status, a.Body)
	}
	w.report(c, raw, channel.Report{Component: "controller"}).Want(t, http.StatusOK)
	many := make([]channel.UnmutatedPod, 1001)
	for i := range many {
		many[i] = channel.UnmutatedPod{Namespace: "shop", Name: fmt.Sprint("p", i), UID: "u"}
	}
	all := many[:1000]
	w.report(c, w.fromPod(c, key, "many"), channel.Report{Component: "webhook", Unmutated: &all}).Want(t, http.StatusOK)
	if s, _ := w.clusters.Status(c.ID); s.UnmutatedCount != 1000 || len(s.Unmutated) != 50 {
		t.Errorf("%d unmutated pods, %d by name", s.UnmutatedCount, len(s.Unmutated))
	}
	for name, r := range map[string]any{
		"no component":        channel.Report{},
		"a path":              channel.Report{Component: "a/b"},
		"dots":                channel.Report{Component: "a.b"},
		"a long component":    channel.Report{Component: strings.Repeat("a", 64)},
		"a long version":      channel.Report{Component: "webhook", AgentVersion: strings.Repeat("1", 129)},
		"a terminal command":  channel.Report{Component: "webhook", KubernetesVersion: "v1.37.2\x1b]0;x\a"},
		"a broken version":    channel.Report{Component: "webhook", AgentVersion: "v1\u202e"},
		"too many pods":       channel.Report{Component: "webhook", Unmutated: &many},
		"a pod without name":  channel.Report{Component: "webhook", Unmutated: &[]channel.UnmutatedPod{{Namespace: "x"}}},
		"keys without issuer": channel.Report{Component: "webhook", Keys: keySet(t, key)},
		"issuer without keys": channel.Report{Component: "webhook", Issuer: c.IssuerURL},
		"fewer than no nodes": channel.Report{Component: "webhook", NodeCount: -1},
		"another type":        map[string]any{"component": 1},
	} {
		body, err := json.Marshal(r)
		cloudtest.Must(t, err)
		a := w.ask(http.MethodPost, channel.ReportsPath(c.ID), w.fromPod(c, key, "bad"), string(body))
		if a.Status != http.StatusBadRequest || a.ErrorCode() != "InvalidReport" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	large := `{"component":"webhook","x":"` + strings.Repeat("x", 256<<10) + `"}`
	if a := w.ask(http.MethodPost, channel.ReportsPath(c.ID), w.fromPod(c, key, "large"), large); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large report: %d %s", a.Status, a.Body)
	}
	// Pods come and go, and their reports with them.
	for i := range 80 {
		w.report(c, w.fromPod(c, key, fmt.Sprint("p-", i)), channel.Report{Component: "webhook"}).Want(t, http.StatusOK)
		w.Clock.Advance(time.Second)
	}
	if n := len(w.Entries("clusters/report/" + c.ID)); n > 64 {
		t.Errorf("%d reports are kept", n)
	}
	w.Clock.Advance(time.Hour)
	w.report(c, w.fromPod(c, key, "last"), channel.Report{Component: "webhook"}).Want(t, http.StatusOK)
	if n := len(w.Entries("clusters/report/" + c.ID)); n != 1 {
		t.Errorf("%d reports are kept after an hour", n)
	}
}

// TestChannelRoutes: nothing else is there.
func TestChannelRoutes(t *testing.T) {
	w := newWorld(t)
	key := signers[0]()
	c := w.attached("east", key)
	raw := w.token(c, key)
	for _, tt := range []struct {
		method, path string
		status       int
		code         string
	}{
		{http.MethodPost, channel.ChangesPath(c.ID), 405, "MethodNotAllowed"},
		{http.MethodGet, channel.ReportsPath(c.ID), 405, "MethodNotAllowed"},
		{http.MethodGet, "/", 404, "NotFound"},
		{http.MethodGet, "/v1/clusters/", 404, "NotFound"},
		{http.MethodGet, "/v1/clusters/" + c.ID, 404, "NotFound"},
		{http.MethodGet, "/v1/clusters/" + c.ID + "/changes/x", 404, "NotFound"},
		{http.MethodGet, "/v1/clusters/" + strings.ToUpper(c.ID) + "/changes", 404, "ClusterNotFound"},
		{http.MethodGet, "/v1/clusters//changes", 404, "ClusterNotFound"},
		{http.MethodGet, "/v1/clusters/a%2Fb/changes", 404, "ClusterNotFound"},
	} {
		if a := w.ask(tt.method, tt.path, raw, ""); a.Status != tt.status || a.ErrorCode() != tt.code {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, a.Status, a.Body)
		}
	}
}
