package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relay takes connections to one of several addresses, in turn, as a load
// balancer does that knows nothing of what is in them. One that refuses is
// passed over for the next.
type relay struct {
	net.Listener
	backends []*backend
	turn     atomic.Uint32
	running  sync.WaitGroup
}

// backend is an address of a relay.
type backend struct {
	addr string
	away atomic.Bool // it gets no new connections

	mu    sync.Mutex
	gone  bool // it is cut off
	conns map[net.Conn]bool
	taken int // connections that it has been given
}

func newRelay(t *testing.T, addrs ...string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: listener}
	for _, addr := range addrs {
		r.backends = append(r.backends, &backend{addr: addr, conns: map[net.Conn]bool{}})
	}
	r.running.Go(r.accept)
	t.Cleanup(func() {
		r.Close()
		for _, b := range r.backends {
			b.cut(true)
		}
		r.running.Wait()
	})
	return r
}

func (r *relay) accept() {
	for {
		client, err := r.Accept()
		if err != nil {
			return
		}
		r.running.Go(func() { r.carry(client) })
	}
}

// carry connects a client with the backend whose turn it is, until either ends.
func (r *relay) carry(client net.Conn) {
	defer client.Close()
	turn := int(r.turn.Add(1))
	for i := range r.backends {
		b := r.backends[(turn+i)%len(r.backends)]
		server, err := b.dial(client)
		if err != nil {
			continue
		}
		var up sync.WaitGroup
		up.Go(func() {
			_, _ = io.Copy(server, client)
			_ = server.(*net.TCPConn).CloseWrite()
		})
		_, _ = io.Copy(client, server)
		client.Close()
		up.Wait()
		b.hangUp(client, server)
		return
	}
}

var errNotReady = errors.New("the backend is not ready")

// dial connects to the backend for a client, and notes both ends for cut.
func (b *backend) dial(client net.Conn) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone || b.away.Load() {
		return nil, errNotReady
	}
	server, err := net.Dial("tcp", b.addr)
	if err != nil {
		return nil, err
	}
	b.conns[client], b.conns[server] = true, true
	b.taken++
	return server, nil
}

func (b *backend) hangUp(conns ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(b.conns, c)
	}
}

// cut breaks the backend's connections at once and lets none through, as the
// loss of its machine or of the network to it does; or ends that.
func (b *backend) cut(gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = gone
	if gone {
		for c := range b.conns {
			c.Close()
		}
	}
}

func (b *backend) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken
}

// watch asks a replica's /readyz again and again, until stop, and keeps new
// connections from one that is not ready.
func (b *backend) watch(client *http.Client, domain string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+domain+"/readyz", nil)
			ready := err == nil
			if ready {
				resp, err := client.Do(req)
				ready = err == nil && resp.StatusCode == http.StatusOK
				if err == nil {
					resp.Body.Close()
				}
			}
			b.away.Store(!ready)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}
