package tokenproxy

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The OAuth errors (RFC 6749 section 5.2) of the endpoint, with the statuses of
// Entra where it has them.
func invalidRequest(format string, args ...any) *azure.Error {
	return azure.Errorf(http.StatusBadRequest, "invalid_request", format, args...)
}

func invalidClient(format string, args ...any) *azure.Error {
	return azure.Errorf(http.StatusUnauthorized, "invalid_client", format, args...)
}

func unavailable(cause error, format string, args ...any) *azure.Error {
	e := azure.Errorf(http.StatusServiceUnavailable, "temporarily_unavailable", format, args...)
	e.RetryAfter, e.Err = time.Second, cause
	return e
}

// writeError writes an error in the token endpoint's form.
func writeError(w http.ResponseWriter, e *azure.Error, correlation string) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if e.Status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	body := map[string]string{"error": e.Code, "error_description": e.Message}
	if correlation != "" {
		body["correlation_id"] = correlation
	}
	writeJSON(w, e.Status, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil { // strings, and structures and maps of them only
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}
