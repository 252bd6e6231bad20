package cluster_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/channel/channeltest"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

const subject = "system:serviceaccount:shop:orders"

// TestAgentsAreTold: an agent is told of the credentials that trust its cluster,
// of whatever tenant and kind, and of no others; and of every way in which one
// ends, by the real client over TLS.
func TestAgentsAreTold(t *testing.T) {
	w := newWorld(t)
	w.serve()
	key := signers[0]()
	c, other := w.attached("east", key), w.attached("west", signers[1]())
	orders := w.identity(cloudtest.TenantID, "orders")
	app, sp := w.Application(cloudtest.OtherTenantID, "billing")
	w.trust(cloudtest.TenantID, orders.ObjectID, "one", c.IssuerURL, subject)
	w.trust(cloudtest.TenantID, orders.ObjectID, "elsewhere", other.IssuerURL, subject)
	w.trust(cloudtest.TenantID, orders.ObjectID, "public", "https://token.example", subject)

	state := w.follow(c, w.token(c, key)).State()
	has := func(p directory.Principal) bool { return len(state.Credentials(p.AppID, subject)) == 1 }
	channeltest.Until(t, state, "the state is synced", state.Synced)
	got, _ := state.Cluster()
	want := channel.Cluster{ID: c.ID, ResourceID: c.ResourceID, TenantID: c.TenantID, IssuerURL: c.IssuerURL, KeyIDs: []string{"one"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if list := state.ClientCredentials(orders.AppID); len(list) != 1 || list[0].Name != "orders/one" || list[0].Audiences[0] != "api://AzureADTokenExchange" {
		t.Errorf("told of %+v", list)
	}
	if !state.TenantKnown(cloudtest.TenantID) || state.TenantKnown(cloudtest.OtherTenantID) {
		t.Error("told of the wrong tenants")
	}

	w.trust(cloudtest.OtherTenantID, app.ObjectID, "two", c.IssuerURL, subject)
	channeltest.Until(t, state, "an application's credential comes", func() bool { return has(sp) && state.TenantKnown(cloudtest.OtherTenantID) })
	enabled := func(tenant, id string, disabled bool) {
		w.Update(func(tx *store.Tx) error { return w.Directory.SetDisabled(tx, tenant, id, disabled) })
	}
	enabled(cloudtest.OtherTenantID, sp.ObjectID, true)
	channeltest.Until(t, state, "the service principal is disabled", func() bool { return !has(sp) })
	enabled(cloudtest.OtherTenantID, sp.ObjectID, false)
	channeltest.Until(t, state, "it is enabled again", func() bool { return has(sp) })
	w.Update(func(tx *store.Tx) error { return w.Directory.DeletePrincipal(tx, cloudtest.OtherTenantID, sp.ObjectID) })
	channeltest.Until(t, state, "the application is deleted", func() bool { return !has(sp) && !state.TenantKnown(cloudtest.OtherTenantID) })

	w.trust(cloudtest.TenantID, orders.ObjectID, "one", other.IssuerURL, subject+"-2")
	channeltest.Until(t, state, "the credential trusts another cluster", func() bool { return !has(orders) })
	w.trust(cloudtest.TenantID, orders.ObjectID, "one", c.IssuerURL, subject)
	channeltest.Until(t, state, "it trusts this one again", func() bool { return has(orders) })
	w.Update(func(tx *store.Tx) error {
		_, err := w.Directory.DeleteFederatedCredential(tx, cloudtest.TenantID, orders.ObjectID, "one")
		return err
	})
	channeltest.Until(t, state, "it is deleted", func() bool { return !has(orders) })
	w.enroll(c, []string{agentSubject}, key, signers[2]())
	channeltest.Until(t, state, "a key is added", func() bool {
		now, _ := state.Cluster()
		return slices.Equal(now.KeyIDs, []string{"one", "three"})
	})
	w.Update(func(tx *store.Tx) error { return w.clusters.Delete(tx, c.ID, c.ResourceID) })
	channeltest.Until(t, state, "the cluster is deleted", func() bool { return !state.Synced() })
}

// TestStreamOutlivesRequests: neither of the server's times for a request ends a
// stream, nor that for a write when nothing is written, over HTTP/1.1 and HTTP/2.
func TestStreamOutlivesRequests(t *testing.T) {
	// Time enough for a handshake and a write on a busy machine, and gone before the
	// next heartbeat.
	const limit = 2 * time.Second
	w := newWorldOf(t, limit+limit/4, limit)
	w.serveWithin(limit)
	key := signers[0]()
	c := w.attached("east", key)
	h1 := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.ca, MinVersion: tls.VersionTLS12}}
	t.Cleanup(h1.CloseIdleConnections)
	for name, transport := range map[string]http.RoundTripper{"HTTP/1.1": h1, "HTTP/2": w.client.Transport} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same := *w
			same.Cloud, same.client = w.In(t), &http.Client{Transport: transport}
			s := same.stream(c, w.token(c, key), "")
			s.group()
			for range 2 {
				var line channel.Change
				if err := s.dec.Decode(&line); err != nil || line.Kind != channel.KindHeartbeat {
					t.Fatalf("%+v %v", line, err)
				}
			}
			if last := w.metric(t, "lanyard_agent_streams"); last < 1 {
				t.Errorf("%v streams are counted", last)
			}
		})
	}
}

