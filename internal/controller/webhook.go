package controller

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// WebhookConfig is all that a webhook server is made from.
type WebhookConfig struct {
	// Kubernetes reaches the API server. Required.
	Kubernetes *rest.Config
	// Settings are the operator's. NativeSidecar is found out from the cluster.
	Settings workloadidentity.Settings
	// Addr, HealthAddr and MetricsAddr are host:port to listen on. An empty
	// health or metrics address, or "0", goes without.
	Addr, HealthAddr, MetricsAddr string
	// CertDir holds tls.crt and tls.key, kept by someone else. Empty, the
	// webhook keeps its own certificate, in a Secret of Namespace.
	CertDir string
	// TLSMinVersion is a constant of crypto/tls; TLS 1.3 when 0.
	TLSMinVersion uint16
	// Namespace is the webhook's own. Required without CertDir.
	Namespace string
	// Log is required.
	Log *slog.Logger
	// Now is the clock by which certificates are renewed; time.Now when nil.
	Now func() time.Time
}

// Webhook is the workload identity webhook's server.
type Webhook struct {
	log      *slog.Logger
	metrics  *metrics
	accounts *serviceAccounts
	keeper   *certKeeper // nil with files
	files    *certFiles  // nil with a keeper
	version  func(context.Context) (*version.Version, error)
	base     workloadidentity.Settings
	settings atomic.Pointer[workloadidentity.Settings] // nil until the cluster's version is known
	servers  []server
}

// server is one listener and what answers on it.
type server struct {
	name     string
	listener net.Listener
	http     *http.Server
}

// NewWebhook checks a configuration and opens the listeners, so that a mistake
// or a taken address is known at once. Run serves them.
func NewWebhook(c WebhookConfig) (*Webhook, error) {
	if err := c.Settings.Validate(); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	countKubernetesRequests()
	// client-go's default of five requests a second is for commands.
	config := rest.CopyConfig(c.Kubernetes)
	config.QPS, config.Burst = 50, 100
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	meta, err := metadata.NewForConfigAndClient(metadata.ConfigFor(config), client)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	w := &Webhook{
		log: c.Log, metrics: newMetrics(), accounts: newServiceAccounts(meta), base: c.Settings,
		version: func(ctx context.Context) (*version.Version, error) { return serverVersion(ctx, config, client) },
	}
	var certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	if c.CertDir != "" {
		w.files = &certFiles{dir: c.CertDir, log: c.Log, metrics: w.metrics}
		if err := w.files.read(); err != nil {
			return nil, fmt.Errorf("reading the certificate: %w", err)
		}
		certificate = w.files.getCertificate
	} else {
		if c.Namespace == "" {
			return nil, errors.New("a webhook that keeps its own certificate needs its namespace")
		}
		dyn, err := dynamic.NewForConfigAndClient(config, client)
		if err != nil {
			return nil, fmt.Errorf("reaching the API server: %w", err)
		}
		w.keeper = newCertKeeper(dyn, meta, c.Namespace, c.Now, c.Log)
		certificate = w.keeper.getCertificate
	}
	if err := w.listen(c, certificate); err != nil {
		return nil, err
	}
	return w, nil
}

// listen opens the three listeners.
func (w *Webhook) listen(c WebhookConfig, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) error {
	tlsConfig := &tls.Config{MinVersion: c.TLSMinVersion, GetCertificate: certificate, NextProtos: []string{"http/1.1"}}
	if tlsConfig.MinVersion == 0 {
		tlsConfig.MinVersion = tls.VersionTLS13
	}
	hook := http.NewServeMux()
	hook.HandleFunc(MutatePath, w.mutate)
	health := http.NewServeMux()
	health.HandleFunc("GET /healthz", w.healthz)
	health.HandleFunc("GET /readyz", w.readyz)
	gather := http.NewServeMux()
	gather.Handle("GET /metrics", promhttp.HandlerFor(w.metrics.registry, promhttp.HandlerOpts{}))
	for _, s := range []struct {
		name, addr string
		handler    http.Handler
		tls        *tls.Config
	}{
		{"webhook", c.Addr, hook, tlsConfig}, {"health", c.HealthAddr, health, nil}, {"metrics", c.MetricsAddr, gather, nil},
	} {
		if s.tls == nil && (s.addr == "" || s.addr == "0") {
			continue
		}
		l, err := net.Listen("tcp", s.addr)
		if err != nil {
			w.closeListeners()
			return fmt.Errorf("listening for %s: %w", s.name, err)
		}
		if s.tls != nil {
			l = tls.NewListener(l, s.tls)
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true) // what the API server's webhook client speaks
		w.servers = append(w.servers, server{s.name, l, &http.Server{
			Handler: s.handler, Protocols: protocols,
			ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
			// Longer than the API server keeps a connection, so that it is
			// never the one that finds it closed.
			IdleTimeout: 3 * time.Minute, MaxHeaderBytes: 64 << 10,
			ErrorLog: slog.NewLogLogger(w.log.Handler(), slog.LevelDebug),
		}})
	}
	return nil
}

func (w *Webhook) closeListeners() {
	for _, s := range w.servers {
		s.listener.Close()
	}
}

// Addr gives the address of a listener: "webhook", "health" or "metrics"; nil
// for one that there is not.
func (w *Webhook) Addr(name string) net.Addr {
	for _, s := range w.servers {
		if s.name == name {
			return s.listener.Addr()
		}
	}
	return nil
}

// stopTimeout is how long a stop waits for admissions that are being answered.
const stopTimeout = 10 * time.Second

// Run serves until ctx ends, then lets running admissions finish. It gives the
// first error of a server, nil after an ordered stop.
func (w *Webhook) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	work.Go(func() { w.accounts.run(ctx) })
	work.Go(func() { w.followVersion(ctx) })
	if w.keeper != nil {
		work.Go(func() { w.keeper.run(ctx) })
	} else {
		work.Go(func() { w.files.run(ctx) })
	}
	for _, s := range w.servers {
		work.Go(func() {
			if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serving %s: %w", s.name, err))
			}
		})
	}
	<-ctx.Done()
	// The health server goes last: until then it says that this one stops.
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	for _, s := range w.servers {
		if err := s.http.Shutdown(stopping); err != nil {
			w.log.WarnContext(ctx, "admissions were cut off", "server", s.name, "error", errors.Join(err, s.http.Close()))
		}
	}
	work.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// nativeSidecarsFrom is the first version that may count on native sidecars: they
// are on from 1.29, and a node may be three versions behind.
var nativeSidecarsFrom = version.MustParseGeneric("1.32.0")

// followVersion asks for the cluster's version until it is known, and now and
// then after that: clusters are upgraded.
func (w *Webhook) followVersion(ctx context.Context) {
	retry := 100 * time.Millisecond
	for {
		wait := 10 * time.Minute
		if v, err := w.version(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			w.log.WarnContext(ctx, "the cluster's version cannot be read", "error", err)
			wait, retry = retry, min(2*retry, 30*time.Second)
		} else {
			s := w.base
			s.NativeSidecar = v.AtLeast(nativeSidecarsFrom)
			if old := w.settings.Swap(&s); old == nil || old.NativeSidecar != s.NativeSidecar {
				w.log.InfoContext(ctx, "cluster", "version", v.String(), "nativeSidecars", s.NativeSidecar)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// serverVersion asks the API server for its version.
func serverVersion(ctx context.Context, config *rest.Config, client *http.Client) (*version.Version, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("version").String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET /version: %s", resp.Status)
	}
	var answer struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("GET /version: %w", err)
	}
	return version.ParseGeneric(answer.GitVersion)
}
