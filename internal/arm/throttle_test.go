package arm

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// TestTakeAll: a request above one of several rates takes nothing off the
// others, and is told when to come again.
func TestTakeAll(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	th := newThrottle(func() time.Time { return now })
	wide, narrow := claim{"wide", of(10)}, claim{"narrow", of(0.25)}
	for i := range 5 { // 20 seconds of a quarter
		if wait := th.takeAll([]claim{wide, narrow}); wait != 0 {
			t.Fatalf("request %d waits %s", i, wait)
		}
	}
	if wait := th.takeAll([]claim{wide, narrow}); wait != 4*time.Second {
		t.Errorf("the sixth waits %s, want 4s", wait)
	}
	if level := th.buckets["wide"].level; level != 195 {
		t.Errorf("the wide one has %v left, want 195", level)
	}
	now = now.Add(4*time.Second - time.Nanosecond)
	if th.takeAll([]claim{narrow}) == 0 {
		t.Error("one came back too early")
	}
	now = now.Add(time.Nanosecond)
	if wait := th.takeAll([]claim{narrow}); wait != 0 {
		t.Errorf("none came back: %s", wait)
	}
	if of(0.01).size != 1 {
		t.Error("a slow rate admits nobody")
	}
	now = now.Add(2 * time.Minute)
	th.takeAll([]claim{wide})
	if _, kept := th.buckets["narrow"]; kept {
		t.Error("a bucket that is full again is kept")
	}
	// A clock that was set back must not stop the forgetting.
	now = now.Add(-time.Hour)
	th.takeAll([]claim{narrow})
	if th.swept.After(now) {
		t.Error("forgetting waits for the clock to catch up")
	}
}

// TestRates: a type's own rates, by what is done, and for whoever may do it.
func TestRates(t *testing.T) {
	rated := func(s *Spec, _ *Hooks[thing]) {
		s.Rates = Rates{
			Read:   Rate{Resource: 0.5},
			List:   Rate{Subscription: 0.25},
			Write:  Rate{Tenant: 10, Subscription: 0.5, Resource: 0.25},
			Delete: Rate{Tenant: 0.05},
		}
	}
	w := newWorld(t, thingType(rated))
	w.group("rg")
	one, two := thingPath("rg", "one")+version, thingPath("rg", "two")+version
	things := groupPath("rg") + "/providers/Test.Things/things" + version
	for range 30 { // nothing is refused by default
		w.want(http.StatusOK, http.MethodGet, things, "")
	}
	w.restart(func() { w.set = func(c *Config) { c.Throttle = true } })

	expect := func(principal, method, url string, status, retryAfter int) {
		t.Helper()
		got := w.do(principal, method, url, small)
		if got.Status != status {
			t.Fatalf("%s %s: %d %s, want %d", method, url, got.Status, got.Body, status)
		}
		after := got.Header.Get("Retry-After")
		if status == http.StatusTooManyRequests && (after != strconv.Itoa(retryAfter) || got.ErrorCode() != "TooManyRequests") {
			t.Errorf("%s %s: %s, Retry-After %q, want %d", method, url, got.ErrorCode(), after, retryAfter)
		}
	}
	// Of one resource: 20 seconds of a quarter.
	expect(ownerID, http.MethodPut, one, http.StatusCreated, 0)
	for range 4 {
		expect(ownerID, http.MethodPut, one, http.StatusOK, 0)
	}
	expect(ownerID, http.MethodPut, one, http.StatusTooManyRequests, 4)
	// Who may not write uses nothing up, and learns no more than that.
	expect(readerID, http.MethodPut, one, http.StatusForbidden, 0)
	// Of the subscription: 20 seconds of a half, of which 5 are left.
	for i := range 5 {
		expect(ownerID, http.MethodPut, two, map[bool]int{true: http.StatusCreated, false: http.StatusOK}[i == 0], 0)
	}
	expect(ownerID, http.MethodPut, thingPath("rg", "three")+version, http.StatusTooManyRequests, 2)
	w.Clock.Advance(2 * time.Second)
	expect(ownerID, http.MethodPut, thingPath("rg", "three")+version, http.StatusCreated, 0)
	// Reading, listing and deleting have rates of their own.
	for range 10 {
		expect(ownerID, http.MethodGet, one, http.StatusOK, 0)
	}
	expect(ownerID, http.MethodGet, one, http.StatusTooManyRequests, 2)
	for range 5 {
		expect(readerID, http.MethodGet, things, http.StatusOK, 0)
	}
	expect(ownerID, http.MethodGet, things, http.StatusTooManyRequests, 4)
	expect(ownerID, http.MethodDelete, one, http.StatusOK, 0)
	expect(ownerID, http.MethodDelete, two, http.StatusTooManyRequests, 20)
	w.Clock.Advance(20 * time.Second)
	expect(ownerID, http.MethodDelete, two, http.StatusOK, 0)
}
