package server

import (
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// health tells whether this replica lives and whether it should be sent
// requests.
type health struct {
	fresh    func() error // the store's views
	started  atomic.Bool
	stopping atomic.Bool
}

// healthz answers 200 while the process can answer at all. A replica that has
// lost its store still lives: restarting it would not bring the store back.
func (h *health) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz answers 200 while this replica can issue tokens and decide: it has
// started, is not stopping, and its views follow the store.
func (h *health) readyz(w http.ResponseWriter, _ *http.Request) {
	state, status := "ok", http.StatusOK
	checks := map[string]string{"store": "ok"}
	if err := h.fresh(); err != nil {
		checks["store"] = err.Error()
		state, status = "not ready", http.StatusServiceUnavailable
	}
	switch {
	case h.stopping.Load():
		state, status = "stopping", http.StatusServiceUnavailable
	case !h.started.Load():
		state, status = "starting", http.StatusServiceUnavailable
	}
	writeJSON(w, status, map[string]any{"status": state, "checks": checks})
}

// selfHandler serves health, and metrics where the caller says so, under the
// bare domain and under addresses.
func (h *health) selfHandler(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", h.healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.Handle("GET /metrics", metrics)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", "GET, HEAD")
			writeError(w, r, planeSelf, http.StatusMethodNotAllowed, "MethodNotAllowed", path+" takes GET and HEAD alone.")
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, planeSelf, http.StatusNotFound, "NotFound",
			"Nothing is here: the bare domain has GET /healthz, /readyz and /metrics. "+
				"The cloud's services have host names of their own, such as management and login below the domain.")
	})
	return mux
}

// metricsHandler serves the registry.
func metricsHandler(reg *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg})
}

// localOnly lets clients on this machine through. Metrics tell what goes on in
// the cloud, and the HTTPS port is open to whoever reaches it; other scrapers
// are for metrics.listen.
func localOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
			writeError(w, r, planeSelf, http.StatusForbidden, "Forbidden",
				"Metrics are served to this machine alone; set metrics.listen in the configuration to scrape them from another.")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// elsewhere answers for metrics where they have a listener of their own.
func elsewhere(listen string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, planeSelf, http.StatusNotFound, "NotFound", "Metrics are served on "+listen+", as metrics.listen says.")
	})
}
