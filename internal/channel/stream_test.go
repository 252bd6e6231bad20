package channel

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
)

// FuzzStream gives the intake lines of any shape: it does not panic, and never
// shows a state that lacks its cluster or its place in a history.
func FuzzStream(f *testing.F) {
	f.Add([]byte(`{"kind":"reset","history":"h"}` + "\n" + `{"kind":"cluster","cluster":{"id":"x"}}` + "\n" + `{"kind":"synced","revision":"1"}` + "\n"))
	f.Add([]byte(`{"kind":"credential","credential":null}` + "\n" + `{"kind":"synced","revision":"1"}`))
	f.Add([]byte(`{"kind":"reset"}` + "\n" + `{"kind":"cluster","cluster":{}}` + "\n" + `{"kind":"synced","revision":"-1"}` + "\n" + `{"kind":"credentialGone","credential":{}}`))
	f.Add([]byte("{\n\nnull\n[]\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		in := &intake{state: newState(), at: &position{}}
		clustered := false
		for line := range bytes.Lines(body) {
			var c Change
			if json.Unmarshal(line, &c) != nil {
				return
			}
			clustered = clustered || c.Kind == KindCluster && c.Cluster != nil
			if _, err := in.take(c); err != nil {
				return
			}
			if in.state.Synced() && !clustered {
				t.Fatal("a state without its cluster")
			}
		}
	})
}

// TestStateIsBounded: a cloud that somebody has taken over sends credentials without
// end, new ones or the same ones anew, each as long as a line may be. It does not fill
// the agent's memory, and what was known before stays.
func TestStateIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<19)
	for name, credential := range map[string]func(i int) Credential{
		"long subjects":  func(i int) Credential { return Credential{ID: strconv.Itoa(i), Subject: long} },
		"long IDs":       func(i int) Credential { return Credential{ID: strconv.Itoa(i) + long} },
		"many audiences": func(i int) Credential { return Credential{ID: strconv.Itoa(i), Audiences: make([]string, 1<<15)} },
		"empty ones":     func(i int) Credential { return Credential{ID: strconv.Itoa(i)} },
	} {
		t.Run(name, func(t *testing.T) {
			in := &intake{state: newState(), at: &position{}}
			for _, c := range []Change{{Kind: KindReset, History: "h"}, {Kind: KindCluster, Cluster: &Cluster{ID: "c"}}, {Kind: KindSynced, Revision: 1}} {
				if _, err := in.take(c); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 1 << 20 {
				c := credential(i)
				if _, err := in.take(Change{Kind: KindCredential, Revision: 2, Credential: &c}); errors.Is(err, errTooLarge) {
					if cluster, ok := in.state.Cluster(); !ok || cluster.ID != "c" {
						t.Error("what was known is lost")
					}
					return
				} else if err != nil {
					t.Fatal(err)
				}
			}
			t.Error("it takes all of it")
		})
	}
	t.Run("the same ones", func(t *testing.T) {
		in := &intake{state: newState(), at: &position{}}
		if _, err := in.take(Change{Kind: KindReset, History: "h"}); err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if _, err := in.take(Change{Kind: KindCredential, Credential: &Credential{ID: strconv.Itoa(i % 8), Subject: long}}); err != nil {
				t.Fatalf("after %d: %v", i, err)
			}
		}
	})
	t.Run("a long history", func(t *testing.T) { // which would be in the next request's address
		in := &intake{state: newState(), at: &position{}}
		if _, err := in.take(Change{Kind: KindReset, History: long}); !errors.Is(err, errTooLarge) {
			t.Errorf("the error is %v", err)
		}
	})
}
