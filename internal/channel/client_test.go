package channel_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/channel/channeltest"
)

const clusterID = "11111111-2222-3333-4444-555555555555"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCloud answers each stream by hand: a test takes it from streams, has lines
// written and ends it.
type fakeCloud struct {
	server  *httptest.Server
	streams chan *stream
	reports chan channel.Report
}

type stream struct {
	query string
	token string
	// writes are done by the handler, until the channel is closed.
	writes chan func(http.ResponseWriter)
	// cut: the client may leave while it is written to.
	cut bool
}

func newFakeCloud(t *testing.T) *fakeCloud {
	t.Helper()
	c := &fakeCloud{streams: make(chan *stream), reports: make(chan channel.Report, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+channel.ChangesPath(clusterID), func(w http.ResponseWriter, r *http.Request) {
		s := &stream{query: r.URL.RawQuery, token: r.Header.Get("Authorization"), writes: make(chan func(http.ResponseWriter), 8)}
		select {
		case c.streams <- s:
		case <-r.Context().Done():
			return
		}
		for {
			select {
			case write, ok := <-s.writes:
				if !ok {
					return
				}
				write(w)
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("POST "+channel.ReportsPath(clusterID), func(w http.ResponseWriter, r *http.Request) {
		var report channel.Report
		if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
			t.Error(err)
		}
		switch report.Component {
		case "refused":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"error":{"code":"AgentNotEnrolled","message":"enrol it"}}`)
		case "redirected":
			http.Redirect(w, r, "https://elsewhere.invalid/", http.StatusTemporaryRedirect)
		default:
			c.reports <- report
			fmt.Fprint(w, "{}")
		}
	})
	c.server = httptest.NewTLSServer(mux)
	t.Cleanup(c.server.Close)
	return c
}

func (c *fakeCloud) next(t *testing.T) *stream {
	t.Helper()
	select {
	case s := <-c.streams:
		return s
	case <-time.After(time.Minute):
		t.Fatal("the client does not dial")
		return nil
	}
}

func (s *stream) send(t *testing.T, changes ...channel.Change) {
	t.Helper()
	var lines []byte
	for _, change := range changes {
		line, err := json.Marshal(change)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	s.writes <- func(w http.ResponseWriter) {
		_, err := w.Write(lines)
		if err := errors.Join(err, http.NewResponseController(w).Flush()); err != nil && !s.cut {
			t.Error(err)
		}
	}
}

func (s *stream) end() { close(s.writes) }

func (s *stream) refuse(status int, code string) {
	s.writes <- func(w http.ResponseWriter) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"code":%q,"message":"no"}}`, code)
	}
	s.end()
}

// start runs a client until the test ends.
func (c *fakeCloud) start(t *testing.T, adjust func(*channel.ClientConfig)) (*channel.Client, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	writeToken(t, file, "first")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.server.Certificate().Raw}))
	cfg := channel.ClientConfig{Endpoint: c.server.URL, ClusterID: clusterID, TokenFile: file, CAs: pool}
	if adjust != nil {
		adjust(&cfg)
	}
	return channeltest.Run(t, cfg), file
}

func writeToken(t *testing.T, file, token string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func reset(history string) channel.Change {
	return channel.Change{Kind: channel.KindReset, History: history}
}

func cluster() channel.Change {
	return channel.Change{Kind: channel.KindCluster, Cluster: &channel.Cluster{ID: clusterID, TenantID: "Tenant-1"}}
}

func credential(id, client, subject string) channel.Change {
	return channel.Change{Kind: channel.KindCredential, Credential: &channel.Credential{
		ID: id, ClientID: client, TenantID: "tenant-2", Name: "id/" + id, Subject: subject, Flexible: subject == "",
	}}
}

func gone(id string) channel.Change {
	return channel.Change{Kind: channel.KindCredentialGone, Credential: &channel.Credential{ID: id}}
}

func synced(revision int64) channel.Change {
	return channel.Change{Kind: channel.KindSynced, Revision: revision}
}

func ids(list []channel.Credential) []string {
	out := []string{}
	for _, c := range list {
		out = append(out, c.ID)
	}
	return out
}

func TestStateFollowsStream(t *testing.T) {
	cloud := newFakeCloud(t)
	client, _ := cloud.start(t, nil)
	state := client.State()
	if state.Synced() || state.TenantKnown("tenant-1") {
		t.Fatal("a state before any stream")
	}
	s := cloud.next(t)
	s.send(t, reset("h"), cluster(), credential("a", "APP-1", "ns:a"), credential("b", "app-1", "ns:b"), credential("f", "app-1", ""))
	if state.Synced() {
		t.Fatal("half a state is shown")
	}
	s.send(t, synced(5))
	channeltest.Until(t, state, "the state is synced", state.Synced)
	if diff := cmp.Diff([]string{"a", "f"}, ids(state.Credentials("App-1", "ns:a"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"f"}, ids(state.Credentials("app-1", "NS:A"))); diff != "" {
		t.Errorf("subjects are compared to the letter: %s", diff)
	}
	if !state.TenantKnown("tenant-1") || !state.TenantKnown("TENANT-2") || state.TenantKnown("tenant-3") {
		t.Error("wrong tenants")
	}
	if c, ok := state.Cluster(); !ok || c.ID != clusterID {
		t.Errorf("cluster %+v %v", c, ok)
	}

	s.send(t, gone("a"), channel.Change{Kind: "unheardOf"}, credential("b", "app-1", "ns:c"), synced(6))
	channeltest.Until(t, state, "a is revoked", func() bool { return len(state.Credentials("app-1", "ns:a")) == 1 })
	if diff := cmp.Diff([]string{"b", "f"}, ids(state.Credentials("app-1", "ns:c"))); diff != "" {
		t.Error(diff)
	}
	if len(state.ClientCredentials("app-1")) != 2 || len(state.ClientCredentials("app-2")) != 0 {
		t.Errorf("credentials of the client: %v", state.ClientCredentials("app-1"))
	}
	s.end()
}

func TestClientResumes(t *testing.T) {
	cloud := newFakeCloud(t)
	client, file := cloud.start(t, nil)
	state := client.State()
	s := cloud.next(t)
	if s.query != "" || s.token != "Bearer first" {
		t.Fatalf("the first stream: %q %q", s.query, s.token)
	}
	s.send(t, reset("h1"), cluster(), credential("a", "app", "ns:a"), synced(5))
	channeltest.Until(t, state, "the state is synced", state.Synced)
	// Half a group, then the end: nothing of it counts.
	s.send(t, gone("a"))
	writeToken(t, file, "second")
	s.end()

	s = cloud.next(t)
	if n, live := state.Stream(); n != 1 || live {
		t.Errorf("between two streams: stream %d, live %v", n, live)
	}
	if s.query != "history=h1&revision=5" || s.token != "Bearer second" {
		t.Fatalf("the second stream: %q %q", s.query, s.token)
	}
	if len(state.Credentials("app", "ns:a")) != 1 {
		t.Fatal("half a group of changes was taken, or the state was lost with the stream")
	}
	s.send(t, gone("a"), synced(9))
	channeltest.Until(t, state, "a is revoked", func() bool { return len(state.Credentials("app", "ns:a")) == 0 })
	if n, live := state.Stream(); n != 2 || !live {
		t.Errorf("in the second stream: stream %d, live %v", n, live)
	}
	s.end()

	// Another replica does not know the history.
	s = cloud.next(t)
	if s.query != "history=h1&revision=9" {
		t.Fatalf("the third stream: %q", s.query)
	}
	s.send(t, reset("h2"), cluster(), credential("b", "app", "ns:b"), synced(2))
	channeltest.Until(t, state, "b is there", func() bool { return len(state.Credentials("app", "ns:b")) == 1 })
	s.end()
	if s = cloud.next(t); s.query != "history=h2&revision=2" {
		t.Fatalf("the fourth stream: %q", s.query)
	}
	s.end()
}

func TestSilenceIsNoticed(t *testing.T) {
	cloud := newFakeCloud(t)
	client, _ := cloud.start(t, func(cfg *channel.ClientConfig) { cfg.Silence = 50 * time.Millisecond })
	// A stream stays open and nothing comes: the client dials again by itself. On a
	// busy machine it may do so before it has read what was sent, and begins anew.
	s := cloud.next(t)
	for range 100 {
		if s.query != "" {
			break
		}
		s.cut = true
		s.send(t, reset("h"), cluster(), synced(1))
		s = cloud.next(t)
	}
	if s.query != "history=h&revision=1" {
		t.Fatalf("the last stream: %q", s.query)
	}
	s.end()
	if !client.State().Synced() {
		t.Fatal("the state was lost with the stream")
	}
}

func TestRefusalVoidsState(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		cloud := newFakeCloud(t)
		client, _ := cloud.start(t, nil)
		state := client.State()
		s := cloud.next(t)
		s.send(t, reset("h"), cluster(), synced(1))
		channeltest.Until(t, state, "the state is synced", state.Synced)
		s.end()
		cloud.next(t).refuse(http.StatusServiceUnavailable, "Busy")
		s = cloud.next(t)
		if !state.Synced() || s.query == "" {
			t.Fatal("a cloud that is busy made the state void")
		}
		s.refuse(status, "Gone")
		channeltest.Until(t, state, "the state is void", func() bool { return !state.Synced() })
		if s = cloud.next(t); s.query != "" {
			t.Fatalf("after a refusal the stream begins anew, not at %q", s.query)
		}
		s.end()
	}
}

func TestBrokenStreamIsNotBelieved(t *testing.T) {
	for name, bad := range map[string][]channel.Change{
		"changes without a reset": {gone("a")},
		"backwards":               {synced(4)},
		"no cluster":              {reset("h"), synced(9)},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := newFakeCloud(t)
			client, _ := cloud.start(t, nil)
			s := cloud.next(t)
			if name != "changes without a reset" {
				s.send(t, reset("h"), cluster(), credential("a", "app", "ns:a"), synced(5))
				channeltest.Until(t, client.State(), "the state is synced", client.State().Synced)
			}
			s.send(t, bad...)
			if s = cloud.next(t); s.query != "" {
				t.Fatalf("the stream is resumed at %q after a broken one", s.query)
			}
			s.end()
		})
	}
}

