package store

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// dial makes a client of an outside cluster. It doesn't wait for a connection:
// the first read does.
func dial(cfg *Config) (*clientv3.Client, error) {
	secure, err := checkEndpoints(cfg)
	if err != nil {
		return nil, err
	}
	config := cfg.TLS
	if secure && config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if !secure {
		config = nil
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  config,
		Username:             cfg.Username,
		Password:             cfg.Password,
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		Logger:               zapTo(cfg.Logger),
	})
	if err != nil {
		return nil, fmt.Errorf("reaching etcd at %v: %w", cfg.Endpoints, err)
	}
	return client, nil
}

// checkEndpoints tells whether the endpoints use TLS: all or none. Without it
// whoever is on the way could write role assignments.
func checkEndpoints(cfg *Config) (secure bool, err error) {
	var tlsCount int
	for _, endpoint := range cfg.Endpoints {
		scheme, host, err := splitEndpoint(endpoint)
		if err != nil {
			return false, err
		}
		switch {
		case scheme == "https", scheme == "unixs", scheme == "" && cfg.TLS != nil:
			tlsCount++
		case scheme == "unix", isLoopback(host), cfg.Plaintext:
		default:
			return false, fmt.Errorf("store: etcd endpoint %q has no TLS and is not on this machine", endpoint)
		}
	}
	if tlsCount != 0 && tlsCount != len(cfg.Endpoints) {
		return false, errors.New("store: either all etcd endpoints use TLS or none")
	}
	return tlsCount != 0, nil
}

func splitEndpoint(endpoint string) (scheme, host string, err error) {
	if !strings.Contains(endpoint, "://") {
		host, _, err := net.SplitHostPort(endpoint)
		if err != nil {
			return "", "", fmt.Errorf("store: etcd endpoint %q is neither a URL nor host:port", endpoint)
		}
		return "", host, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.User != nil {
		return "", "", errors.New("store: an etcd endpoint is not a plain URL")
	}
	switch u.Scheme {
	case "http", "https", "unix", "unixs":
		return u.Scheme, u.Hostname(), nil
	}
	return "", "", fmt.Errorf("store: etcd endpoint %q: the scheme must be https, http or unix", endpoint)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
