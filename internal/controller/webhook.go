package controller

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/rest"

	"github.com/lanyard-id/lanyard/internal/serving"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// WebhookConfig is all that a webhook server is made from.
type WebhookConfig struct {
	// Kubernetes reaches the API server. Required.
	Kubernetes *rest.Config
	// Settings are the operator's. NativeSidecar is found out from the cluster, and
	// a cloud's SubjectHashes from AuthorityFile.
	Settings workloadidentity.Settings
	// AuthorityFile holds the certificates of the cloud's authority, PEM. Required
	// with a cloud in Settings and with Channel. It is followed.
	AuthorityFile string
	// Channel is the way to the cloud's knowledge of the cluster; nil without one.
	Channel *ChannelConfig
	// Detect looks for pods that should have been mutated and were not.
	Detect bool
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
	// Instance names the replica in events, and Version the agent's release.
	Instance, Version string
	// Started is called once, in a goroutine of its own, when all service accounts
	// are in memory: a start needs more processors and memory than what follows. It
	// may be nil. Tune gives it.
	Started func()
	// Log is required.
	Log *slog.Logger
	// Now is the clock by which certificates are renewed; time.Now when nil.
	Now func() time.Time
}

// Webhook is the workload identity webhook's server.
type Webhook struct {
	log       *slog.Logger
	namespace string // its own
	metrics   *metrics
	accounts  *serviceAccounts
	bodies    *bodies
	api       *apiServer
	servers   *serving.Servers
	// The rest is nil where it is not configured.
	authority  *authoritySource // of the cloud
	tokenProxy *authoritySource // of the custom token endpoint
	routes     *routes
	trust      *trustMaps
	link       *link
	reporter   *reporter
	detector   *detector

	mu       sync.Mutex // of changes of settings
	next     workloadidentity.Settings
	release  *version.Version                          // of Kubernetes
	settings atomic.Pointer[workloadidentity.Settings] // nil until the cluster's version is known
}

// NewWebhook checks a configuration and opens the listeners, so that a mistake
// or a taken address is known at once. Run serves them.
func NewWebhook(c WebhookConfig) (*Webhook, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Started == nil {
		c.Started = func() {}
	}
	if c.Instance == "" {
		c.Instance = "webhook"
	}
	if err := c.Settings.Validate(); err != nil {
		return nil, err
	}
	k, err := newKubernetes(c.Kubernetes)
	if err != nil {
		return nil, err
	}
	w := &Webhook{
		log: c.Log, namespace: c.Namespace, metrics: newMetrics(), accounts: newServiceAccounts(k.metadata, c.Started), bodies: newBodies(), api: k.api, next: c.Settings,
	}
	if c.Detect {
		if w.detector, err = newDetector(k, c, w.metrics); err != nil {
			return nil, err
		}
	}
	if custom := c.Settings.CustomToken; custom != nil && custom.CADataConfigMap != "" {
		w.tokenProxy = awaitAuthority("the token endpoint", k.dynamic, c.Namespace, custom.CADataConfigMap, c.Log)
		w.update(w.tokenProxy.load().data)
	}
	if err := w.newCloud(c, k); err != nil {
		return nil, err
	}
	certificates, err := w.certificates(c, k.dynamic, k.metadata)
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
	work := []func(context.Context){w.accounts.run, w.followVersion}
	if w.authority != nil {
		work = append(work, w.authority.run, func(ctx context.Context) { w.followAuthority(ctx, w.authority, (*authority).name) })
	}
	if w.tokenProxy != nil {
		work = append(work, w.tokenProxy.run, func(ctx context.Context) { w.followAuthority(ctx, w.tokenProxy, (*authority).data) })
	}
	if w.routes != nil {
		work = append(work, w.routes.run)
	}
	if w.trust != nil {
		work = append(work, w.trust.run)
	}
	if w.detector != nil {
		work = append(work, w.detector.run)
	}
	if w.link != nil {
		work = append(work, w.link.run, w.reporter.run)
	}
	return w.servers.Run(ctx, work...)
}

// missing says what the webhook waits for, besides its certificate.
func (w *Webhook) missing() []string {
	var missing []string
	if w.settings.Load() == nil {
		missing = append(missing, "the cluster's version is not known yet")
	}
	missing = append(missing, w.accounts.missing()...)
	if w.routes != nil {
		missing = append(missing, w.routes.missing()...)
	}
	return missing
}

// update changes what admissions are decided by. Until the cluster's version is
// known there is nothing to decide by.
func (w *Webhook) update(change func(next *workloadidentity.Settings)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.next)
	if w.release != nil {
		settings := w.next
		w.settings.Store(&settings)
	}
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
		if v, err := w.api.version(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			w.log.WarnContext(ctx, "the cluster's version cannot be read", "error", err)
			wait, retry = retry, min(2*retry, 30*time.Second)
		} else {
			w.update(func(next *workloadidentity.Settings) {
				if native := v.AtLeast(nativeSidecarsFrom); w.release == nil || next.NativeSidecar != native {
					next.NativeSidecar = native
					w.log.InfoContext(ctx, "cluster", "version", v.String(), "nativeSidecars", native)
				}
				w.release = v
			})
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

// version is the cluster's, "" until it is known.
func (w *Webhook) version() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.release == nil {
		return ""
	}
	return "v" + w.release.String()
}
