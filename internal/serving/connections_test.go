package serving

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/standin"
)

// noCertificates are of a server whose certificate nobody looks at.
type noCertificates struct{}

func (noCertificates) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return nil, errNoCertificate
}
func (noCertificates) Missing() []string       { return nil }
func (noCertificates) Run(ctx context.Context) { <-ctx.Done() }

// TestConnectionsOfOneAddress: a pod opens connections and says nothing, as many as
// it can. It is let have some, others are served, and what it lets go is free again.
func TestConnectionsOfOneAddress(t *testing.T) {
	s, err := Listen(Config{
		Name: "main", Addr: "127.0.0.1:0", HealthAddr: "127.0.0.1:0", Handler: http.NotFoundHandler(), Certificates: noCertificates{},
		Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range s.servers { // a busy machine's time to open a thousand
		one.http.ReadHeaderTimeout, one.http.ReadTimeout, one.http.WriteTimeout = time.Hour, time.Hour, time.Hour
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	dialer := standin.Neighbour(t)
	dial := func(server string) net.Conn {
		conn, err := dialer.DialContext(ctx, "tcp", s.Addr(server).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	// ask gives the answer to a request, which is one also where TLS is spoken.
	ask := func(conn net.Conn) string {
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.0\r\n\r\n")
		text, _ := io.ReadAll(conn)
		return string(text)
	}
	for server, most := range map[string]int{"main": 1024, "health": 64} {
		held := make([]net.Conn, most)
		for i := range held {
			held[i] = dial(server)
		}
		if answer := ask(dial(server)); answer != "" {
			t.Errorf("%s: one more is served: %s", server, answer)
		}
		if server == "health" {
			if resp, err := http.Get("http://" + s.Addr(server).String() + "/healthz"); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("another address is not served: %v", err)
			} else {
				resp.Body.Close()
			}
			for _, conn := range held {
				conn.Close()
			}
			for ask(dial(server)) == "" { // the server sees the ends a moment later
			}
		}
	}
}
