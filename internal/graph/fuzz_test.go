package graph

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// FuzzFilter: no expression brings the parser down or names a property that is
// not offered, and one that is taken means the same with its case folded.
func FuzzFilter(f *testing.F) {
	for _, text := range []string{
		`appId eq 'x'`, `displayName in ('a','b') and not (accountEnabled eq true)`, `names/any(x:x eq 'it''s')`,
		`startswith(displayName,'x') or endswith(displayName,'y')`, `names/any(x:x eq 'a' or not startswith(x,'b'))`,
		`((((`, `'`, `appId eq '`, `names/any(`, "\x00", `not`, `any(x:x)`, `appId eq null`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseFilter(text, "Application", sampleNames)
		if err != nil {
			return
		}
		if len(text) > maxFilter {
			t.Fatal("a long expression was taken")
		}
		asked := func(name string) any {
			value, ok := sample[name]
			if !ok {
				t.Fatalf("%q asks for %q", text, name)
			}
			return value
		}
		if parsed.holds(asked) == (filterNot{parsed}).holds(asked) {
			t.Fatalf("%q is true and not", text)
		}
		again, err := parseFilter("("+text+")", "Application", sampleNames)
		if err == nil && again.holds(asked) != parsed.holds(asked) {
			t.Fatalf("%q means something else in parentheses", text)
		}
	})
}

// FuzzPath: whatever the path, a route is found only with identifiers that are
// not empty, and none of them stands for a segment of its own.
func FuzzPath(f *testing.F) {
	for _, path := range []string{
		"/v1.0/applications", "/beta/applications(appId='x')/addPassword", "//v1.0/users/a@b.c", "/v1.0/users('it''s')",
		"/v1.0/11111111-1111-1111-1111-111111111111/me", "/v1.0/groups/x/members/y/$ref", "/v1.0/applications(", "/v1.0/applications()",
		"/v1.0/applications('x'))", "/v1.0/a%2fb/%zz", "/v1.0/applications(name='a')(b='c')", "/v1.0/(x)", "/",
		"/v1.0/applications/x/federatedIdentityCredentials(name='y')", "/v1.0/organization/%2e%2e",
	} {
		for _, method := range []string{"GET", "POST", "PATCH", "PUT", "DELETE"} {
			f.Add(method, path)
		}
	}
	h := &Handler{routes: routes()}
	f.Fuzz(func(t *testing.T, method, path string) {
		_, _, elements, err := parsePath(path)
		if err != nil {
			return
		}
		rt, keys, err := h.route(method, elements, http.Header{})
		if err != nil {
			return
		}
		if rt.method != method || rt.run == nil || len(keys) != strings.Count(rt.pattern, "{}") {
			t.Fatalf("%s %s found %s with %+v", method, path, rt.pattern, keys)
		}
		for _, k := range keys {
			if k.value == "" {
				t.Fatalf("%s %s found %s with an empty identifier", method, path, rt.pattern)
			}
		}
	})
}

// FuzzQuery: what is accepted is within its limits and comes back from a link.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		"$filter=appId%20eq%20'x'", "%24top=5&$count=true", "top=5&select=id", "$skiptoken=eA", "$top=-1", "$select=", "$filter=&$top=x", "a;b", "$x=1", "%zz",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err != nil {
			return
		}
		if q.top < 1 || q.top > maxPage {
			t.Fatalf("%q gave %+v", raw, q)
		}
		r := &request{http: httptest.NewRequest("GET", "https://g/v1.0/applications", nil), origin: "https://g", query: q}
		link, err := url.Parse(r.nextLink("x"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseQuery(link.RawQuery)
		if err != nil || again.top != q.top || again.count != q.count || again.filter != q.filter || again.after != "x" ||
			strings.Join(again.selected, ",") != strings.Join(q.selected, ",") {
			t.Fatalf("%q led to %q, which gave %+v, %v", raw, link, again, err)
		}
	})
}

// FuzzReference: an address gives an object ID or an error.
func FuzzReference(f *testing.F) {
	for _, address := range []string{
		"https://graph.microsoft.com/v1.0/directoryObjects/11111111-1111-1111-1111-111111111111", "https://g/beta/users('11111111-1111-1111-1111-111111111111')",
		"https://g/v1.0/t/groups/x", "11111111-1111-1111-1111-111111111111", "", "::", "https://g/v1.0/directoryObjects/..",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if id, err := parseReference(address); err == nil && !azure.IsGUID(id) {
			t.Fatalf("%q gave %q", address, id)
		}
	})
}

// FuzzApplication: no body brings the plane down, and what is taken can be read
// back and sent again.
func FuzzApplication(f *testing.F) {
	w := newWorld(f)
	for _, text := range []string{
		`{"displayName":"x"}`, `{"web":{"redirectUris":["a"]},"api":{"requestedAccessTokenVersion":2}}`, `{"api":null}`, `{"tags":null}`,
		`{"keyCredentials":[{}]}`, `{"passwordCredentials":[null]}`, `{"identifierUris":[""]}`, `{"optionalClaims":{"a":{}}}`, `[]`, `{"web":{"web":{}}}`,
		`{"api":{"requestedAccessTokenVersion":2.5}}`, `{"DISPLAYNAME":"a","displayName":"b"}`, `{"x@odata.type":1}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		here := *w
		here.Cloud = w.In(t)
		path := "/v1.0/applications/" + w.Names.ID("nobody.app")
		a := here.send(here.Request("owner", "PATCH", here.Azure.Graph()+path, text))
		if a.Status != 204 && a.Status != 400 {
			t.Fatalf("%q: %d %s", text, a.Status, a.Body)
		}
		shown := cloudtest.Decode[map[string]any](t, here.do("owner", "GET", path, "").Want(t, 200))
		if shown["id"] != w.Names.ID("nobody.app") || shown["appId"] != w.Names.ID("nobody.appid") {
			t.Fatalf("%q made it %v", text, shown)
		}
		if _, ok := shown["identifierUris"].([]any); !ok {
			t.Fatalf("%q: identifierUris are %v", text, shown["identifierUris"])
		}
	})
}
