package server

import (
	"crypto/rand"
	"net/url"

	"github.com/lanyard-id/lanyard/internal/proxy"
)

// openProxy opens the loopback proxy on the address and with the secret of the
// former run, if there was one, so that a shell which has taken over the
// environment goes on working after a restart. Nothing depends on that address,
// so another one will do when it is taken.
func (s *Server) openProxy() error {
	if !s.cfg.Proxy.Enabled {
		return nil
	}
	cfg := proxy.Config{
		Secret: rand.Text(),
		Names:  append([]string{s.cloud.Domain, "*." + s.cloud.Domain}, s.cloud.Aliases...),
		Target: dialAddress(s.Addr()),
		Logger: s.log,
	}
	for former := range formerEnvironments(s.cfg) {
		u, err := url.Parse(former.Proxy)
		if err != nil || u.Host == "" {
			continue
		}
		if secret, ok := u.User.Password(); ok && secret != "" {
			cfg.Listen, cfg.Secret = u.Host, secret
			break
		}
	}
	p, err := proxy.Listen(cfg)
	if err != nil && cfg.Listen != "" {
		s.log.Warn("the proxy's former address cannot be had again; it gets another", "error", err)
		cfg.Listen = ""
		p, err = proxy.Listen(cfg)
	}
	s.proxy = p
	return err
}
