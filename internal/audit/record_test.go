package audit

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A JWT of nobody, in pieces so that no scanner takes it for a real one.
var jwt = "eyJ" + "hbGciOiJub25lIn0" + "." + "eyJzdWIiOiJ4In0" + "." + "c2ln"

func TestCleanField(t *testing.T) {
	long := strings.Repeat("é", maxField) // two bytes each
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"system:serviceaccount:ns:name", "system:serviceaccount:ns:name"},
		{jwt, redacted},
		{"Bearer " + jwt + " was refused", "Bearer " + redacted + " was refused"},
		{jwt + "," + jwt, redacted + "," + redacted},
		{"eyJ is only how one begins", "eyJ is only how one begins"},
		{"eyJa.b", "eyJa.b"},
		{strings.Repeat("x", maxField), strings.Repeat("x", maxField)},
		{strings.Repeat("x", maxField+1), strings.Repeat("x", maxField) + "…"},
		{"a" + long, "a" + strings.Repeat("é", maxField/2-1) + "…"},
	} {
		if diff := cmp.Diff(c.want, cleanField(c.in)); diff != "" {
			t.Errorf("%.40q: %s", c.in, diff)
		}
	}
}

func TestCleanLeavesTheCallersMap(t *testing.T) {
	detail := map[string]string{"audience": jwt, "grant": "x"}
	before := maps.Clone(detail)
	r := Record{Detail: detail, Reason: "token " + jwt}
	r.clean()
	want := Record{Detail: map[string]string{"audience": redacted, "grant": "x"}, Reason: "token " + redacted}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, detail); diff != "" {
		t.Error(diff)
	}
}

// Whatever a stranger sends: the line is one line of JSON, without a token.
func TestEncodeAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[eyJ.a ]{0,30}`), rapid.Just(jwt), rapid.Just("\n\x00\xff"))
		r := Record{
			Kind:   KindToken,
			AppID:  text.Draw(t, "appId"),
			Reason: text.Draw(t, "a") + text.Draw(t, "b"),
			Detail: rapid.MapOf(text, text).Draw(t, "detail"),
		}
		r.clean()
		e := encoders.Get().(*encoder)
		defer encoders.Put(e)
		line, err := e.encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(line), "\n"); n != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("%d lines: %q", n, line)
		}
		if !utf8.Valid(line) || strings.Contains(string(line), jwt) {
			t.Fatalf("%q", line)
		}
		var back Record
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
	})
}
