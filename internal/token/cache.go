package token

import (
	"crypto/sha256"
	"sync"
)

// maxVerified bounds each of the two generations of a verifier's cache; with
// claims of about 1 KiB a full cache takes some 2 MiB.
const maxVerified = 1024

// accepted is a token that passed every check.
type accepted struct {
	keyID  string  // who signed it: its tokens end when the key retires
	claims *Claims // never changed
}

// verified remembers the tokens that a verifier accepted, by the hash of the
// whole token, signature included. A refusal is never remembered.
//
// It forgets by generations: when the young one is full it becomes the old one,
// and what was old is gone. A token in use moves back into the young one.
type verified struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]accepted
}

func (v *verified) get(sum [sha256.Size]byte) (accepted, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if a, ok := v.young[sum]; ok {
		return a, true
	}
	a, ok := v.old[sum]
	if ok {
		v.add(sum, a)
	}
	return a, ok
}

func (v *verified) put(sum [sha256.Size]byte, a accepted) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.add(sum, a)
}

func (v *verified) add(sum [sha256.Size]byte, a accepted) {
	if v.young == nil || len(v.young) >= maxVerified {
		v.old, v.young = v.young, make(map[[sha256.Size]byte]accepted)
	}
	v.young[sum] = a
}
