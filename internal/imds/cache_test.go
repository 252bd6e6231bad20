package imds_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/imds"
)

// issuing is a source whose tokens are numbered, take a second, and last life.
type issuing struct {
	mu    sync.Mutex
	count int
	life  time.Duration
	err   error
}

func (s *issuing) Token(ctx context.Context, r imds.Request) (imds.Token, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return imds.Token{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if s.err != nil {
		return imds.Token{}, s.err
	}
	return imds.Token{AccessToken: fmt.Sprint(s.count, " ", r.Selector.Value, " ", r.Resource), Expires: time.Now().Add(s.life)}, nil
}

func (s *issuing) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *issuing) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// by asks for a token of a client.
func by(client, resource string) imds.Request {
	return imds.Request{Selector: imds.Selector{Kind: imds.ByClientID, Value: client}, Resource: resource}
}

func want(t *testing.T, c *imds.Cache, r imds.Request, token string) {
	t.Helper()
	got, err := c.Token(t.Context(), r)
	if err != nil || got.AccessToken != token {
		t.Errorf("got %q, %v; want %q", got.AccessToken, err, token)
	}
}

// TestCache follows one token from its first request to its end.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &issuing{life: 2 * time.Hour}
		c := imds.NewCache(imds.CacheConfig{Source: source})
		var together sync.WaitGroup
		for range 20 {
			together.Go(func() { want(t, c, by("A", "r"), "1 A r") })
		}
		together.Wait()
		want(t, c, by("a", "r"), "1 A r") // GUIDs have no case
		want(t, c, by("a", "R"), "2 a R") // resources have
		want(t, c, by("b", "r"), "3 b r")
		time.Sleep(59 * time.Minute)
		want(t, c, by("A", "r"), "1 A r")
		synctest.Wait()
		if n := source.asked(); n != 3 {
			t.Fatalf("asked %d times", n)
		}
		// Half of its life is over: it is still given, and renewed beside.
		time.Sleep(2 * time.Minute)
		want(t, c, by("A", "r"), "1 A r")
		time.Sleep(2 * time.Second)
		want(t, c, by("A", "r"), "4 A r")
		// The client says that it is no longer accepted.
		again := by("A", "r")
		again.Refresh = true
		want(t, c, again, "5 A r")
		want(t, c, by("A", "r"), "5 A r")
	})
}

// TestCacheWhenTheSourceFails: what may pass costs nobody a token that is still
// good; a decision ends it.
func TestCacheWhenTheSourceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &issuing{life: 2 * time.Hour}
		c := imds.NewCache(imds.CacheConfig{Source: source})
		want(t, c, by("A", "r"), "1 A r")
		source.fail(errors.New("out of order"))
		time.Sleep(61 * time.Minute)
		for range 10 { // a renewal that failed is not tried at once
			want(t, c, by("A", "r"), "1 A r")
			time.Sleep(2 * time.Second)
		}
		if n := source.asked(); n != 2 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(56 * time.Minute) // the last minutes: waited for, and still good
		want(t, c, by("A", "r"), "1 A r")
		time.Sleep(5 * time.Minute)
		if _, err := c.Token(t.Context(), by("A", "r")); err == nil {
			t.Error("a token past its end was given")
		}
		source.fail(nil)
		want(t, c, by("A", "r"), "5 A r")
		time.Sleep(61 * time.Minute)
		source.fail(&azure.Error{Status: http.StatusBadRequest, Code: "invalid_client", Message: "AADSTS700213"})
		want(t, c, by("A", "r"), "5 A r")
		time.Sleep(2 * time.Second)
		if _, err := c.Token(t.Context(), by("A", "r")); err == nil {
			t.Error("a token that was refused since is given on")
		}
	})
}

// TestCacheBounds: the token that was not asked for longest goes; who leaves
// takes nobody's answer with him.
func TestCacheBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &issuing{life: time.Hour}
		c := imds.NewCache(imds.CacheConfig{Source: source, MaxTokens: 2})
		want(t, c, by("A", "r"), "1 A r")
		want(t, c, by("B", "r"), "2 B r")
		time.Sleep(time.Second)
		want(t, c, by("A", "r"), "1 A r")
		want(t, c, by("C", "r"), "3 C r")
		want(t, c, by("A", "r"), "1 A r")
		want(t, c, by("B", "r"), "4 B r")

		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := c.Token(ctx, by("D", "r"))
			left <- err
		}()
		synctest.Wait()
		var stays sync.WaitGroup
		stays.Go(func() { want(t, c, by("D", "r"), "5 D r") })
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		stays.Wait()
	})
	t.Run("short tokens", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source := &issuing{life: 2 * time.Minute}
			c := imds.NewCache(imds.CacheConfig{Source: source})
			want(t, c, by("A", "r"), "1 A r")
			time.Sleep(50 * time.Second)
			want(t, c, by("A", "r"), "1 A r")
			time.Sleep(20 * time.Second)
			want(t, c, by("A", "r"), "2 A r")
		})
	})
}

func TestOnlyTokens(t *testing.T) {
	h := imds.New(imds.Config{Source: &recorder{}, OnlyTokens: true, Instance: &imds.Instance{}})
	for _, path := range []string{"/metadata/instance?api-version=2021-02-01", "/metadata/identity/info?api-version=2018-02-01",
		"/metadata/versions", "/metadata/scheduledevents", "/", "/latest/meta-data/"} {
		if w := get(h, "GET", path, "Metadata", "true"); w.Code != http.StatusNotFound || body(t, w)["error"] != "Not found" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := get(h, "GET", tokenPath+"?api-version=2018-02-01&resource=r", "Metadata", "true"); w.Code != http.StatusOK {
		t.Errorf("the token endpoint: %d %s", w.Code, w.Body)
	}
}
