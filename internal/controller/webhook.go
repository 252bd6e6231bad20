package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/lanyard-id/lanyard/internal/serving"
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
	version  func(context.Context) (*version.Version, error)
	base     workloadidentity.Settings
	settings atomic.Pointer[workloadidentity.Settings] // nil until the cluster's version is known
	servers  *serving.Servers
}

// NewWebhook checks a configuration and opens the listeners, so that a mistake
// or a taken address is known at once. Run serves them.
func NewWebhook(c WebhookConfig) (*Webhook, error) {
	if err := c.Settings.Validate(); err != nil {
		return nil, err
	}
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
	dyn, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	w := &Webhook{
		log: c.Log, metrics: newMetrics(), accounts: newServiceAccounts(meta), base: c.Settings,
		version: func(ctx context.Context) (*version.Version, error) { return serverVersion(ctx, config, client) },
	}
	certificates, err := w.certificates(c, dyn, meta)
	if err != nil {
		return nil, err
	}
	hook := http.NewServeMux()
	hook.HandleFunc(MutatePath, w.mutate)
	w.servers, err = serving.Listen(serving.Config{
		Name: "webhook", Addr: c.Addr, HealthAddr: c.HealthAddr, MetricsAddr: c.MetricsAddr, TLSMinVersion: c.TLSMinVersion,
		Handler: hook, Certificates: certificates, Missing: w.missing, Metrics: w.metrics.registry, Log: c.Log,
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Addr gives the address of a listener: "webhook", "health" or "metrics"; nil
// for one that there is not.
func (w *Webhook) Addr(name string) net.Addr { return w.servers.Addr(name) }

// Run serves until ctx ends, then lets running admissions finish. It gives the
// first error of a server, nil after an ordered stop.
func (w *Webhook) Run(ctx context.Context) error {
	return w.servers.Run(ctx, w.accounts.run, w.followVersion)
}

// missing says what the webhook waits for, besides its certificate.
func (w *Webhook) missing() []string {
	var missing []string
	if w.settings.Load() == nil {
		missing = append(missing, "the cluster's version is not known yet")
	}
	if !w.accounts.synced.Load() {
		missing = append(missing, "the service accounts are not known yet")
	}
	return missing
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
