package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyard-id/lanyard/internal/exchange"
	"github.com/lanyard-id/lanyard/internal/imds"
)

const (
	// attempts is how often the token service is asked for one token.
	attempts = 3
	// maxConcurrent bounds the requests that are answered at a time.
	maxConcurrent = 100
	// stopTimeout is how long a stop waits for requests that are being answered.
	stopTimeout = 5 * time.Second
)

// Proxy answers a pod's metadata requests.
type Proxy struct {
	log      *slog.Logger
	client   *exchange.Client
	metadata http.Handler
	listener net.Listener
	http     *http.Server
}

// New checks a configuration and opens the listener, on the loopback address
// alone: who is in the pod is the workload, and nobody else is.
func New(c Config) (*Proxy, error) {
	if !exchange.IsTenant(c.TenantID) {
		return nil, fmt.Errorf("AZURE_TENANT_ID is %q: it is a tenant's GUID or domain name", c.TenantID)
	}
	client, err := exchange.New(exchange.Config{
		Authority: c.AuthorityHost, TokenFile: c.TokenFile, TokenProxy: c.TokenProxy, Attempts: attempts,
		UserAgent: c.UserAgent, Transport: c.Transport, Now: c.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("the token service: %w", err)
	}
	p := &Proxy{log: c.Log, client: client}
	cache := imds.NewCache(imds.CacheConfig{Source: exchanging(client, c.TenantID, c.Log), Now: c.Now, Logger: c.Log})
	p.metadata = imds.New(imds.Config{
		Source: &source{clientID: c.ClientID, tokens: cache}, OnlyTokens: true,
		Limits: imds.Limits{Concurrent: maxConcurrent}, Now: c.Now, Logger: c.Log,
	})
	if p.listener, err = net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port))); err != nil {
		return nil, err
	}
	p.http = &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 75 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	return p, nil
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.log.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path)
	if r.URL.Path == "/readyz" {
		p.readyz(w)
		return
	}
	p.metadata.ServeHTTP(w, r)
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// readyz answers 200 when there is a service account token to present.
func (p *Proxy) readyz(w http.ResponseWriter) {
	if err := p.client.CheckTokenFile(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// Run serves until ctx ends, then lets running requests finish.
func (p *Proxy) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- p.http.Serve(p.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	if err := p.http.Shutdown(stopping); err != nil {
		p.log.WarnContext(ctx, "requests were cut off", "error", errors.Join(err, p.http.Close()))
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}
