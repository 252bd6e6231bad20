package keyvault

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// pages follows nextLink from a path and gives the ids of all pages.
func (w *world) pages(vault, path string) (pages [][]string) {
	w.TB.Helper()
	for path != "" {
		page := cloudtest.Decode[list](w.TB, w.do("officer", vault, "GET", path, "").Want(w.TB, 200))
		ids := []string{}
		for _, item := range page.Value {
			ids = append(ids, item.ID[strings.LastIndexByte(item.ID, '/')+1:])
		}
		pages = append(pages, ids)
		path = ""
		if page.NextLink != nil {
			next, err := url.Parse(*page.NextLink)
			cloudtest.Must(w.TB, err)
			if next.Host != host(vault) || next.Query().Get("api-version") != "7.4" {
				w.TB.Fatalf("the link %s leads away", *page.NextLink)
			}
			path = next.RequestURI()
		}
	}
	return pages
}

func TestPaging(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var names, versions []string
	for i := range 27 {
		name := fmt.Sprintf("s%02d", i)
		names = append(names, name)
		w.set("one", name, "x")
	}
	w.set("two", "s00", "x") // must not show up
	for range 5 {
		versions = append(versions, w.set("one", "v", "x"))
	}
	slices.Sort(versions)
	names = append(names, "v")

	if diff := cmp.Diff([][]string{names[:25], names[25:]}, w.pages("one", "/secrets"+v)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{names[:10], names[10:20], names[20:]}, w.pages("one", "/secrets"+v+"&maxresults=10")); diff != "" {
		t.Error(diff)
	}
	// A page that ends with the last item has no successor.
	if diff := cmp.Diff([][]string{names[:14], names[14:]}, w.pages("one", "/secrets"+v+"&maxresults=14")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{versions[:2], versions[2:4], versions[4:]}, w.pages("one", "/secrets/v/versions"+v+"&maxresults=2")); diff != "" {
		t.Error(diff)
	}
	// Secrets that are due are left out without leaving a hole in the pages.
	for _, name := range names {
		w.do("officer", "one", "DELETE", "/secrets/"+name+v, "").Want(t, 200)
		if name == "s12" {
			w.Clock.Advance(1e9)
		}
	}
	w.Clock.Advance(90*24*3600*1e9 - 1e9) // the first 13 are over, the rest is not
	if diff := cmp.Diff([][]string{names[13:23], names[23:]}, w.pages("one", "/deletedsecrets"+v+"&maxresults=10")); diff != "" {
		t.Error(diff)
	}
}

func TestPageSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.PageSize = 2 })
	for _, name := range []string{"a", "b", "c"} {
		w.set("one", name, "x")
	}
	if diff := cmp.Diff([][]string{{"a", "b"}, {"c"}}, w.pages("one", "/secrets"+v)); diff != "" {
		t.Error(diff)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := func(body string) cloudtest.Answer { return w.do("officer", "one", "PUT", "/secrets/s"+v, body) }
	quoted := func(s string) string { return `{"value":"` + s + `"}` }

	put(quoted(strings.Repeat("x", 25600))).Want(t, 200)
	put(quoted(strings.Repeat("x", 25601))).Want(t, 400)
	put(quoted(strings.Repeat("é", 12800))).Want(t, 200)
	put(quoted(strings.Repeat("é", 12801))).Want(t, 400)
	// The escaped form of the largest value fits; far more than that does not.
	put(quoted(strings.Repeat(`\u0001`, 25600))).Want(t, 200)
	put(quoted(strings.Repeat("x", 1<<20))).Want(t, 413)
	put("{\"value\":\"\xff\"}").Want(t, 400)
	put(`{"value":"x"} {}`).Want(t, 400)
	put(`[]`).Want(t, 400)
	put(`null`).Want(t, 400)
	put(`{"value":"x","contentType":"`+strings.Repeat("é", 255)+`"}`).Want(t, 200)
	put(`{"value":"x","contentType":"`+strings.Repeat("é", 256)+`"}`).Want(t, 400)
	put(`{"value":"x","tags":{"":"y"}}`).Want(t, 400)
	put(`{"value":"x","tags":{"k":"`+strings.Repeat("y", 513)+`"}}`).Want(t, 400)
	put(`{"value":"x","attributes":{"exp":253402300800}}`).Want(t, 400)
	put(`{"value":"x","attributes":{"exp":1e30}}`).Want(t, 400)

	long := strings.Repeat("n", 127)
	w.do("officer", "one", "PUT", "/secrets/"+long+v, quoted("x")).Want(t, 200)
	w.do("officer", "one", "PUT", "/secrets/"+long+"n"+v, quoted("x")).Want(t, 400)
}

