package token

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// FirstKey is a signing key in the making for [OpenKeys], which on a cloud's
// first start would otherwise wait for it: the making of an RSA key needs tens of
// milliseconds of CPU and nothing of the store, which opens meanwhile.
//
// A key is for one cloud, since each of two with the same key could sign the
// other's tokens: a FirstKey is taken once.
type FirstKey struct {
	taken  atomic.Bool
	done   chan struct{}
	record *record
	err    error
}

// MakeFirstKey begins to make a key on a goroutine of its own, which ends by
// itself. now is the clock; nil is time.Now.
func MakeFirstKey(now func() time.Time) *FirstKey {
	if now == nil {
		now = time.Now
	}
	f := &FirstKey{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.record, f.err = newRecord(now(), 0)
	}()
	return f
}

// Wait returns when the goroutine has ended.
func (f *FirstKey) Wait() { <-f.done }

// take gives the key when it is made, to the first who asks.
func (f *FirstKey) take(ctx context.Context) (*record, error) {
	if f.taken.Swap(true) {
		return nil, errors.New("the prepared key is another cloud's")
	}
	select {
	case <-f.done:
		return f.record, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// KeysOption changes how [OpenKeys] opens.
type KeysOption func(*keysOptions)

type keysOptions struct{ first *FirstKey }

// WithFirstKey takes the first key from f where there is none yet; where there
// is one, f is not used. The default begins to make the key when it is seen to be
// missing.
func WithFirstKey(f *FirstKey) KeysOption { return func(o *keysOptions) { o.first = f } }
