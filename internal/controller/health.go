package controller

import (
	"fmt"
	"net/http"
	"strings"
)

// healthz answers as long as the process does. It says nothing of the API server
// or of certificates: a restart mends neither.
func (w *Webhook) healthz(rw http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(rw, "ok")
}

// readyz answers 200 when an admission would succeed, else 503 with what is
// missing.
func (w *Webhook) readyz(rw http.ResponseWriter, _ *http.Request) {
	if missing := w.missing(); len(missing) > 0 {
		http.Error(rw, strings.Join(missing, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(rw, "ok")
}

// missing says what the webhook waits for.
func (w *Webhook) missing() []string {
	var missing []string
	if w.settings.Load() == nil {
		missing = append(missing, "the cluster's version is not known yet")
	}
	if !w.accounts.synced.Load() {
		missing = append(missing, "the service accounts are not known yet")
	}
	if w.keeper != nil && w.keeper.serving.Load() == nil {
		missing = append(missing, "there is no serving certificate yet")
	}
	if w.keeper != nil && !w.keeper.trusted.Load() {
		missing = append(missing, "webhook configuration "+configurationName+" does not name the certificate's authority yet")
	}
	return missing
}
