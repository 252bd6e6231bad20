package issuer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// changing is a source that a test changes.
type changing struct {
	mu  sync.Mutex
	d   Documents
	err error
}

func (c *changing) source(context.Context) (Documents, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.d, c.err
}

func (c *changing) set(d Documents, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.d, c.err = d, err
}

func ask(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHandler(t *testing.T) {
	t.Parallel()
	for _, issuer := range []string{"https://oidc.example", "https://oidc.example/", "https://oidc.example/a/b", "https://oidc.example/a%20b/"} {
		d := documents(t, issuer, publicKey(t, 0))
		h, err := NewHandler(t.Context(), (&changing{d: d}).source, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		base := strings.TrimSuffix(strings.TrimPrefix(issuer, "https://oidc.example"), "/")
		for path, want := range map[string]struct{ kind, body string }{
			base + DiscoveryPath: {"application/json", string(d.Discovery)},
			base + KeySetPath:    {"application/jwk-set+json", string(d.KeySet)},
		} {
			w := ask(h, "GET", path)
			if w.Code != 200 || w.Body.String() != want.body || w.Header().Get("Content-Type") != want.kind || w.Header().Get("Cache-Control") != "public, max-age=3600" {
				t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
			}
			if w := ask(h, "GET", path, "If-None-Match", w.Header().Get("ETag")); w.Code != http.StatusNotModified {
				t.Errorf("%s with its tag: %d", path, w.Code)
			}
			if w := ask(h, "HEAD", path); w.Code != 200 || w.Body.Len() != 0 {
				t.Errorf("HEAD %s: %d, %d bytes", path, w.Code, w.Body.Len())
			}
			if w := ask(h, "POST", path); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("POST %s: %d", path, w.Code)
			}
		}
		for _, path := range []string{"/", base + "/", base + DiscoveryPath + "/", "/other" + DiscoveryPath} {
			if w := ask(h, "GET", path); w.Code != http.StatusNotFound {
				t.Errorf("%s of %s: %d", path, issuer, w.Code)
			}
		}
	}
	if _, err := NewHandler(t.Context(), (&changing{err: errors.New("none")}).source, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a handler of nothing")
	}
}

// A rotation shows by itself; what cannot be read, or is another issuer's, does
// not take away what is served.
func TestHandlerFollowsItsSource(t *testing.T) {
	a, b := publicKey(t, 0), publicKey(t, 1)
	before, after := documents(t, issuerURL, a), documents(t, issuerURL, b, a)
	other := documents(t, issuerURL+"/", b)
	synctest.Test(t, func(t *testing.T) {
		c := &changing{d: before}
		var log strings.Builder
		h, err := NewHandler(t.Context(), c.source, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { h.Run(ctx, time.Second) })
		defer running.Wait()
		defer cancel()
		for _, step := range []struct {
			d    Documents
			err  error
			want Documents
			say  string
		}{
			{after, nil, after, "other keys are published"},
			{Documents{}, errors.New("gone"), after, "those of before are served"},
			{other, nil, after, "start anew to serve it"},
			{before, nil, before, "removed=[" + b.ID + "]"},
		} {
			c.set(step.d, step.err)
			<-time.After(1500 * time.Millisecond)
			synctest.Wait()
			got := ask(h, "GET", "/cluster"+KeySetPath).Body.String()
			if diff := cmp.Diff(string(step.want.KeySet), got); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(log.String(), step.say) {
				t.Errorf("the log does not say %q: %s", step.say, log.String())
			}
			log.Reset()
		}
	})
}
