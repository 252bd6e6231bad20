package provider

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/standin"
)

func TestClock(t *testing.T) {
	t.Parallel()
	realTime := standin.Start
	c := NewClock(func() time.Time { return realTime })
	want := func(ahead time.Duration) {
		t.Helper()
		if c.Ahead() != ahead || !c.Now().Equal(realTime.Add(ahead)) {
			t.Errorf("the clock is %s ahead and shows %s, want %s", c.Ahead(), c.Now(), ahead)
		}
	}
	refused := func(err error) {
		t.Helper()
		if err == nil || !strings.HasPrefix(err.Error(), "InvalidClockTime") {
			t.Errorf("got %v, want InvalidClockTime", err)
		}
	}
	cloudtest.Must(t, c.Advance(2*time.Hour))
	want(2 * time.Hour)
	realTime = realTime.Add(time.Minute) // it goes on ticking
	want(2 * time.Hour)
	refused(c.Advance(-time.Nanosecond))
	refused(c.Set(c.Now().Add(-time.Nanosecond)))
	refused(c.Advance(math.MaxInt64))
	refused(c.Advance(maxClockAhead - 2*time.Hour + 1))
	refused(c.Set(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)))
	want(2 * time.Hour)
	cloudtest.Must(t, c.Set(realTime.Add(24*time.Hour)))
	want(24 * time.Hour)
	cloudtest.Must(t, c.Advance(0))
	c.Reset()
	want(0)
	cloudtest.Must(t, c.Advance(maxClockAhead))
}

// TestClockResource: the wire form of the clock, and who may move it.
func TestClockResource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	const url, version = "/providers/Lanyard.Directory/clock/default", "?api-version=2026-09-01"
	if rec := w.send("owner", http.MethodGet, url+version, ""); rec.Status != http.StatusNotFound {
		t.Errorf("a cloud without such a clock answers %d: %s", rec.Status, rec.Body)
	}
	w.movable = NewClock(w.Clock.Now)
	w.restart()

	doc := w.decode(w.send("owner", http.MethodPost, url+"/advance"+version, `{"by":"2h"}`), http.StatusOK)
	properties := doc["properties"].(map[string]any)
	if doc["id"] != url || properties["ahead"] != "2h0m0s" || properties["now"] != standin.Start.Add(2*time.Hour).Format(time.RFC3339) ||
		properties["realTime"] != standin.Start.Format(time.RFC3339) {
		t.Errorf("the clock is shown as %v", doc)
	}
	w.decode(w.send("owner", http.MethodPost, url+"/set"+version, `{"time":"2026-12-24T00:00:00Z"}`), http.StatusOK)
	if got := w.get(url + version)["properties"].(map[string]any)["now"]; got != "2026-12-24T00:00:00Z" {
		t.Errorf("it shows %v", got)
	}
	for _, c := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"/advance", `{}`, 400, "InvalidClockTime"},
		{"/advance", ``, 400, "InvalidClockTime"},
		{"/advance", `{"by":"tomorrow"}`, 400, "InvalidClockTime"},
		{"/advance", `{"by":"-1s"}`, 400, "InvalidClockTime"},
		{"/set", `{"time":"tomorrow"}`, 400, "InvalidClockTime"},
		{"/set", `{"time":"2020-01-01T00:00:00Z"}`, 400, "InvalidClockTime"},
		{"/set", ``, 400, "InvalidClockTime"},
		{"/stop", `{}`, 404, "InvalidResourceType"},
	} {
		if rec := w.send("owner", http.MethodPost, url+c.path+version, c.body); rec.Status != c.status || !strings.Contains(rec.Body, c.code) {
			t.Errorf("POST %s %s: %d %s, want %d %s", c.path, c.body, rec.Status, rec.Body, c.status, c.code)
		}
	}
	if rec := w.send("owner", http.MethodGet, "/providers/Lanyard.Directory/clock/other"+version, ""); rec.Status != http.StatusNotFound {
		t.Errorf("another clock: %d", rec.Status)
	}
	w.decode(w.send("owner", http.MethodPost, url+"/reset"+version, ``), http.StatusOK)
	if w.movable.Ahead() != 0 {
		t.Error("it was not reset")
	}

	// Whoever manages access at the root may move it; not who merely manages
	// everything else, not an owner of another tenant.
	w.Assign("contributor", azure.RoleContributor, azure.Root())
	for _, name := range []string{"contributor", "foreigner", "nobody"} {
		if rec := w.send(name, http.MethodPost, url+"/advance"+version, `{"by":"1h"}`); rec.Status != http.StatusForbidden {
			t.Errorf("the %s moves the clock: %d %s", name, rec.Status, rec.Body)
		}
	}
	for name, status := range map[string]int{"contributor": 200, "foreigner": 403, "nobody": 403, "": 401} {
		if rec := w.send(name, http.MethodGet, url+version, ""); rec.Status != status {
			t.Errorf("the %q reads the clock: %d %s", name, rec.Status, rec.Body)
		}
	}
	if w.movable.Ahead() != 0 {
		t.Error("somebody moved it")
	}
}
