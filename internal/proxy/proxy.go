package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// user is the name in the proxy's URL. The secret alone decides.
const user = "lanyard"

const (
	// dialTimeout bounds the time to reach a target or the upstream proxy,
	// including the upstream's answer to CONNECT.
	dialTimeout = 30 * time.Second
	// headerTimeout bounds the time that a client takes to send a request's head.
	headerTimeout = 10 * time.Second
	// idleTimeout closes kept-alive connections of plain HTTP clients.
	idleTimeout = 2 * time.Minute
	// maxHeaderBytes bounds a request's head.
	maxHeaderBytes = 64 << 10
)

// Config configures [Listen].
type Config struct {
	// Listen is the loopback address, "127.0.0.1:0" by default; port 0 lets
	// the kernel choose. An address that is not loopback is refused.
	Listen string
	// Secret is what clients must present. Required.
	Secret string
	// Names are led to Target, on any port: "example.test" is that name alone,
	// "*.example.test" everything below it. Case does not matter.
	Names []string
	// Target is the cloud's listener, "host:port". Required.
	Target string
	// Upstream tells the proxy for other names; nil takes it from this
	// process's environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), once, now.
	Upstream func(*url.URL) (*url.URL, error)
	// Logger receives failures at level Info and tunnels at level Debug.
	// Default: discarded.
	Logger *slog.Logger
}

// Proxy is a listening proxy.
type Proxy struct {
	secret   [sha256.Size]byte
	text     string
	names    []string
	target   string
	upstream func(*url.URL) (*url.URL, error)
	log      *slog.Logger

	listener  net.Listener
	server    *http.Server
	transport *http.Transport
	forward   *httputil.ReverseProxy

	// ctx ends with Close: it stops dials and names the end of tunnels.
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup // requests and tunnels
}

// Listen opens the proxy's listener. Connections are answered once [Proxy.Serve]
// runs.
func Listen(cfg Config) (*Proxy, error) {
	if cfg.Secret == "" || cfg.Target == "" {
		return nil, errors.New("proxy: a secret and a target are required")
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if err := requireLoopback(cfg.Listen); err != nil {
		return nil, err
	}
	if cfg.Upstream == nil {
		cfg.Upstream = httpproxy.FromEnvironment().ProxyFunc()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("proxy: listening on %s: %w", cfg.Listen, err)
	}

	p := &Proxy{
		secret:   sha256.Sum256([]byte(cfg.Secret)),
		text:     cfg.Secret,
		names:    cfg.Names,
		target:   cfg.Target,
		log:      cfg.Logger,
		listener: l,
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.upstream = notItself(cfg.Upstream, l.Addr().String())
	p.transport = &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return p.upstream(r.URL) },
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		IdleConnTimeout:       idleTimeout,
		ResponseHeaderTimeout: 0, // the program's own timeout decides
		DisableCompression:    true,
	}
	p.forward = &httputil.ReverseProxy{
		Transport: p.transport,
		Rewrite:   restoreForwarded,
		ErrorLog:  slog.NewLogLogger(p.log.Handler(), slog.LevelInfo),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p.refuse(w, r, http.StatusBadGateway, "cannot forward the request: "+err.Error())
		},
	}
	p.server = &http.Server{
		Handler:           http.HandlerFunc(p.handle),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return p.ctx },
	}
	return p, nil
}

// requireLoopback refuses an address that others could reach.
func requireLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("proxy: listen address %q: %w", listen, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return fmt.Errorf("proxy: listen address %q is not loopback: the proxy serves this machine alone", listen)
	}
	return nil
}

// notItself takes the upstream proxy out where it is this very proxy: a shell
// that has taken over the cloud's environment and starts the cloud again would
// otherwise make the proxy its own upstream, without end.
func notItself(upstream func(*url.URL) (*url.URL, error), self string) func(*url.URL) (*url.URL, error) {
	return func(u *url.URL) (*url.URL, error) {
		via, err := upstream(u)
		if via != nil && via.Host == self {
			return nil, err
		}
		return via, err
	}
}

// restoreForwarded passes the request on as it came: ReverseProxy drops
// forwarding headers, which are the program's own here.
func restoreForwarded(r *httputil.ProxyRequest) {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := r.In.Header[h]; ok {
			r.Out.Header[h] = v
		}
	}
	r.Out.Host = r.In.Host
}

// Addr is the listener's address, "127.0.0.1:port".
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL is what clients set as HTTPS_PROXY. It holds the secret.
func (p *Proxy) URL() string {
	return (&url.URL{Scheme: "http", User: url.UserPassword(user, p.text), Host: p.Addr()}).String()
}

// Serve answers connections until [Proxy.Close]. It returns nil after Close.
func (p *Proxy) Serve() error {
	if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("proxy: %w", err)
	}
	return nil
}

// Close stops listening, ends every request and tunnel, and returns when their
// goroutines are gone. It does not wait for tunnels to drain: what is at their
// other end is not the proxy's to judge, and a kept-alive one never ends.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	err := p.server.Close()
	if lerr := p.listener.Close(); err == nil && !errors.Is(lerr, net.ErrClosed) {
		err = lerr
	}
	p.wg.Wait()
	p.transport.CloseIdleConnections()
	return err
}

// begin counts a request in, unless Close has begun to wait.
func (p *Proxy) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.wg.Add(1)
	}
	return !p.closed
}

// handle authenticates and tells tunnels from plain requests.
func (p *Proxy) handle(w http.ResponseWriter, r *http.Request) {
	if !p.begin() {
		return
	}
	defer p.wg.Done()
	if !p.authentic(r) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="lanyard"`)
		p.refuse(w, r, http.StatusProxyAuthRequired,
			"the proxy's secret is missing or wrong: take the proxy's URL from the environment file (lanyard env)")
		return
	}
	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case r.URL.IsAbs() && r.URL.Scheme == "http":
		if p.own(r.URL.Hostname()) {
			p.refuse(w, r, http.StatusBadRequest, "the cloud speaks HTTPS only: use https://"+r.URL.Host)
			return
		}
		p.forward.ServeHTTP(w, r)
	default:
		p.refuse(w, r, http.StatusBadRequest, "this is a proxy: it takes CONNECT, and requests for absolute http:// URLs")
	}
}

// authentic compares digests, so that neither the secret's text nor its length
// shows in the time taken.
func (p *Proxy) authentic(r *http.Request) bool {
	// Request.BasicAuth reads Authorization; the syntax is the same.
	probe := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	_, password, ok := probe.BasicAuth()
	sum := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(sum[:], p.secret[:]) == 1 && ok
}

// own reports whether host is one of the cloud's names.
func (p *Proxy) own(host string) bool {
	host = strings.TrimSuffix(host, ".")
	for _, name := range p.names {
		if parent, below := strings.CutPrefix(name, "*."); below {
			if sub, ok := azure.CutSuffixFold(host, "."+parent); ok && sub != "" {
				return true
			}
		} else if azure.EqualFold(host, name) {
			return true
		}
	}
	return false
}

// refuse answers a request that the proxy does not pass on.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	p.log.InfoContext(r.Context(), "proxy: request refused", "status", status, "host", r.Host, "reason", why)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	fmt.Fprintln(w, "lanyard proxy: "+why)
}