// metric gives a metric without labels.
func (w *world) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	cloudtest.Must(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// resume is the query by which a stream goes on.
func resume(history string, revision int64) string {
	return "?" + url.Values{channel.HistoryParameter: {history}, channel.RevisionParameter: {strconv.FormatInt(revision, 10)}}.Encode()
}

// TestResumption: an agent that comes back is told what has changed, and the whole
// state where the cloud does not know that any more.
func TestResumption(t *testing.T) {
	w := newWorld(t)
	w.serve()
	key := signers[0]()
	c := w.attached("east", key)
	raw := w.token(c, key)
	orders := w.identity(cloudtest.TenantID, "orders")
	first := w.stream(c, raw, "")
	reset, _ := first.next()
	if reset.Kind != channel.KindReset || reset.History == "" {
		t.Fatalf("begins with %+v", reset)
	}
	_, begun := first.group()
	w.trust(cloudtest.TenantID, orders.ObjectID, "one", c.IssuerURL, subject)
	lines, one := first.group()
	if diff := cmp.Diff([]string{"credential orders/one"}, lines); diff != "" || one.Revision <= begun.Revision {
		t.Fatalf("from %d to %d: %s", begun.Revision, one.Revision, diff)
	}
	first.body.Close()
	w.trust(cloudtest.TenantID, orders.ObjectID, "two", c.IssuerURL, subject+"-2")
	// Names come back, but the ID is what a credential goes by.
	w.Update(func(tx *store.Tx) error {
		_, err := w.Directory.DeleteFederatedCredential(tx, cloudtest.TenantID, orders.ObjectID, "one")
		return err
	})
	whole := []string{"reset", "cluster", "credential orders/two"}
	for _, tt := range []struct {
		name, query string
		want        []string
	}{
		{"from the beginning", resume(reset.History, begun.Revision), nil},
		{"from the last", resume(reset.History, one.Revision), nil},
		{"another history", resume("another", one.Revision), whole},
		{"the future", resume(reset.History, one.Revision+1000), whole},
		{"before the beginning", resume(reset.History, max(begun.Revision-1, 0)), whole},
		{"anew", "", whole},
	} {
		s := w.stream(c, raw, tt.query)
		lines, last := s.group()
		if tt.want != nil {
			if diff := cmp.Diff(tt.want, lines); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
		} else if !s.knows(lines) {
			t.Errorf("%s: %v", tt.name, lines)
		}
		if last.Revision < one.Revision {
			t.Errorf("%s: at %d", tt.name, last.Revision)
		}
		s.body.Close()
	}
	for _, query := range []string{"?history=x", "?revision=1", "?history=x&revision=x", "?history=x&revision=-1", "?history=" + fmt.Sprintf("%065d", 0) + "&revision=1"} {
		if a := w.ask(http.MethodGet, channel.ChangesPath(c.ID)+query, raw, ""); a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, a.Status, a.Body)
		}
	}
}

