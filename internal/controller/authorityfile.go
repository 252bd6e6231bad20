package controller

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lanyard-id/lanyard/internal/trust"
)

// readAuthorityEvery is how often the file of the cloud's authority is looked at.
// Mounted ConfigMaps change by a link, which file notification misses.
const readAuthorityEvery = 10 * time.Second

// authorityFile is an authority that the webhook tells pods of, as a file has it
// now. While one authority succeeds another the file has both.
type authorityFile struct {
	what    string // it is the authority of
	path    string
	log     *slog.Logger
	current atomic.Pointer[authority]
	text    []byte // as it was last read
	failed  news   // so that a failure is logged once
}

// authority is one content of the file.
type authority struct {
	pem     []byte         // its certificates, and nothing else of it
	pool    *x509.CertPool // they alone
	hashes  []string       // the names by which OpenSSL looks for them
	changed chan struct{}  // closed when another content takes its place
}

// newAuthorityFile reads the file of what's authority.
func newAuthorityFile(what, path string, log *slog.Logger) (*authorityFile, error) {
	f := &authorityFile{what: what, path: path, log: log}
	if err := f.read(); err != nil {
		return nil, fmt.Errorf("reading %s's authority: %w", what, err)
	}
	return f, nil
}

// awaitAuthorityFile is newAuthorityFile for a file that someone has yet to make:
// until then there is an authority without certificates.
func awaitAuthorityFile(what, path string, log *slog.Logger) (*authorityFile, error) {
	f, err := newAuthorityFile(what, path, log)
	if errors.Is(err, fs.ErrNotExist) {
		f = &authorityFile{what: what, path: path, log: log}
		f.failed.is(err)
		f.current.Store(&authority{pool: x509.NewCertPool(), changed: make(chan struct{})})
		return f, nil
	}
	return f, err
}

// load gives the content in force.
func (f *authorityFile) load() *authority { return f.current.Load() }

// read takes the file's content over if it is new. After an error the former
// content stays in force.
func (f *authorityFile) read() error {
	text, err := os.ReadFile(f.path)
	if err != nil || (f.text != nil && bytes.Equal(text, f.text)) {
		return err
	}
	certificates, err := trust.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	a := &authority{pem: trust.EncodePEM(certificates), pool: x509.NewCertPool(), changed: make(chan struct{})}
	for _, c := range certificates {
		if !c.IsCA {
			return fmt.Errorf("%s: %q is no certificate authority", f.path, c.Subject)
		}
		hash, err := trust.SubjectHash(c)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		a.pool.AddCert(c)
		if !slices.Contains(a.hashes, hash) {
			a.hashes = append(a.hashes, hash)
		}
	}
	f.text = text
	if former := f.current.Swap(a); former != nil {
		close(former.changed)
	}
	return nil
}

// run follows the file until ctx ends.
func (f *authorityFile) run(ctx context.Context) {
	tick := time.NewTicker(readAuthorityEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.again(ctx)
		}
	}
}

// again reads the file, and logs what changes.
func (f *authorityFile) again(ctx context.Context) {
	former := f.load()
	if err := f.read(); f.failed.is(err) {
		f.log.ErrorContext(ctx, "an authority cannot be read; the former one counts", "of", f.what, "error", err)
	}
	if now := f.load(); now != former {
		f.log.InfoContext(ctx, "another authority", "of", f.what, "file", f.path, "subjectHashes", now.hashes)
	}
}
