package channel

import (
	"bytes"
	"encoding/json"
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
