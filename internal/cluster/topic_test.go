package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/directory"
)

// takeLines brings what was written to an agent into what it knows, as an agent
// does.
func takeLines(t *rapid.T, known map[string]channel.Credential, lines [][]byte) (reset bool, revision int64) {
	for line := range bytes.Lines(bytes.Join(lines, nil)) {
		var c channel.Change
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		switch c.Kind {
		case channel.KindReset:
			reset = true
			clear(known)
		case channel.KindCredential:
			known[c.Credential.ID] = *c.Credential
		case channel.KindCredentialGone:
			delete(known, c.Credential.ID)
		case channel.KindSynced:
			revision = c.Revision
		}
	}
	return reset, revision
}

// TestTopicModel: an agent that reads every group, or resumes from where it last
// was synced, knows what the topic knows; and what is kept of the past is bounded.
func TestTopicModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tp := &topic{history: "h", revision: 1, wake: make(chan struct{})}
		state := map[string]channel.Credential{}
		tp.take(channel.Cluster{ID: "c"}, maps.Clone(state))
		ts := &topics{}
		// Agents that left at some revision, with what they knew.
		type agent struct {
			known    map[string]channel.Credential
			revision int64
		}
		left := []agent{}
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			if rapid.Bool().Draw(t, "another revision") {
				tp.revision++ // else two groups have the same
			}
			for range rapid.IntRange(0, 3).Draw(t, "credentials") {
				id := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "id"))
				if rapid.Bool().Draw(t, "gone") {
					delete(state, id)
				} else {
					state[id] = channel.Credential{ID: id, Subject: fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "subject"))}
				}
			}
			tp.take(channel.Cluster{ID: "c"}, maps.Clone(state))
			if rapid.Bool().Draw(t, "an agent comes") {
				known := map[string]channel.Credential{}
				lines, _, _, _ := ts.begin(tp, "", 0)
				_, revision := takeLines(t, known, lines)
				left = append(left, agent{known, revision})
			}
		}
		if rapid.Bool().Draw(t, "much happens") {
			for range keptGroups {
				tp.revision++
				tp.take(channel.Cluster{ID: fmt.Sprint(tp.revision)}, maps.Clone(state))
			}
		}
		if len(tp.groups) > keptGroups || tp.bytes > keptBytes {
			t.Fatalf("%d groups of %d bytes are kept", len(tp.groups), tp.bytes)
		}
		for _, a := range left {
			lines, _, _, ok := ts.begin(tp, "h", a.revision)
			if !ok {
				t.Fatal("the topic has ended")
			}
			reset, revision := takeLines(t, a.known, lines)
			if reset != (a.revision <= tp.forgotten) {
				t.Fatalf("from %d, with all up to %d forgotten: reset %v", a.revision, tp.forgotten, reset)
			}
			if revision != tp.revision || !maps.EqualFunc(a.known, state, equalCredentials) {
				t.Fatalf("from %d: knows %v at %d, want %v at %d", a.revision, a.known, revision, state, tp.revision)
			}
		}
	})
}

// TestLaggingStreamIsCut: a stream whose next group is no more kept ends.
func TestLaggingStreamIsCut(t *testing.T) {
	tp := &topic{history: "h", revision: 1, wake: make(chan struct{})}
	ts := &topics{}
	tp.take(channel.Cluster{ID: "c"}, map[string]channel.Credential{})
	_, at, _, _ := ts.begin(tp, "", 0)
	for range keptGroups {
		tp.revision++
		tp.take(channel.Cluster{ID: fmt.Sprint(tp.revision)}, map[string]channel.Credential{})
	}
	if _, _, _, ok := ts.next(tp, at); !ok {
		t.Fatal("a stream was cut for which all is kept")
	}
	tp.revision++
	tp.take(channel.Cluster{}, map[string]channel.Credential{})
	if _, _, _, ok := ts.next(tp, at); ok {
		t.Fatal("a stream goes on behind what is kept")
	}
}

// TestStreamsAreBounded: one cluster's agents leave room for others.
func TestStreamsAreBounded(t *testing.T) {
	ts := &topics{byID: map[string]*topic{}, byIssuer: map[string]map[*topic]struct{}{}}
	enrolled := func(id string) *entry {
		url := "https://oidc/" + id
		return &entry{record: record{Cluster: Cluster{ID: id, IssuerEnabled: true, IssuerURL: url}, Enrolment: &enrolment{Issuer: url}}}
	}
	var one *topic
	for range maxStreams {
		if one = ts.join(enrolled("one")); one == nil {
			t.Fatal("there is no room for a stream")
		}
	}
	if ts.join(enrolled("one")) != nil {
		t.Fatal("there is room for one too many")
	}
	if ts.join(enrolled("two")) == nil {
		t.Fatal("another cluster has no room")
	}
	ts.leave(one)
	if ts.join(enrolled("one")) == nil {
		t.Fatal("a stream that ended left no room")
	}
}

// TestFloodsOfCredentials: whoever may make identities in some other tenant can have
// them trust a cluster, and its agents hear of those. They hear of so many, of their
// own tenant's first, and that these are not all.
func TestFloodsOfCredentials(t *testing.T) {
	const own, foreign = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
	trust := func(tenantID string, i int) directory.Trust {
		return directory.Trust{
			ClientID: "client", DisplayName: "identity",
			Credential: directory.FederatedCredential{TenantID: tenantID, Owner: fmt.Sprint("o", i), Name: "c", Subject: "s"},
		}
	}
	var trusts []directory.Trust
	for i := range maxTold - 1 {
		trusts = append(trusts, trust(foreign, i))
	}
	if credentials, all := told(append(trusts, trust(own, 0)), own); !all || len(credentials) != maxTold {
		t.Fatalf("%d credentials, all of them %v", len(credentials), all)
	}
	for i := range 100 {
		trusts = append(trusts, trust(foreign, maxTold+i), trust(own, i))
	}
	credentials, all := told(trusts, own)
	ours := 0
	for _, c := range credentials {
		if c.TenantID == own {
			ours++
		}
	}
	if all || len(credentials) != maxTold || ours != 100 {
		t.Errorf("%d credentials, %d of them of the own tenant, all of them %v", len(credentials), ours, all)
	}
}

// TestLaggingStreamsShare: one cluster has many streams, and whoever reads them slowly
// has each of them written all that is kept of the past.
func TestLaggingStreamsShare(t *testing.T) {
	tp := &topic{history: "h", revision: 1, wake: make(chan struct{})}
	ts := &topics{}
	tp.take(channel.Cluster{ID: "c"}, map[string]channel.Credential{})
	_, from, _, _ := ts.begin(tp, "", 0)
	for i := range 8 {
		tp.revision++
		tp.take(channel.Cluster{ID: fmt.Sprint(i)}, map[string]channel.Credential{"a": {ID: "a", Subject: strings.Repeat(fmt.Sprint(i), 100<<10)}})
	}
	held := make([][][]byte, 0, 2*maxStreams)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range maxStreams {
		next, _, _, ok := ts.next(tp, from)
		resumed, _, _, resumes := ts.begin(tp, "h", 1)
		if !ok || !resumes || len(next) != 8 || len(resumed) != 9 {
			t.Fatalf("%d pieces, %d of a stream that resumes", len(next), len(resumed))
		}
		held = append(held, next, resumed)
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / uint64(len(held)); n > 64<<10 {
		t.Errorf("each stream takes %d bytes", n)
	}
}
