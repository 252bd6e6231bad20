package tokenproxy

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Limits. A pod asks once an hour for each of its resources; what is far above
// that is a mistake or an attack, and must not keep other pods from their tokens,
// nor the API server from its work. A node may hide its pods behind one address.
const (
	maxConcurrent = 128
	perSecond     = 50
	burst         = 200
	maxAddresses  = 4096
)

// limits admit requests: some at a time, and some a second from each address.
type limits struct {
	slots chan struct{}
	now   func() time.Time

	mu        sync.Mutex
	addresses map[netip.Addr]*rate.Limiter
	others    *rate.Limiter // of all addresses that there was no room for
	swept     time.Time
}

func newLimits(now func() time.Time) *limits {
	return &limits{
		slots: make(chan struct{}, maxConcurrent), now: now,
		addresses: map[netip.Addr]*rate.Limiter{}, others: rate.NewLimiter(perSecond, burst),
	}
}

// enter admits a request, whose end is to be told by leave, or says that it is one
// too many.
func (l *limits) enter(remote string) (leave func(), refused *azure.Error) {
	now := l.now()
	if !l.of(remote, now).AllowN(now, 1) {
		return nil, tooMany("Too many requests: the token proxy takes %d a second from one address.", perSecond)
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	default:
		return nil, tooMany("Too many requests: the token proxy answers %d at a time.", maxConcurrent)
	}
}

func tooMany(format string, args ...any) *azure.Error {
	e := azure.Errorf(http.StatusTooManyRequests, "too_many_requests", format, args...)
	e.RetryAfter = time.Second
	return e
}

// of is the limiter of an address. Those of addresses that have been quiet are
// forgotten when there is no more room.
func (l *limits) of(remote string, now time.Time) *rate.Limiter {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return l.others
	}
	address := peer.Addr().Unmap()
	l.mu.Lock()
	defer l.mu.Unlock()
	if limiter, ok := l.addresses[address]; ok {
		return limiter
	}
	if len(l.addresses) >= maxAddresses && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for a, limiter := range l.addresses {
			if limiter.TokensAt(now) >= burst {
				delete(l.addresses, a)
			}
		}
	}
	if len(l.addresses) >= maxAddresses {
		return l.others
	}
	limiter := rate.NewLimiter(perSecond, burst)
	l.addresses[address] = limiter
	return limiter
}
