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
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// How routes are checked.
const (
	// routeEvery is the time between checks, and routeAgain that after a failure.
	routeEvery = 10 * time.Second
	routeAgain = time.Second
	// routeTimeout bounds a check.
	routeTimeout = 5 * time.Second
	// maxAddresses bounds the addresses of a name: each of them is checked.
	maxAddresses = 16
	maxDiscovery = 256 << 10
)

// routes know whether the ways by which pods reach the token service end at the
// cloud. By a name of Azure's, a pod that is led astray would hand the proof of
// its identity to Azure, or to whoever answers there; so the webhook goes first,
// by the very way of the pods, and trusts the cloud's authority alone.
type routes struct {
	address   netip.Addr // of the host aliases; not valid: the cluster's DNS
	tenant    string
	authority *authoritySource
	log       *slog.Logger
	up        *prometheus.GaugeVec
	failures  *prometheus.CounterVec
	// lookup and dial are the network's.
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)

	order []*route // the first is that of pods that choose none
}

// route is the way to one authority host.
type route struct {
	host   string // URL
	name   string // host name
	port   string
	passed atomic.Bool           // a check has passed
	state  atomic.Pointer[error] // of the last check; nil: none has ended
}

var errUnchecked = errors.New("it has not been checked yet")

func newRoutes(s workloadidentity.Settings, authority *authoritySource, m *metrics, log *slog.Logger) (*routes, error) {
	r := &routes{
		address: s.Cloud.Address, tenant: s.TenantID, authority: authority, log: log, up: m.routeUp, failures: m.routeFailures,
		lookup: net.DefaultResolver.LookupNetIP, dial: new(net.Dialer).DialContext,
	}
	for _, host := range s.AuthorityHosts() {
		u, err := url.Parse(host)
		if err != nil {
			return nil, fmt.Errorf("the authority host %q is no URL", host)
		}
		one := &route{host: host, name: u.Hostname(), port: u.Port()}
		if one.port == "" {
			one.port = "443"
		}
		one.state.Store(&errUnchecked)
		r.order = append(r.order, one)
		r.up.WithLabelValues(one.host).Set(0)
		r.failures.WithLabelValues(one.host).Add(0)
	}
	return r, nil
}

// check says why pods must not take the way to an authority host, nil if they may.
func (r *routes) check(host string) error {
	for _, one := range r.order {
		if one.host == host {
			return one.err()
		}
	}
	return fmt.Errorf("%s is no authority host of the cloud", host)
}

func (one *route) err() error {
	if err := *one.state.Load(); err != nil {
		return fmt.Errorf("%s: %w", one.host, err)
	}
	return nil
}

// missing says why the way of pods that choose none has never been good. Once it
// was, a failure is told to whoever creates a pod: a webhook that is not ready is
// not asked, and then nobody says why.
func (r *routes) missing() []string {
	first := r.order[0]
	if first.passed.Load() {
		return nil
	}
	return []string{fmt.Sprintf("the route to the cloud is not in order: %v", first.err())}
}

// run checks routes until ctx ends, at once when the cloud's authority changes.
func (r *routes) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, one := range r.order {
		all.Go(func() { r.follow(ctx, one) })
	}
}

func (r *routes) follow(ctx context.Context, one *route) {
	for {
		authority := r.authority.load()
		wait := routeEvery
		if err := r.try(ctx, one, authority); ctx.Err() != nil {
			return
		} else if !r.note(ctx, one, err) {
			wait = routeAgain
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-authority.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// try checks a route, twice before it is given up: one lost packet is no reason
// to refuse pods.
func (r *routes) try(ctx context.Context, one *route, authority *authority) error {
	err := r.once(ctx, one, authority)
	if err != nil && ctx.Err() == nil {
		err = r.once(ctx, one, authority)
	}
	return err
}

// note remembers the result of a check, and tells whether it was good.
func (r *routes) note(ctx context.Context, one *route, err error) bool {
	former := *one.state.Swap(&err)
	if err == nil {
		one.passed.Store(true)
		r.up.WithLabelValues(one.host).Set(1)
		if former != nil {
			r.log.InfoContext(ctx, "the route to the cloud is in order", "authorityHost", one.host)
		}
		return true
	}
	r.up.WithLabelValues(one.host).Set(0)
	r.failures.WithLabelValues(one.host).Inc()
	if former == nil || former.Error() != err.Error() {
		r.log.ErrorContext(ctx, "the route to the cloud is not in order: pods that would take it are refused", "authorityHost", one.host, "error", err)
	}
	return false
}

// once goes by a route to every address that a pod may come to.
func (r *routes) once(ctx context.Context, one *route, authority *authority) error {
	ctx, cancel := context.WithTimeout(ctx, routeTimeout)
	defer cancel()
	addresses := []netip.Addr{r.address}
	if !r.address.IsValid() {
		found, err := r.lookup(ctx, "ip", one.name)
		if err != nil {
			return fmt.Errorf("the cluster's DNS: %w", err)
		}
		if len(found) == 0 || len(found) > maxAddresses {
			return fmt.Errorf("the cluster's DNS gives %d addresses for %s; it must be 1 to %d", len(found), one.name, maxAddresses)
		}
		addresses = found
	}
	failed := make([]error, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() {
			if err := r.ask(ctx, one, address, authority); err != nil {
				failed[i] = fmt.Errorf("at %s: %w", address.Unmap(), err)
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// ask gets the discovery document of the tenant, as the SDKs do that ask for one,
// from one address.
func (r *routes) ask(ctx context.Context, one *route, address netip.Addr, authority *authority) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		// No proxy: pods have none that the webhook knows of.
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return r.dial(ctx, network, net.JoinHostPort(address.Unmap().String(), one.port))
		},
		TLSClientConfig:   &tls.Config{RootCAs: authority.pool, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, Protocols: protocols,
		ResponseHeaderTimeout: routeTimeout, MaxResponseHeaderBytes: 64 << 10,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	version := "/v2.0"
	if strings.EqualFold(r.tenant, "adfs") { // which SDKs take for another kind of authority
		version = ""
	}
	base := strings.TrimSuffix(one.host, "/") + "/"
	where := base + url.PathEscape(r.tenant) + version + "/.well-known/openid-configuration"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the host is named already
		}
		return err
	}
	defer resp.Body.Close()
	var doc struct {
		TokenEndpoint string `json:"token_endpoint"`
		Error         string `json:"error"`
		Description   string `json:"error_description"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxDiscovery)).Decode(&doc)
	if resp.StatusCode != http.StatusOK {
		if doc.Error == "invalid_tenant" {
			return fmt.Errorf("the cloud does not know the tenant %q (AZURE_TENANT_ID): %.200s", r.tenant, firstLine(doc.Description))
		}
		return fmt.Errorf("the discovery document of tenant %q is answered with %s", r.tenant, resp.Status)
	}
	if err != nil {
		return fmt.Errorf("the discovery document of tenant %q: %w", r.tenant, err)
	}
	// SDKs send tokens to the endpoint that the document names.
	if !strings.HasPrefix(doc.TokenEndpoint, base) {
		return fmt.Errorf("the discovery document of tenant %q names the token endpoint %.200q, which is not under %s", r.tenant, doc.TokenEndpoint, base)
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\r\n")
	return line
}
