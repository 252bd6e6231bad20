package tokenproxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/exchange"
	"github.com/lanyard-id/lanyard/internal/serving"
)

// Proxy is the token proxy's server.
type Proxy struct {
	cfg       Config
	log       *slog.Logger
	authority *url.URL // the token service, as it is named in discovery
	reviews   *reviewer
	exchange  *exchange.Client
	limits    *limits
	metrics   *metrics
	servers   *serving.Servers
}

// New checks a configuration and opens the listeners, so that a mistake or a taken
// address is known at once. Run serves them.
func New(c Config) (*Proxy, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	exchanger, err := exchange.New(exchange.Config{
		Authority: c.AuthorityHost, TokenFile: c.TokenFile, UserAgent: c.UserAgent, Transport: c.Transport, Now: c.Now,
		// Once: the SDKs behind try again themselves, by what the answer says.
		Attempts: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("the token service: %w", err)
	}
	authority, err := url.Parse(c.AuthorityHost)
	if err != nil {
		return nil, fmt.Errorf("the token service: %w", err)
	}
	// Two questions for each token; the API server has limits of its own.
	config := rest.CopyConfig(c.Kubernetes)
	config.QPS, config.Burst = 200, 400
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	dyn, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	meta, err := metadata.NewForConfigAndClient(metadata.ConfigFor(config), client)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	p := &Proxy{
		cfg: c, log: c.Log, authority: authority, reviews: &reviewer{client: dyn, audience: c.Audience},
		exchange: exchanger, limits: newLimits(c.Now), metrics: newMetrics(),
	}
	certificate, err := certificates(&c, dyn, meta)
	if err != nil {
		return nil, err
	}
	p.servers, err = serving.Listen(serving.Config{
		Name: "token proxy", Addr: c.Addr, HealthAddr: c.HealthAddr, MetricsAddr: c.MetricsAddr,
		TLSMinVersion: c.TLSMinVersion, HTTP2: true, Handler: p.handler(), Certificates: certificate,
		Missing: p.missing, Metrics: p.metrics.registry, Log: c.Log,
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// handler is the endpoint's routes. The paths are those of the token service, by
// which SDKs ask; a client without an SDK may ask at the root.
func (p *Proxy) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) { p.token(w, r, r.PathValue("tenant")) })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { p.token(w, r, p.cfg.Tenants[0]) })
	mux.HandleFunc("GET /common/discovery/instance", p.instanceDiscovery)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", p.tenantDiscovery)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, azure.Errorf(http.StatusNotFound, "invalid_request", "This is a token proxy: tokens are asked for at /{tenant}/oauth2/v2.0/token."), "")
	})
	return mux
}

// missing says what the token proxy waits for, besides its certificate.
func (p *Proxy) missing() []string {
	if err := p.exchange.CheckTokenFile(); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// Addr gives the address of a listener: "token proxy", "health" or "metrics"; nil
// for one that there is not.
func (p *Proxy) Addr(name string) net.Addr { return p.servers.Addr(name) }

// Run serves until ctx ends, then lets running requests finish. It gives the first
// error of a server, nil after an ordered stop.
func (p *Proxy) Run(ctx context.Context) error { return p.servers.Run(ctx) }
