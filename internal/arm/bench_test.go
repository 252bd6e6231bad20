package arm

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// The benchmarks speak HTTP to a server, as clients do; compare them with
// BenchmarkEcho, which answers as much with nothing behind it.

func (w *world) server(b *testing.B) *httptest.Server {
	b.Helper()
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.engine.ServeHTTP(rw, r.WithContext(azure.WithRequest(r.Context(), azure.Request{CorrelationID: "c", RequestID: "r"})))
	})
	srv := httptest.NewServer(handler)
	b.Cleanup(srv.Close)
	return srv
}

func exchangeWith(b *testing.B, client *http.Client, method, url, bearer, body string, status int) {
	b.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	cloudtest.Must(b, err)
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := client.Do(req)
	cloudtest.Must(b, err)
	_, err = io.Copy(io.Discard, resp.Body)
	cloudtest.Must(b, err)
	cloudtest.Must(b, resp.Body.Close())
	if resp.StatusCode != status {
		b.Fatalf("%s %s: %d", method, url, resp.StatusCode)
	}
}

func BenchmarkGet(b *testing.B) {
	w := newWorld(b, thingType())
	w.group("rg")
	w.want(http.StatusCreated, http.MethodPut, thingPath("rg", "one")+version, small)
	srv, bearer := w.server(b), w.Token(ownerID)
	for b.Loop() {
		exchangeWith(b, srv.Client(), http.MethodGet, srv.URL+thingPath("rg", "one")+version, bearer, "", http.StatusOK)
	}
}

func BenchmarkPut(b *testing.B) {
	w := newWorld(b, thingType())
	w.group("rg")
	w.want(http.StatusCreated, http.MethodPut, thingPath("rg", "one")+version, small)
	srv, bearer, size := w.server(b), w.Token(ownerID), 1
	for b.Loop() {
		size++
		body := fmt.Sprintf(`{"location":"westeurope","properties":{"size":%d}}`, size)
		exchangeWith(b, srv.Client(), http.MethodPut, srv.URL+thingPath("rg", "one")+version, bearer, body, http.StatusOK)
	}
}

func BenchmarkRefuse(b *testing.B) {
	w := newWorld(b, thingType())
	srv, bearer := w.server(b), w.Token(nobodyID)
	for b.Loop() {
		exchangeWith(b, srv.Client(), http.MethodGet, srv.URL+thingPath("rg", "one")+version, bearer, "", http.StatusForbidden)
	}
}

func BenchmarkList(b *testing.B) {
	w := newWorld(b, thingType())
	w.fill("rg", 500, 0)
	srv, bearer := w.server(b), w.Token(ownerID)
	for b.Loop() {
		exchangeWith(b, srv.Client(), http.MethodGet, srv.URL+groupPath("rg")+"/providers/Test.Things/things"+version, bearer, "", http.StatusOK)
	}
}

func BenchmarkEcho(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			b.Error(err)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 600))
	}))
	b.Cleanup(srv.Close)
	for b.Loop() {
		exchangeWith(b, srv.Client(), http.MethodPut, srv.URL+thingPath("rg", "one")+version, strings.Repeat("x", 1200), small, http.StatusOK)
	}
}
