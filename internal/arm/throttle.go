package arm

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// amount is a token bucket's: how many requests it holds, and how many come
// back in a second.
type amount struct{ size, perSecond float64 }

// The Resource Manager's allowances for one principal in one subscription (or
// its tenant), by kind of request.
var allowances = map[string]amount{
	"reads":   {250, 25},
	"writes":  {200, 10},
	"deletes": {200, 10},
}

// burst is for how long a type's rate may be saved up, in seconds. Azure
// documents rates for its managed identities and not over what time it takes
// them; clients that read a resource, write it and read it again within a second
// are not refused there.
const burst = 20

// of is the bucket of a rate; it always holds one request.
func of(rate float64) amount { return amount{max(1, burst*rate), rate} }

// throttle counts requests. Answers say how many remain; only an engine that
// throttles refuses.
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

// claim is a request's claim to one bucket.
type claim struct {
	key string
	amount
}

// take takes one request off an allowance, and gives what remains and whether
// there was one left.
func (t *throttle) take(c claim) (remaining int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.fill(c, t.now())
	if b.level < 1 {
		return 0, false
	}
	b.level--
	return int(b.level), true
}

// takeAll takes one request off each of several allowances, or off none of them
// and gives after how long all will have one.
func (t *throttle) takeAll(claims []claim) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	buckets := make([]*bucket, len(claims))
	for i, c := range claims {
		buckets[i] = t.fill(c, now)
		if missing := 1 - buckets[i].level; missing > 0 {
			wait = max(wait, time.Duration(missing/c.perSecond*float64(time.Second)))
		}
	}
	if wait > 0 {
		return wait
	}
	for _, b := range buckets {
		b.level--
	}
	return 0
}

// fill gives the bucket as full as it is now. The caller holds the lock.
func (t *throttle) fill(c claim, now time.Time) *bucket {
	t.sweep(now)
	b := t.buckets[c.key]
	if b == nil {
		b = &bucket{level: c.size, at: now}
		t.buckets[c.key] = b
	}
	b.level = min(c.size, b.level+max(0, now.Sub(b.at).Seconds())*c.perSecond)
	b.at = now
	return b
}

// sweep forgets buckets that have been full again for long.
func (t *throttle) sweep(now time.Time) {
	const idle = time.Minute
	// A clock that was set back must not keep them until it catches up.
	if since := now.Sub(t.swept); 0 <= since && since < idle {
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
	remaining, ok := x.engine.throttle.take(claim{kind + " " + scope + " " + x.request.Caller.ObjectID, allowances[kind]})
	x.w.Header().Set("x-ms-ratelimit-remaining-"+level+"-"+kind, strconv.Itoa(remaining))
	if ok || !x.engine.cfg.Throttle {
		return nil
	}
	x.w.Header().Set("Retry-After", "1")
	return azure.Errorf(http.StatusTooManyRequests, "SubscriptionRequestsThrottled",
		"Number of '%s' requests for %s '%s' exceeded. Please try again after '1' seconds after additional tokens are available.", kind, level, scope)
}

// typeAllowance takes an allowed request off the type's own rates, whoever sends
// it.
func (x *exchange) typeAllowance() error {
	if !x.engine.cfg.Throttle {
		return nil
	}
	spec := &x.target.typ.spec
	rate, kind := spec.Rates.Read, "read"
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
		if x.target.collection {
			rate, kind = spec.Rates.List, "list"
		}
	case http.MethodPut, http.MethodPatch:
		rate, kind = spec.Rates.Write, "write"
	case http.MethodDelete:
		rate, kind = spec.Rates.Delete, "delete"
	default:
		return nil
	}
	var claims []claim
	for _, level := range []struct {
		name, key string
		rate      float64
	}{
		{"tenant", azure.Fold(x.request.TenantID), rate.Tenant},
		{"subscription", azure.Fold(x.target.id.SubscriptionID()), rate.Subscription},
		{"resource", x.target.id.Key(), rate.Resource},
	} {
		if level.rate > 0 {
			claims = append(claims, claim{spec.throttled() + " " + kind + " " + level.name + " " + level.key, of(level.rate)})
		}
	}
	wait := x.engine.throttle.takeAll(claims)
	if wait == 0 {
		return nil
	}
	seconds := strconv.Itoa(int((wait + time.Second - 1) / time.Second))
	x.w.Header().Set("Retry-After", seconds)
	return azure.Errorf(http.StatusTooManyRequests, "TooManyRequests",
		"The request was throttled: too many '%s' requests for resources of the provider '%s'. Please try again after '%s' seconds.",
		kind, spec.throttled(), seconds)
}

// throttled is whose requests are counted together: those of a provider.
func (s *Spec) throttled() string {
	namespace, _, _ := strings.Cut(s.Name, "/")
	return namespace
}
