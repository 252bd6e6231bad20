package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificates gives the certificate for a handshake: the authority's, or the
// operator's.
type certificates func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// tlsConfig is TLS 1.2 and later, with Go's choice of suites, HTTP/2 first.
func tlsConfig(get certificates) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: get,
	}
}

// CertificateFiles serves a certificate of the operator's and reads it again when
// a file has changed, so that it can be renewed without a restart.
type CertificateFiles struct {
	certFile, keyFile string
	log               *slog.Logger

	mu    sync.Mutex
	cert  *tls.Certificate
	stamp [2]time.Time // modification times of what was read, or failed to be
}

// OpenCertificateFiles reads both files; it fails when they do not fit.
func OpenCertificateFiles(cfg TLSConfig, log *slog.Logger) (*CertificateFiles, error) {
	f := &CertificateFiles{certFile: cfg.CertFile, keyFile: cfg.KeyFile, log: log}
	stamp, err := f.modified()
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %s: %w", f.certFile, err)
	}
	f.cert, f.stamp = &cert, stamp
	return f, nil
}

func (f *CertificateFiles) modified() (stamp [2]time.Time, err error) {
	for i, name := range []string{f.certFile, f.keyFile} {
		fi, err := os.Stat(name)
		if err != nil {
			return stamp, fmt.Errorf("reading the certificate: %w", err)
		}
		stamp[i] = fi.ModTime()
	}
	return stamp, nil
}

// GetCertificate is for tls.Config. While the files do not fit, as in the
// middle of a renewal, the former certificate is served.
func (f *CertificateFiles) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stamp, err := f.modified()
	if err != nil || stamp == f.stamp {
		return f.cert, nil
	}
	f.stamp = stamp
	cert, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		f.log.Error("the changed certificate files cannot be used; the former certificate is served", "error", err)
		return f.cert, nil
	}
	f.log.Info("the certificate files were read again", "notAfter", cert.Leaf.NotAfter)
	f.cert = &cert
	return f.cert, nil
}