func TestReport(t *testing.T) {
	cloud := newFakeCloud(t)
	client, file := cloud.start(t, nil)
	want := channel.Report{Component: "webhook", NodeCount: 3, Unmutated: &[]channel.UnmutatedPod{}}
	if err := client.Report(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, <-cloud.reports); diff != "" {
		t.Error(diff)
	}
	err := client.Report(t.Context(), channel.Report{Component: "refused"})
	if refused, ok := errors.AsType[*channel.RefusedError](err); !ok || refused.Status != 403 || refused.Code != "AgentNotEnrolled" || refused.Message != "enrol it" {
		t.Errorf("a refused report: %v", err)
	}
	// The token goes to the cloud alone: no redirect is followed.
	err = client.Report(t.Context(), channel.Report{Component: "redirected"})
	if refused, ok := errors.AsType[*channel.RefusedError](err); !ok || refused.Status != http.StatusTemporaryRedirect {
		t.Errorf("a redirected report: %v", err)
	}
	for _, bad := range []string{"", "two words", "line\nbreak", "nül"} {
		writeToken(t, file, bad)
		if err := client.Report(t.Context(), want); err == nil {
			t.Errorf("a token file with %q was used", bad)
		}
	}
}

func TestNewClientRefuses(t *testing.T) {
	good := channel.ClientConfig{Endpoint: "https://agents.x", ClusterID: clusterID, TokenFile: "t"}
	for name, spoil := range map[string]func(*channel.ClientConfig){
		"plain http": func(c *channel.ClientConfig) { c.Endpoint = "http://agents.x" },
		"no host":    func(c *channel.ClientConfig) { c.Endpoint = "https://" },
		"a user":     func(c *channel.ClientConfig) { c.Endpoint = "https://u@agents.x" },
		"a path ID":  func(c *channel.ClientConfig) { c.ClusterID = "../x" },
		"no ID":      func(c *channel.ClientConfig) { c.ClusterID = "" },
		"no token":   func(c *channel.ClientConfig) { c.TokenFile = "" },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := channel.NewClient(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := channel.NewClient(good); err != nil {
		t.Error(err)
	}
}