// Values come back byte by byte.
func TestValuesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, value := range []string{"", "\x00\x01\n", `"\`, "<&>", "ü\u2028😀", strings.Repeat("\u007f", 1000)} {
		w.set("one", "s", value)
		got := cloudtest.Decode[bundle](t, w.do("reader", "one", "GET", "/secrets/s"+v, "").Want(t, 200))
		if string(*got.Value) != value {
			t.Errorf("set %q, got %q", value, string(*got.Value))
		}
	}
}

// Many writers of one secret: every write is a version of its own, the current
// one is one of them, and its value is its own.
func TestConcurrentWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const writers, writes = 6, 4
	var mu sync.Mutex
	values := map[string]string{}
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for j := range writes {
				value := fmt.Sprintf("value-%d-%d", i, j)
				body, _ := json.Marshal(map[string]string{"value": value})
				a := w.do("officer", "one", "PUT", "/secrets/s"+v, string(body))
				if a.Status == 409 {
					continue // lost too often: an answer, too
				}
				var b bundle
				if err := json.Unmarshal([]byte(a.Body), &b); a.Status != 200 || err != nil {
					t.Errorf("%d %s", a.Status, a.Body)
					return
				}
				mu.Lock()
				values[b.ID[strings.LastIndexByte(b.ID, '/')+1:]] = value
				mu.Unlock()
			}
		})
	}
	group.Wait()
	listed := slices.Concat(w.pages("one", "/secrets/s/versions"+v)...)
	if len(listed) != len(values) || len(values) == 0 {
		t.Fatalf("%d versions are listed, %d were written", len(listed), len(values))
	}
	for id, value := range values {
		got := cloudtest.Decode[bundle](t, w.do("officer", "one", "GET", "/secrets/s/"+id+v, "").Want(t, 200))
		if string(*got.Value) != value {
			t.Errorf("version %s has %s, was written as %s", id, string(*got.Value), value)
		}
	}
	current := cloudtest.Decode[bundle](t, w.do("officer", "one", "GET", "/secrets/s"+v, "").Want(t, 200))
	id := current.ID[strings.LastIndexByte(current.ID, '/')+1:]
	if values[id] != string(*current.Value) {
		t.Errorf("the current version %s has %s, was written as %s", id, string(*current.Value), values[id])
	}
}

// Deleting, recovering, purging and setting at the same time ends in a state
// that is one of those that one after the other could have led to: a secret is
// live, deleted or gone, never two of these.
func TestConcurrentLives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set("one", "s", "x")
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for j := range 8 {
				var a cloudtest.Answer
				switch (i + j) % 4 {
				case 0:
					a = w.do("officer", "one", "PUT", "/secrets/s"+v, `{"value":"x"}`)
				case 1:
					a = w.do("officer", "one", "DELETE", "/secrets/s"+v, "")
				case 2:
					a = w.do("officer", "one", "POST", "/deletedsecrets/s/recover"+v, "")
				case 3:
					a = w.do("officer", "one", "DELETE", "/deletedsecrets/s"+v, "")
				}
				if a.Status != 200 && a.Status != 204 && a.Status != 404 && a.Status != 409 {
					t.Errorf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
	group.Wait()
	live := w.do("officer", "one", "GET", "/secrets/s"+v, "")
	deleted := w.do("officer", "one", "GET", "/deletedsecrets/s"+v, "")
	if live.Status == 200 && deleted.Status == 200 {
		t.Error("the secret is both live and deleted")
	}
	if live.Status != 200 && live.Status != 404 {
		t.Errorf("%d %s", live.Status, live.Body)
	}
	w.Clock.Advance(91 * 24 * 3600 * 1e9)
	cloudtest.Must(t, w.handler.Sweep(t.Context()))
	want := 0
	if live.Status == 200 {
		want = len(slices.Concat(w.pages("one", "/secrets/s/versions"+v)...))
	}
	if n := w.count("keyvault/one/instance-one/values/"); n != want {
		t.Errorf("%d values are left, %d are reachable", n, want)
	}
}

func TestStrictVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Strict = true })
	w.do("officer", "one", "GET", "/secrets?api-version=7.6", "").Want(t, 200)
	got := w.do("officer", "one", "GET", "/secrets?api-version=9.9", "").Want(t, 400)
	if !strings.Contains(got.Body, "The specified version (9.9) is not recognized") {
		t.Error(got.Body)
	}
}

func TestServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for host, want := range map[string]bool{
		"one.vault.lanyard.test:8443": true, "ONE.Vault.Lanyard.Test": true, "one.vault.lanyard.test.:8443": true,
		"nowhere.vault.lanyard.test": true, "one.vault.azure.net": true, "one.vault.azure.net:443": true,
		"one.vault.lanyard.test:99": true, "vault.lanyard.test": false, "a.b.vault.lanyard.test": false,
		"lanyard.test": false, "one.vault.lanyard.test.evil.com": false, "onevault.lanyard.test": false,
		"one.vault.lanyard.test:": false, "one.vault.lanyard.test:x": false, "one.vault.lanyard.test:0": false,
		"one.vault.lanyard.test:8443:1": false, "": false, "[::1]:8443": false, "one.vault.azure.net.cn": false,
		"one_.vault.lanyard.test": false, ".vault.lanyard.test": false, "\u212aey.vault.lanyard.test": false,
	} {
		if got := w.handler.Serves(host); got != want {
			t.Errorf("Serves(%q) = %t", host, got)
		}
	}
}

// Common headers, and the request's own identifiers.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := httptest.NewRequestWithContext(t.Context(), "GET", "https://"+host("one")+"/secrets"+v, nil)
	r.Header.Set("X-Ms-Client-Request-Id", "mine")
	r.RemoteAddr = "[2001:db8::1]:555"
	a := w.send(r)
	for name, want := range map[string]string{
		"X-Ms-Client-Request-Id": "mine", "X-Ms-Keyvault-Region": "westeurope", "Cache-Control": "no-cache",
		"X-Ms-Keyvault-Network-Info": "conn_type=Ipv6;addr=2001:db8::1;act_addr_fam=InterNetworkV6;",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
