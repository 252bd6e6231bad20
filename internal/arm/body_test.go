package arm

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

func noPost(context.Context, *Request, json.RawMessage) (int, any, error) {
	return http.StatusOK, nil, nil
}

// The examples of RFC 7396, appendix A, that have objects for documents, as
// properties always are.
func TestMergePatch(t *testing.T) {
	tests := []struct{ doc, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{``, `{"a": 1}`, `{"a":1}`},
		{`{"a":"x"}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{`{"a":1}`, ``, `{"a":1}`},
	}
	for _, tt := range tests {
		got, err := mergePatch(json.RawMessage(tt.doc), json.RawMessage(tt.patch))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s + %s = %s, %v; want %s", tt.doc, tt.patch, got, err, tt.want)
		}
	}
}

// A patch applied twice is a patch applied once, and the patch from anything to
// a document without nulls gives that document's members.
func TestMergePatchProperties(t *testing.T) {
	leaf := rapid.OneOf(
		rapid.Map(rapid.IntRange(0, 9), func(n int) any { return float64(n) }),
		rapid.Just[any](nil), rapid.Just[any]("x"), rapid.Just[any]([]any{1.0, nil}),
	)
	var object func(depth int) *rapid.Generator[map[string]any]
	object = func(depth int) *rapid.Generator[map[string]any] {
		value := leaf
		if depth > 0 {
			value = rapid.OneOf(leaf, rapid.Map(object(depth-1), func(m map[string]any) any { return m }))
		}
		return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), value, 0, 3)
	}
	encode := func(v any) json.RawMessage {
		text, err := json.Marshal(v)
		cloudtest.Must(t, err)
		return text
	}
	rapid.Check(t, func(rt *rapid.T) {
		doc, patch := encode(object(2).Draw(rt, "doc")), encode(object(2).Draw(rt, "patch"))
		once, err := mergePatch(doc, patch)
		cloudtest.Must(t, err)
		twice, err := mergePatch(once, patch)
		cloudtest.Must(t, err)
		if diff := cmp.Diff(string(once), string(twice)); diff != "" {
			rt.Fatalf("%s + %s is not idempotent: %s", doc, patch, diff)
		}
		var naive, p any
		cloudtest.Must(t, json.Unmarshal(doc, &naive))
		cloudtest.Must(t, json.Unmarshal(patch, &p))
		if diff := cmp.Diff(string(encode(naiveMerge(naive, p))), string(once)); diff != "" {
			rt.Fatalf("%s + %s (-naive +got): %s", doc, patch, diff)
		}
	})
}

// naiveMerge is the pseudocode of RFC 7396, section 2.
func naiveMerge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	members, ok := target.(map[string]any)
	if !ok {
		members = map[string]any{}
	}
	for name, value := range changes {
		if value == nil {
			delete(members, name)
		} else {
			members[name] = naiveMerge(members[name], value)
		}
	}
	return members
}

func TestTagLimits(t *testing.T) {
	many := map[string]string{}
	for i := range 51 {
		many[strings.Repeat("x", i+1)] = ""
	}
	tests := []struct {
		name string
		tags map[string]string
		code string
	}{
		{"none", nil, ""},
		{"longest", map[string]string{strings.Repeat("n", 512): strings.Repeat("v", 256)}, ""},
		{"longest in characters", map[string]string{strings.Repeat("ü", 512): strings.Repeat("ü", 256)}, ""},
		{"too many", many, "TooManyTags"},
		{"name too long", map[string]string{strings.Repeat("n", 513): ""}, "InvalidTagName"},
		{"name too long in surrogates", map[string]string{strings.Repeat("😀", 257): ""}, "InvalidTagName"},
		{"value too long", map[string]string{"a": strings.Repeat("v", 257)}, "InvalidTagValueLength"},
		{"control character", map[string]string{"a\x01": ""}, "InvalidTagNameCharacters"},
		{"blank", map[string]string{" ": ""}, "InvalidTagName"},
		{"not the same to Azure", map[string]string{"k": "", "\u212a": ""}, ""}, // the Kelvin sign
	}
	for _, tt := range tests {
		err := CheckTags(tt.tags)
		got := ""
		if err != nil {
			got = codeOf(err)
		}
		if got != tt.code {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.code)
		}
	}
}

func TestInvalidContentSaysWhere(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	tests := []struct{ name, body, want string }{
		{"syntax", "{\n \"location\": }", "line 2, position 14"},
		{"cut off", `{"location": "west`, "unexpected end"},
		{"type", `{"location": 5}`, "Path 'location'"},
		{"tags", `{"location": "westeurope", "tags": {"a": 5}}`, "Path 'tags"},
		{"property", `{"location": "westeurope", "properties": {"size": "big"}}`, "Path 'properties.size'"},
		{"not UTF-8", "{\"location\": \"\xff\"}", "UTF-8"},
		{"nothing", "", "unexpected end"},
	}
	for _, tt := range tests {
		a := w.want(http.StatusBadRequest, http.MethodPut, thingPath("rg", "x")+version, tt.body)
		if a.ErrorCode() != "InvalidRequestContent" || !strings.Contains(a.Body, tt.want) {
			t.Errorf("%s: %s, want it to say %q", tt.name, a.Body, tt.want)
		}
	}
	large := w.owner(http.MethodPut, thingPath("rg", "x")+version, `{"location":"`+strings.Repeat("x", maxBody)+`"}`)
	if large.Status != http.StatusRequestEntityTooLarge || large.ErrorCode() != "RequestContentTooLarge" {
		t.Errorf("too large: %d %s", large.Status, large.ErrorCode())
	}
	marked := w.owner(http.MethodPut, thingPath("rg", "x")+version, "\xef\xbb\xbf{\"location\":\"westeurope\"}", "Content-Type", "text/plain")
	if marked.Status != http.StatusCreated {
		t.Errorf("a byte order mark and another Content-Type: %d %s", marked.Status, marked.Body)
	}
}
