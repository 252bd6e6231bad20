package standin

import (
	"net"
	"testing"
)

// Neighbour dials servers on the loopback from an address that is not theirs, as
// another machine would. Where the machine has one loopback address alone, the test
// is skipped.
func Neighbour(tb testing.TB) *net.Dialer {
	tb.Helper()
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	l, err := net.ListenTCP("tcp", address)
	if err != nil {
		tb.Skipf("NOT TESTED: this machine lacks a second loopback address: %v", err)
	}
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	return &net.Dialer{LocalAddr: address}
}
