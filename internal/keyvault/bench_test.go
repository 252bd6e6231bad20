package keyvault

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// BenchmarkGetSecret is the plane's main request, over a real connection,
// beside BenchmarkEcho, the same connection with nothing behind it.
func BenchmarkGetSecret(b *testing.B) {
	w := newWorld(b)
	w.set("one", "db", "the value of a secret of the usual length")
	measure(b, w.handler, w.Token("reader"))
}

func BenchmarkEcho(b *testing.B) {
	w := newWorld(b)
	w.set("one", "db", "the value of a secret of the usual length")
	body := w.do("reader", "one", "GET", "/secrets/db"+v, "").Want(b, 200).Body
	measure(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprint(w, body)
	}), w.Token("reader"))
}

func measure(b *testing.B, h http.Handler, token string) {
	b.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	for b.Loop() {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+"/secrets/db"+v, nil)
		cloudtest.Must(b, err)
		r.Host = host("one")
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(r)
		cloudtest.Must(b, err)
		body, err := io.ReadAll(res.Body)
		cloudtest.Must(b, err)
		res.Body.Close()
		if res.StatusCode != http.StatusOK || len(body) == 0 {
			b.Fatal(res.Status, string(body))
		}
	}
}
