package controller

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"

	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// Limits of the memory of reviews. Anybody in the cluster reaches the webhook's
// port, since the API server's address is not known, and could fill its memory with
// reviews that never end; then nobody's pods would be admitted.
const (
	// smallReview is the size up to which a review is not counted: an ordinary pod's.
	smallReview = 32 << 10
	// maxBodies bounds the bytes of all others at a time, and maxBodiesEach those that
	// come from one address.
	maxBodies     = 64 << 20
	maxBodiesEach = 24 << 20
)

// bodies counts the bytes of the reviews that are being answered.
type bodies struct {
	mu   sync.Mutex
	all  int
	each map[netip.Addr]int
}

func newBodies() *bodies { return &bodies{each: map[netip.Addr]int{}} }

// take admits a review of n bytes, whose end is to be told by release, or refuses it.
func (b *bodies) take(remote string, n int) (release func(), err error) {
	if n <= smallReview {
		return func() {}, nil
	}
	peer, _ := netip.ParseAddrPort(remote) // else the zero address, which is one too
	address := peer.Addr().Unmap()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all+n > maxBodies || b.each[address]+n > maxBodiesEach {
		return nil, errTooManyBodies
	}
	b.all += n
	b.each[address] += n
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.all -= n
		if b.each[address] -= n; b.each[address] == 0 {
			delete(b.each, address)
		}
	}, nil
}

var errTooManyBodies = &workloadidentity.DenialError{Code: http.StatusTooManyRequests, Message: fmt.Sprintf(
	"the webhook reads too many reviews of more than %d KiB at a time; try again", smallReview>>10)}
