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
	// maxDeciding bounds the requests that the API server and the token service are
	// asked for at a time. A request has its place when it is there whole: one that
	// comes slowly, or never, takes none.
	maxDeciding = 128
	// maxOpen bounds the requests that come in or are answered, each of which may
	// hold maxForm bytes, and maxOpenEach those of one address.
	maxOpen     = 512
	maxOpenEach = 32
	perSecond   = 50
	burst       = 200
	// maxAddresses bounds the addresses that are told apart.
	maxAddresses = 4096
)

// limits admit requests: some at a time and some a second from each address, and
// some at a time from all.
type limits struct {
	deciding chan struct{}
	now      func() time.Time

	mu        sync.Mutex
	open      int
	addresses map[netip.Addr]*allowance
	others    *allowance // of all addresses that there was no room for
	swept     time.Time
}

// allowance is what an address has used up.
type allowance struct {
	rate *rate.Limiter
	open int
}

func newAllowance() *allowance { return &allowance{rate: rate.NewLimiter(perSecond, burst)} }

func newLimits(now func() time.Time) *limits {
	return &limits{
		deciding: make(chan struct{}, maxDeciding), now: now,
		addresses: map[netip.Addr]*allowance{}, others: newAllowance(),
	}
}

// enter admits a request, whose end is to be told by leave, or says that it is one
// too many.
func (l *limits) enter(remote string) (leave func(), refused *azure.Error) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(remote, now)
	switch {
	case !a.rate.AllowN(now, 1):
		return nil, tooMany("Too many requests: the token proxy takes %d a second from one address.", perSecond)
	case a.open >= maxOpenEach:
		return nil, tooMany("Too many requests: the token proxy takes %d at a time from one address.", maxOpenEach)
	case l.open >= maxOpen:
		return nil, tooMany("Too many requests: the token proxy takes %d at a time.", maxOpen)
	}
	a.open++
	l.open++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.open--
		l.open--
	}, nil
}

// decide admits a request that is there whole to the decision on it, whose end is
// to be told by done.
func (l *limits) decide() (done func(), refused *azure.Error) {
	select {
	case l.deciding <- struct{}{}:
		return func() { <-l.deciding }, nil
	default:
		return nil, tooMany("Too many requests: the token proxy answers %d at a time.", maxDeciding)
	}
}

func tooMany(format string, args ...any) *azure.Error {
	e := azure.Errorf(http.StatusTooManyRequests, "too_many_requests", format, args...)
	e.RetryAfter = time.Second
	return e
}

// of is the allowance of an address. Those of addresses that have been quiet are
// forgotten when there is no more room. The caller holds the lock.
func (l *limits) of(remote string, now time.Time) *allowance {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return l.others
	}
	address := peer.Addr().Unmap()
	if a, ok := l.addresses[address]; ok {
		return a
	}
	if len(l.addresses) >= maxAddresses && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for other, a := range l.addresses {
			if a.open == 0 && a.rate.TokensAt(now) >= burst {
				delete(l.addresses, other)
			}
		}
	}
	if len(l.addresses) >= maxAddresses {
		return l.others
	}
	a := newAllowance()
	l.addresses[address] = a
	return a
}
