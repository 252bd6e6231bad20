package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/store"
)

// storeConfig turns the configuration into the store's.
func (s *Server) storeConfig(ring *store.Keyring) (store.Config, error) {
	c := s.cfg.Store
	out := store.Config{
		Endpoints: c.Endpoints, Plaintext: c.Plaintext, Username: c.Username, Prefix: c.Prefix, Keyring: ring,
		QuotaBytes: c.QuotaMiB << 20, Retention: time.Duration(c.Retention), Volatile: c.Volatile, Logger: s.log,
		Tracer: s.tracer,
	}
	if len(c.Endpoints) == 0 {
		out.Dir = filepath.Join(s.cfg.DataDir, storeDirName)
		return out, nil
	}
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return out, fmt.Errorf("reading the store's password: %w", err)
		}
		out.Password = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	}
	if c.TLS == (StoreTLSConfig{}) {
		return out, nil
	}
	out.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CAFile != "" {
		pool, err := certPool(x509.NewCertPool(), c.TLS.CAFile)
		if err != nil {
			return out, fmt.Errorf("the store's authorities: %w", err)
		}
		out.TLS.RootCAs = pool
	}
	if c.TLS.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return out, fmt.Errorf("the store's client certificate: %w", err)
		}
		out.TLS.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}

// certPool adds the PEM certificates of file to pool.
func certPool(pool *x509.CertPool, file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}
