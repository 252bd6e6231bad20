package serving

import (
	"fmt"
	"net/http"
	"strings"
)

// health answers the kubelet's probes.
type health struct {
	certificates Certificates
	more         func() []string // nil: nothing more
}

func (h health) handler() http.Handler {
	mux := http.NewServeMux()
	// Alive is whoever answers. It says nothing of the API server or of
	// certificates: a restart mends neither.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.readyz)
	return mux
}

// readyz answers 200 when a request would succeed, else 503 with what is missing.
func (h health) readyz(w http.ResponseWriter, _ *http.Request) {
	var missing []string
	if h.more != nil {
		missing = h.more()
	}
	missing = append(missing, h.certificates.Missing()...)
	if len(missing) > 0 {
		http.Error(w, strings.Join(missing, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
