package arm

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The Resource Manager's allowances for one principal in one subscription (or
// its tenant): token buckets, by kind of request.
var allowances = map[string]struct{ size, perSecond float64 }{
	"reads":   {250, 25},
	"writes":  {200, 10},
	"deletes": {200, 10},
}

// throttle counts requests. Answers say how many remain; only strict mode
// refuses.
type throttle struct {
	now func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
	swept   time.Time
}

type bucket struct {
	level float64
	at    time.Time
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, buckets: map[string]*bucket{}}
}

// take takes one request off an allowance, and gives what remains and whether
// there was one left.
func (t *throttle) take(key, kind string) (remaining int, ok bool) {
	a := allowances[kind]
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
	b := t.buckets[kind+" "+key]
	if b == nil {
		b = &bucket{level: a.size, at: now}
		t.buckets[kind+" "+key] = b
	}
	b.level = min(a.size, b.level+max(0, now.Sub(b.at).Seconds())*a.perSecond)
	b.at = now
	if b.level < 1 {
		return 0, false
	}
	b.level--
	return int(b.level), true
}

// sweep forgets buckets that have been full again for long.
func (t *throttle) sweep(now time.Time) {
	const idle = time.Minute
	if now.Sub(t.swept) < idle {
		return
	}
	t.swept = now
	for key, b := range t.buckets {
		if now.Sub(b.at) > idle {
			delete(t.buckets, key)
		}
	}
}

// allowance counts the request and says in the answer what remains.
func (x *exchange) allowance() error {
	kind := "writes"
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
		kind = "reads"
	case http.MethodDelete:
		kind = "deletes"
	}
	level, scope := "tenant", x.request.TenantID
	if sub := x.target.id.SubscriptionID(); sub != "" {
		level, scope = "subscription", azure.Fold(sub)
	}
	remaining, ok := x.engine.throttle.take(scope+" "+x.request.Caller.ObjectID, kind)
	x.w.Header().Set("x-ms-ratelimit-remaining-"+level+"-"+kind, strconv.Itoa(remaining))
	if ok || !x.engine.cfg.Strict {
		return nil
	}
	x.w.Header().Set("Retry-After", "1")
	return azure.Errorf(http.StatusTooManyRequests, "SubscriptionRequestsThrottled",
		"Number of '%s' requests for %s '%s' exceeded. Please try again after '1' seconds after additional tokens are available.", kind, level, scope)
}
