package controller

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// certFiles serves the certificate of a directory that someone else keeps
// (cert-manager, a mounted Secret), and reads it again when it changes.
type certFiles struct {
	dir     string
	log     *slog.Logger
	metrics *metrics
	serving atomic.Pointer[tls.Certificate]
	last    []byte // certificate and key as they were last read
}

// readFilesEvery is how often the files are looked at, as upstream's watcher
// does. Mounted Secrets change by a link, which file notification misses.
const readFilesEvery = 10 * time.Second

func (f *certFiles) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := f.serving.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("there is no serving certificate yet")
}

// run reads the files again until ctx ends.
func (f *certFiles) run(ctx context.Context) {
	tick := time.NewTicker(readFilesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := f.read(); err != nil {
				f.log.ErrorContext(ctx, "the certificate files cannot be read; the former certificate is served", "error", err)
			}
		}
	}
}

// read takes the files' content over if it is new and a pair.
func (f *certFiles) read() error {
	f.metrics.certificateReads.Inc()
	err := f.load()
	if err != nil {
		f.metrics.certificateReadErrors.Inc()
	}
	return err
}

func (f *certFiles) load() error {
	cert, err := os.ReadFile(filepath.Join(f.dir, "tls.crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(f.dir, "tls.key"))
	if err != nil {
		return err
	}
	content := append(cert[:len(cert):len(cert)], key...)
	if bytes.Equal(content, f.last) {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s: %w", f.dir, err)
	}
	f.last = content
	f.serving.Store(&pair)
	f.log.Info("serving certificate", "directory", f.dir, "notAfter", pair.Leaf.NotAfter)
	return nil
}