// knows reads on until the stream has told that "one" has gone and "two" has come:
// it may be in one group or in several.
func (s *stream) knows(lines []string) bool {
	s.tb.Helper()
	for !slices.Contains(lines, "credentialGone") || !slices.Contains(lines, "credential orders/two") {
		if slices.Contains(lines, "reset") {
			return false
		}
		more, _ := s.group()
		lines = append(lines, more...)
	}
	return true
}

// TestResumedStateIsTheState: whatever happens between an agent's streams, what it
// knows after each is what the cloud does.
func TestResumedStateIsTheState(t *testing.T) {
	w := newWorld(t)
	w.serve()
	key := signers[0]()
	c := w.attached("east", key)
	raw := w.token(c, key)
	orders := w.identity(cloudtest.TenantID, "orders")
	known := map[string]string{}
	query, history := "", ""
	for round := range 12 {
		var want []string
		for _, trust := range w.Directory.Trusts(c.IssuerURL) {
			want = append(want, trust.DisplayName+"/"+trust.Credential.Name)
		}
		slices.Sort(want)
		s := w.stream(c, raw, query)
		for synced := false; !synced || !slices.Equal(slices.Sorted(maps.Values(known)), want); {
			change, ok := s.next()
			if !ok {
				t.Fatalf("round %d: the agent knows %v, the cloud %v", round, known, want)
			}
			synced = false
			switch change.Kind {
			case channel.KindReset:
				if round > 0 {
					t.Fatal("a replica forgot its own history")
				}
				history = change.History
			case channel.KindCredential:
				known[change.Credential.ID] = change.Credential.Name
			case channel.KindCredentialGone:
				delete(known, change.Credential.ID)
			case channel.KindSynced:
				query, synced = resume(history, change.Revision), true
			}
		}
		s.body.Close()
		w.trust(cloudtest.TenantID, orders.ObjectID, fmt.Sprintf("c-%d", round), c.IssuerURL, fmt.Sprint(subject, round))
		if round%3 == 2 {
			w.Update(func(tx *store.Tx) error {
				_, err := w.Directory.DeleteFederatedCredential(tx, cloudtest.TenantID, orders.ObjectID, fmt.Sprintf("c-%d", round-1))
				return err
			})
		}
	}
}

// TestStreamsEnd: with the enrolment, the key, the cluster and the cloud, as soon as
// they do, and not with the next heartbeat only.
func TestStreamsEnd(t *testing.T) {
	w := newWorldOf(t, time.Hour, time.Minute)
	w.serve()
	key := signers[0]()
	for _, tt := range []struct {
		name string
		end  func(c cluster.Cluster)
	}{
		{"agent", func(c cluster.Cluster) { w.enroll(c, []string{"system:serviceaccount:x:y"}, key) }},
		{"key", func(c cluster.Cluster) { w.enroll(c, []string{agentSubject}, signers[1]()) }},
		{"cluster", func(c cluster.Cluster) {
			w.Update(func(tx *store.Tx) error { return w.clusters.Delete(tx, c.ID, c.ResourceID) })
		}},
		{"issuer", func(c cluster.Cluster) {
			c.IssuerEnabled = false
			w.Update(func(tx *store.Tx) error { _, err := w.clusters.Put(tx, c); return err })
		}},
		{"cloud", func(cluster.Cluster) { w.channel.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := w.attached(tt.name, key)
			s := w.stream(c, w.token(c, key), "")
			s.group()
			tt.end(c)
			s.ended()
		})
	}
}

// TestStreamsEndWithTheirToken: and not with the request that they began with.
func TestStreamsEndWithTheirToken(t *testing.T) {
	w := newWorld(t)
	w.serve()
	key := signers[0]()
	c := w.attached("east", key)
	s := w.stream(c, w.token(c, key), "")
	s.group()
	w.Clock.Advance(59 * time.Minute)
	orders := w.identity(cloudtest.TenantID, "orders")
	w.trust(cloudtest.TenantID, orders.ObjectID, "one", c.IssuerURL, subject)
	s.group()
	w.Clock.Advance(time.Minute)
	s.ended()
}

