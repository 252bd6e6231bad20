package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// clientTimeout bounds one request of a client of [Environment.Client].
const clientTimeout = 30 * time.Second

// Client reaches the cloud of the environment file: every name leads to its
// listener, and its authority alone is trusted. It follows no redirect: the
// cloud sends none, and a secret must not follow whoever does.
func (e Environment) Client() (*http.Client, error) {
	ca, err := os.ReadFile(e.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the cloud's authority: %w; start the cloud again to have the file written", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("the cloud's authority %s holds no PEM certificate", e.CAFile)
	}
	return &http.Client{
		Timeout: clientTimeout,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, e.DialAddress())
			},
			TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
