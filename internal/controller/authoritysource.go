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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/lanyard-id/lanyard/internal/trust"
)

const (
	// readAuthorityEvery is how often an authority is looked at. Mounted ConfigMaps
	// change by a link, which file notification misses.
	readAuthorityEvery = 10 * time.Second
	// awaitAuthorityEvery is the same while there is none yet.
	awaitAuthorityEvery = time.Second
)

// authoritySource is an authority that the webhook tells pods of, as a file or a
// ConfigMap has it now. While one authority succeeds another it has both.
type authoritySource struct {
	what    string // it is the authority of
	path    string // of the file, or the ConfigMap
	content func(context.Context) ([]byte, error)
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
func newAuthorityFile(what, path string, log *slog.Logger) (*authoritySource, error) {
	f := &authoritySource{what: what, path: path, log: log, content: func(context.Context) ([]byte, error) { return os.ReadFile(path) }}
	if err := f.read(context.Background()); err != nil {
		return nil, fmt.Errorf("reading %s's authority: %w", what, err)
	}
	return f, nil
}

// awaitAuthority is for an authority that someone has yet to write to a ConfigMap,
// with the key ca.crt: until then there is one without certificates. The API server
// is asked for it: a mounted ConfigMap would come a minute late.
func awaitAuthority(what string, client dynamic.Interface, namespace, name string, log *slog.Logger) *authoritySource {
	f := &authoritySource{what: what, path: namespace + "/" + name, log: log, content: func(ctx context.Context) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, readAuthorityEvery)
		defer cancel()
		object, err := client.Resource(configMapResource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		var text string
		if err == nil {
			text, _, err = unstructured.NestedString(object.Object, "data", "ca.crt")
		}
		if text == "" {
			return nil, fmt.Errorf("config map %s/%s, key ca.crt: %w", namespace, name, errors.Join(err, fs.ErrNotExist))
		}
		return []byte(text), err
	}}
	f.current.Store(&authority{pool: x509.NewCertPool(), changed: make(chan struct{})})
	return f
}

// load gives the content in force.
func (f *authoritySource) load() *authority { return f.current.Load() }

// read takes the content over if it is new. After an error the former content stays
// in force.
func (f *authoritySource) read(ctx context.Context) error {
	text, err := f.content(ctx)
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

// run follows the content until ctx ends.
func (f *authoritySource) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := readAuthorityEvery
		if len(f.load().pem) == 0 {
			f.again(ctx)
			wait = awaitAuthorityEvery
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
			f.again(ctx)
		}
		timer.Stop()
	}
}

// again reads the content, and logs what changes.
func (f *authoritySource) again(ctx context.Context) {
	former := f.load()
	switch err := f.read(ctx); {
	case !f.failed.is(err) || ctx.Err() != nil:
	case len(former.pem) == 0 && errors.Is(err, fs.ErrNotExist):
		f.log.InfoContext(ctx, "an authority is awaited", "of", f.what, "from", f.path, "why", err)
	default:
		f.log.ErrorContext(ctx, "an authority cannot be read; the former one counts", "of", f.what, "error", err)
	}
	if now := f.load(); now != former {
		f.log.InfoContext(ctx, "another authority", "of", f.what, "from", f.path, "subjectHashes", now.hashes)
	}
}
