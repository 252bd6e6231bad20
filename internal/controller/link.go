package controller

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// ChannelConfig is where the cloud hears of the cluster, and how it knows the
// agent. All fields are required.
type ChannelConfig struct {
	// Endpoint is https://agents.DOMAIN, ClusterID the cluster's GUID, as the
	// enrolment answers them.
	Endpoint, ClusterID string
	// TokenFile holds the agent's token for the channel.
	TokenFile string
}

// link is the webhook's side of the channel: a client for each content of the
// authority's file, one after another.
type link struct {
	config    channel.ClientConfig // without CAs
	authority *authoritySource
	client    atomic.Pointer[channel.Client]
}

func newLink(c WebhookConfig, authority *authoritySource) (*link, error) {
	config := channel.ClientConfig{
		Endpoint: c.Channel.Endpoint, ClusterID: c.Channel.ClusterID, TokenFile: c.Channel.TokenFile,
		Version: c.Version, Logger: c.Log,
	}
	if cloud := c.Settings.Cloud; cloud != nil && cloud.Address.IsValid() {
		dial, err := dialAt(c.Channel.Endpoint, cloud.Address)
		if err != nil {
			return nil, err
		}
		config.Dial = dial
	}
	l := &link{config: config, authority: authority}
	return l, l.renew(authority.load())
}

// dialAt goes to an address in the place of an endpoint's name: the webhook has
// no host aliases, and needs the name of no other host.
func dialAt(endpoint string, address netip.Addr) (func(context.Context, string, string) (net.Conn, error), error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("the endpoint of the channel: %w", err)
	}
	name := u.Hostname()
	return func(ctx context.Context, network, where string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(where)
		if err == nil && host == name { // and not a proxy of the environment's
			where = net.JoinHostPort(address.String(), port)
		}
		return new(net.Dialer).DialContext(ctx, network, where)
	}, nil
}

// renew makes a client that trusts an authority.
func (l *link) renew(a *authority) error {
	config := l.config
	config.CAs = a.pool
	client, err := channel.NewClient(config)
	if err != nil {
		return err
	}
	l.client.Store(client)
	return nil
}

// run follows the cloud until ctx ends.
func (l *link) run(ctx context.Context) {
	for a := l.authority.load(); ctx.Err() == nil; {
		following, stop := context.WithCancel(ctx)
		var client sync.WaitGroup
		client.Go(func() { l.client.Load().Run(following) })
		select {
		case <-a.changed:
		case <-ctx.Done():
		}
		stop()
		client.Wait()
		if a = l.authority.load(); l.renew(a) != nil {
			return // the configuration was checked: only the authority is another
		}
	}
}

// federation gives what the cloud knows, nil unless all of it is known now: what
// changed since the cloud was last heard, or is not told, must not be taken for a
// mistake of the pod's.
func (l *link) federation() workloadidentity.Federation {
	if l == nil {
		return nil
	}
	state := l.client.Load().State()
	if _, live := state.Stream(); !live {
		return nil
	}
	if cluster, ok := state.Cluster(); !ok || cluster.Incomplete {
		return nil
	}
	return federation{state}
}

// federation reads the channel's state as workloadidentity.Federation.
type federation struct{ state *channel.State }

// Issuer is documented with workloadidentity.Federation, as the other methods are.
func (f federation) Issuer() string {
	cluster, _ := f.state.Cluster()
	return cluster.IssuerURL
}

// TenantKnown reports whether the cluster or a credential is of the tenant.
func (f federation) TenantKnown(tenantID string) bool { return f.state.TenantKnown(tenantID) }

// Trusted looks through the client's credentials.
func (f federation) Trusted(clientID, subject, audience string) workloadidentity.Trusted {
	all := f.state.ClientCredentials(clientID)
	if len(all) == 0 {
		return workloadidentity.TrustedNowhere
	}
	near := workloadidentity.TrustedElsewhere
	for _, c := range all {
		switch {
		case c.Flexible:
			return workloadidentity.TrustedHere
		case c.Subject != subject:
		case slices.Contains(c.Audiences, audience):
			return workloadidentity.TrustedHere
		default:
			near = workloadidentity.TrustedOtherwise
		}
	}
	return near
}
