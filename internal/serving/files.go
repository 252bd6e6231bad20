package serving

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Files serves the certificate of a directory that someone else keeps
// (cert-manager, a mounted Secret), and reads it again when it changes.
type Files struct {
	dir     string
	log     *slog.Logger
	onRead  func(err error)
	serving atomic.Pointer[tls.Certificate]
	last    []byte // certificate and key as they were last read
}

// NewFiles reads tls.crt and tls.key of a directory. onRead, which may be nil, is
// told of each time that they are read, and how it went. An error is that there
// is no pair of certificate and key.
func NewFiles(dir string, onRead func(err error), log *slog.Logger) (*Files, error) {
	if onRead == nil {
		onRead = func(error) {}
	}
	f := &Files{dir: dir, log: log, onRead: onRead}
	if err := f.Read(); err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	return f, nil
}

// readFilesEvery is how often the files are looked at, as upstream's watcher
// does. Mounted Secrets change by a link, which file notification misses.
const readFilesEvery = 10 * time.Second

// Certificate gives the certificate in force, as tls.Config.GetCertificate does.
func (f *Files) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := f.serving.Load(); c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

// Missing is always nothing: there are no Files without a certificate.
func (f *Files) Missing() []string { return nil }

// Run reads the files again now and then until ctx ends.
func (f *Files) Run(ctx context.Context) {
	tick := time.NewTicker(readFilesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := f.Read(); err != nil {
				f.log.ErrorContext(ctx, "the certificate files cannot be read; the former certificate is served", "error", err)
			}
		}
	}
}

// Read takes the files' content over if it is new and a pair. After an error the
// former certificate stays in force. It must not run twice at a time.
func (f *Files) Read() error {
	err := f.load()
	f.onRead(err)
	return err
}

func (f *Files) load() error {
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