// TestClusterComesBack: a cluster whose streams ended can be enrolled again, and
// its agents have the new state.
func TestClusterComesBack(t *testing.T) {
	w := newWorld(t)
	w.serve()
	key := signers[0]()
	c := w.attached("east", key)
	state := w.follow(c, w.token(c, key)).State()
	channeltest.Until(t, state, "the state is synced", state.Synced)
	off := c
	off.IssuerEnabled = false
	for range 3 {
		w.Update(func(tx *store.Tx) error { _, err := w.clusters.Put(tx, off); return err })
		channeltest.Until(t, state, "the agent is refused", func() bool { return !state.Synced() })
		w.Update(func(tx *store.Tx) error { _, err := w.clusters.Put(tx, c); return err })
		channeltest.Until(t, state, "the agent is back", state.Synced)
	}
}

// TestReplicas: a change that one replica writes reaches the agents of another,
// and an agent that comes to another replica begins anew.
func TestReplicas(t *testing.T) {
	w := newWorld(t)
	key := signers[0]()
	// Another replica has views of its own over the same store.
	dir, err := directory.Open(t.Context(), w.Store, w.Azure, w.Clock.Now)
	cloudtest.Must(t, err)
	second := &world{Cloud: w.Cloud, heartbeat: w.heartbeat, patience: w.patience}
	second.open(dir)
	w.serve()
	second.serve()
	c := w.attached("east", key)
	raw := w.token(c, key)
	orders := w.identity(cloudtest.TenantID, "orders")
	state := second.follow(c, raw).State()
	channeltest.Until(t, state, "the state is synced", state.Synced)
	w.trust(cloudtest.TenantID, orders.ObjectID, "one", c.IssuerURL, subject)
	channeltest.Until(t, state, "the credential comes", func() bool { return len(state.Credentials(orders.AppID, subject)) == 1 })

	s := w.stream(c, raw, "")
	reset, _ := s.next()
	_, last := s.group()
	moved := second.stream(c, raw, resume(reset.History, last.Revision))
	if line, _ := moved.next(); line.Kind != channel.KindReset || line.History == reset.History {
		t.Errorf("on the other replica the stream begins with %+v", line)
	}
}

// stuck is an agent that reads nothing: a write ends with its deadline.
type stuck struct {
	header   http.Header
	deadline time.Time
	bounded  bool
}

func (s *stuck) Header() http.Header                { return s.header }
func (s *stuck) WriteHeader(int)                    {}
func (s *stuck) SetWriteDeadline(d time.Time) error { s.deadline, s.bounded = d, true; return nil }
func (s *stuck) FlushError() error                  { return nil }
func (s *stuck) Write([]byte) (int, error) {
	if s.deadline.IsZero() {
		return 0, errors.New("the write would never end")
	}
	timer := time.NewTimer(time.Until(s.deadline))
	defer timer.Stop()
	<-timer.C
	return 0, os.ErrDeadlineExceeded
}

// TestSlowReaderIsCut: an agent that does not read holds nothing for longer than
// the time for one write.
func TestSlowReaderIsCut(t *testing.T) {
	w := newWorldOf(t, time.Hour, 50*time.Millisecond)
	key := signers[0]()
	c := w.attached("east", key)
	r := w.Request("", http.MethodGet, w.Azure.Agents()+channel.ChangesPath(c.ID), "")
	r.Header.Set("Authorization", "Bearer "+w.token(c, key))
	out := &stuck{header: http.Header{}}
	w.channel.ServeHTTP(out, r) // which ends
	if !out.bounded {
		t.Error("nothing was written within a time")
	}
	if n := w.metric(t, "lanyard_agent_streams"); n != 0 {
		t.Errorf("%v streams are left", n)
	}
}
