package issuer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// MaxAge is for how long the documents may be kept by who reads them: what an
// API server says of its own.
const MaxAge = time.Hour

// Source gives an issuer's documents as they are now.
type Source func(ctx context.Context) (Documents, error)

// Handler serves an issuer's documents at the paths of its URL, and nothing
// else. It is safe for concurrent use.
type Handler struct {
	source Source
	log    *slog.Logger
	now    atomic.Pointer[served]
}

// served is one state of the documents, by the paths that they are at.
type served struct {
	Documents
	byPath map[string]document
}

type document struct {
	kind, tag string
	content   []byte
}

// NewHandler reads the documents for the first time, and fails where that does.
func NewHandler(ctx context.Context, source Source, log *slog.Logger) (*Handler, error) {
	h := &Handler{source: source, log: log}
	d, err := source(ctx)
	if err != nil {
		return nil, err
	}
	s, err := serve(d)
	if err != nil {
		return nil, err
	}
	h.now.Store(s)
	return h, nil
}

func serve(d Documents) (*served, error) {
	u, err := url.Parse(d.Issuer)
	if err != nil {
		return nil, fmt.Errorf("the issuer %q is not a URL", d.Issuer)
	}
	base := strings.TrimSuffix(u.Path, "/")
	return &served{Documents: d, byPath: map[string]document{
		base + DiscoveryPath: newDocument("application/json", d.Discovery),
		base + KeySetPath:    newDocument("application/jwk-set+json", d.KeySet),
	}}, nil
}

func newDocument(kind string, content []byte) document {
	sum := sha256.Sum256(content)
	return document{kind: kind, tag: `"` + hex.EncodeToString(sum[:16]) + `"`, content: content}
}

// Run reads the documents again and again, until ctx ends, so that a rotation
// shows without a restart. When they cannot be read, or are suddenly of another
// issuer, those of before are served on.
func (h *Handler) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.reload(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (h *Handler) reload(ctx context.Context) {
	before := h.now.Load()
	d, err := h.source(ctx)
	if err == nil && d.Issuer != before.Issuer {
		err = fmt.Errorf("the issuer is now %q: start anew to serve it", d.Issuer)
	}
	var s *served
	if err == nil {
		s, err = serve(d)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		h.log.ErrorContext(ctx, "the documents cannot be read; those of before are served", "error", err)
	case err == nil && !bytes.Equal(d.KeySet, before.KeySet):
		h.log.InfoContext(ctx, "other keys are published", "added", without(d.KeyIDs(), before.KeyIDs()), "removed", without(before.KeyIDs(), d.KeyIDs()))
		h.now.Store(s)
	}
}

// without gives those of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(id string) bool { return slices.Contains(b, id) })
}

// ServeHTTP answers GET and HEAD of the two documents.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d, ok := h.now.Load().byPath[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	head := w.Header()
	head.Set("Content-Type", d.kind)
	head.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", MaxAge/time.Second))
	head.Set("ETag", d.tag)
	head.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.content))
}

// Documents gives what is served now.
func (h *Handler) Documents() Documents { return h.now.Load().Documents }

// Paths gives the paths that are served.
func (h *Handler) Paths() []string {
	var paths []string
	for path := range h.now.Load().byPath {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}
