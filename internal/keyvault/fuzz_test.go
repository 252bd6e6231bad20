package keyvault

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzRoute: whatever the path, an operation is found only with a name and a
// version that are good, and which keep to their place in a storage key.
func FuzzRoute(f *testing.F) {
	for _, path := range []string{
		"/secrets", "/secrets/db", "//secrets/db/", "/secrets/db/versions", "/secrets/%64b", "/secrets/a%2fb", "/secrets/..",
		"/deletedsecrets/db/recover", "/secrets/restore", "/certificates/contacts", "/secrets//", "/%", "/SECRETS/db/" + strings.Repeat("a", 32),
	} {
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "POST"} {
			f.Add(method, path)
		}
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		op, target, err := route(method, path, http.Header{})
		if err != nil {
			return
		}
		if op.method != method || op.run == nil {
			t.Fatalf("%s %s found %+v", method, path, op.pattern)
		}
		if strings.Contains(op.pattern, "{name}") != (target.name != "") || strings.Contains(op.pattern, "{version}") != (target.version != "") {
			t.Fatalf("%s %s found %s with %+v", method, path, op.pattern, target)
		}
		if strings.ContainsAny(target.name+target.version, "/.%\x00") {
			t.Fatalf("%s %s found the name %q and the version %q", method, path, target.name, target.version)
		}
	})
}

// FuzzQuery: what is accepted is within its limits and comes back from a link.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		"api-version=7.4", "api%2Dversion=7.4&maxresults=25", "api-version=7.4&$skiptoken=ZGI", "api-version=7.4&%24skiptoken=ZGI",
		"", "api-version=", "api-version=7.4&maxresults=-1", "api-version=7.4;x", "api-version=%zz",
	} {
		f.Add(q)
	}
	h := &Handler{cfg: Config{PageSize: 25}}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := h.parseQuery(raw)
		if err != nil {
			return
		}
		if q.apiVersion == "" || q.pageSize < 1 || q.pageSize > maxPageSize || q.after != "" && !objectName.MatchString(q.after) {
			t.Fatalf("%q gave %+v", raw, q)
		}
		r := &request{http: httptest.NewRequest(http.MethodGet, "https://v/secrets", nil), base: "https://v", query: q}
		link := r.nextLink("db")
		_, after, _ := strings.Cut(link, "?")
		again, err := h.parseQuery(after)
		if err != nil || again.apiVersion != q.apiVersion || again.pageSize != q.pageSize || again.after != "db" {
			t.Fatalf("%q led to %q, which gave %+v, %v", raw, link, again, err)
		}
	})
}

// FuzzHost: a host names a vault only under the suffix, and the answers' own
// links then have that very host.
func FuzzHost(f *testing.F) {
	for _, host := range []string{
		"one.vault.lanyard.test:8443", "one.vault.azure.net", "ONE.vault.lanyard.test.", "a.b.vault.lanyard.test", "[::1]:1", "one.vault.lanyard.test:99999",
	} {
		f.Add(host)
	}
	h := &Handler{cfg: Config{Cloud: testCloud}}
	f.Fuzz(func(t *testing.T, host string) {
		a, ok := h.parseHost(host)
		if !ok {
			return
		}
		if !vaultName.MatchString(a.vault) || strings.ContainsAny(a.base[len("https://"):], "/?#@ \"") {
			t.Fatalf("%q gave %+v", host, a)
		}
		again, ok := h.parseHost(strings.TrimPrefix(a.base, "https://"))
		if !ok || again != a {
			t.Fatalf("%q gave %+v, its base %+v", host, a, again)
		}
	})
}

// FuzzRestore: no blob but the cloud's own is opened, and none brings it down.
func FuzzRestore(f *testing.F) {
	w := newWorld(f)
	w.set("one", "s", "x")
	blob := w.do("officer", "one", "POST", "/secrets/s/backup"+v, "").Want(f, 200).Body
	f.Add(blob)
	f.Add(`{"value":""}`)
	f.Add(`{"value":"TGFueWFyZEtleVZhdWx0U2VjcmV0QmFja3VwMQA"}`)
	f.Fuzz(func(t *testing.T, body string) {
		here := *w
		here.Cloud = w.In(t)
		a := here.do("officer", "two", "POST", "/secrets/restore"+v, body)
		switch {
		case a.Status == 400, a.Status == 409, a.Status == 413:
		case a.Status == 200 && strings.Contains(body, blob[10:len(blob)-2]):
		default:
			t.Fatalf("%q: %d %s", body, a.Status, a.Body)
		}
	})
}
