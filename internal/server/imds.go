package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/lanyard-id/lanyard/internal/actas"
	"github.com/lanyard-id/lanyard/internal/imds"
)

// IMDSConfig configures an instance metadata service for development: this
// machine then has managed identities, as a virtual machine on Azure would.
type IMDSConfig struct {
	// Listen is the address of its plain HTTP listener, "HOST:PORT", on a
	// loopback or link-local address: whoever reaches it is the identity.
	// Default: none; the service does not run.
	Listen string `json:"listen"`
	// Identities are the machine's user-assigned identities, each by name,
	// resource ID or client ID. They need not exist yet. The bootstrap principal
	// must be allowed to assign them.
	Identities []string `json:"identities"`
}

func (c IMDSConfig) check() error {
	if c.Listen == "" {
		if len(c.Identities) > 0 {
			return errors.New("identities are for a metadata service, which needs an address to listen on")
		}
		return nil
	}
	if len(c.Identities) == 0 {
		return errors.New("a machine without identities needs no metadata service: name one at least")
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return err
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
		return fmt.Errorf("%q is neither a loopback nor a link-local address: whoever reaches the service is the identity", host)
	}
	return nil
}

// openIMDS opens the metadata service. It gets its tokens as any client of the
// cloud does, by the bootstrap principal's right to assign the identities: it
// holds no key and passes by no check.
func (s *Server) openIMDS() error {
	if s.cfg.IMDS.Listen == "" {
		return nil
	}
	if s.env.Bootstrap.ClientSecret == "" {
		return errors.New("the metadata service acts for the bootstrap principal, whose secret this replica's environment file does not hold")
	}
	client, err := s.env.Client()
	if err != nil {
		return err
	}
	client.Transport = s.tracer.Transport(client.Transport, true)
	l, err := net.Listen("tcp", s.cfg.IMDS.Listen)
	if err != nil {
		return fmt.Errorf("the metadata service: %w", err)
	}
	s.imdsListener = l
	acting := actas.New(actas.Config{
		HTTP: client, ActiveDirectory: s.env.Endpoints.ActiveDirectory, ResourceManager: s.env.Endpoints.ResourceManager,
		TenantID: s.env.TenantID, SubscriptionID: s.env.SubscriptionID,
		ClientID: s.env.Bootstrap.ClientID, ClientSecret: s.env.Bootstrap.ClientSecret, Now: s.cfg.Now,
		Keep: s.cfg.Rehearsal.imdsTokenCache(),
	})
	s.imds = s.httpServer(s.tracer.Handler(imds.New(imds.Config{
		Source: acting.Named(s.cfg.IMDS.Identities...), TenantID: s.env.TenantID, Now: s.cfg.Now, Logger: s.log,
		Limits: s.cfg.Rehearsal.imdsLimits(), Instance: &imds.Instance{Name: "localhost", SubscriptionID: s.env.SubscriptionID},
	}), nil))
	base := "http://" + l.Addr().String()
	s.env.Endpoints.IMDS = &base
	return nil
}
