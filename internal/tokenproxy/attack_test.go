package tokenproxy

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/standin"
)

// dialAsAnother connects to the token proxy as another pod would.
func (r *running) dialAsAnother(t *testing.T) net.Conn {
	t.Helper()
	config := r.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = nil
	dialer := &tls.Dialer{NetDialer: standin.Neighbour(t), Config: config}
	conn, err := dialer.DialContext(t.Context(), "tcp", r.Addr("token proxy").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestSlowRequestsBlockNobody: one pod opens more requests than are answered at a
// time, and never finishes them. Another pod still gets its token, and so does the
// first when it lets go.
func TestSlowRequestsBlockNobody(t *testing.T) {
	r := start(t, nil)
	for range maxDeciding + 8 {
		conn := r.dialAsAnother(t)
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: proxy.example\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\ngrant_type=", tokenPath)
	}
	r.until(t, "the slow requests are there", func() bool {
		r.limits.mu.Lock()
		defer r.limits.mu.Unlock()
		return r.limits.open >= min(maxOpenEach, maxDeciding)
	})
	if status, answer := r.post(t, form()); status != http.StatusOK {
		t.Errorf("another pod: %d %v", status, answer)
	}
}

// until waits for a condition.
func (r *running) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s; log:\n%s", what, r.log)
		}
	}
}

// TestFloodsFillNoLog: requests that are one too many are counted, and no line of
// the log is written for each; nor does a name of any length come into it.
func TestFloodsFillNoLog(t *testing.T) {
	stopped := time.Now() // a clock by which nobody gets further requests
	r := start(t, func(c *Config) { c.Now = func() time.Time { return stopped } })
	long := strings.Repeat("x", 40<<10)
	r.do(t, http.MethodPost, "/"+long+"/oauth2/v2.0/token", form().Encode())
	lines, throttled := 1, 0
	for throttled < 50 {
		if response, _ := r.do(t, http.MethodPost, tokenPath, ""); response.StatusCode == http.StatusTooManyRequests {
			throttled++
			continue
		}
		lines++
	}
	log := r.log.String()
	if n := strings.Count(log, `level=INFO msg="token request"`); n != lines {
		t.Errorf("%d lines for %d requests that were answered, and %d that were one too many", n, lines, throttled)
	}
	if strings.Contains(log, long[:1000]) {
		t.Error("what a client sends is in the log at any length")
	}
}
