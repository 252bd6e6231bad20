package serving

import (
	"net"
	"net/netip"
	"sync"
)

// Limits of the connections that one address may have open: each takes some ten
// kilobytes, and everybody in the cluster may make some. An API server has one for
// each admission that it waits for, which are some hundred.
const (
	mainConnections  = 1024
	otherConnections = 64 // of health and metrics
)

// limitedListener closes connections of an address that has too many.
type limitedListener struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[netip.Addr]int
}

func limitConnections(l net.Listener, most int) net.Listener {
	return &limitedListener{Listener: l, most: most, open: map[netip.Addr]int{}}
}

// Accept gives the next connection that is not one too many.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := l.admit(conn); ok {
			return c, nil
		}
		conn.Close()
	}
}

func (l *limitedListener) admit(conn net.Conn) (net.Conn, bool) {
	peer, _ := netip.ParseAddrPort(conn.RemoteAddr().String()) // else the zero address, which is one too
	address := peer.Addr().Unmap()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[address] >= l.most {
		return nil, false
	}
	l.open[address]++
	return &countedConn{Conn: conn, end: sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open[address]--; l.open[address] == 0 {
			delete(l.open, address)
		}
	})}, true
}

// countedConn tells of its end.
type countedConn struct {
	net.Conn
	end func()
}

// Close closes the connection.
func (c *countedConn) Close() error {
	defer c.end()
	return c.Conn.Close()
}
