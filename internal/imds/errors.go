package imds

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The refusals of a source that have fixed words on Azure. SDKs look for them:
// .NET's probe takes "Identity not found" for a machine without identities, and
// a 400 for the default identity lets a credential chain go on.
var (
	ErrIdentityNotFound = &azure.Error{Status: http.StatusBadRequest, Code: "invalid_request",
		Message: "Identity not found"}
	ErrSeveralIdentities = &azure.Error{Status: http.StatusBadRequest, Code: "invalid_request",
		Message: "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}
)

var errNoMetadataHeader = invalidRequest("Required metadata header not specified")

func invalidRequest(message string) *azure.Error {
	return &azure.Error{Status: http.StatusBadRequest, Code: "invalid_request", Message: message}
}

// fault turns any error into one for the client; what the client may not see is
// logged.
func fault(log *slog.Logger, r *http.Request, err error) *azure.Error {
	if known, ok := errors.AsType[*azure.Error](err); ok {
		return known
	}
	if r.Context().Err() != nil { // the client has gone
		return &azure.Error{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Message: "The request was cancelled."}
	}
	log.ErrorContext(r.Context(), "managed identity token", "error", err, "path", r.URL.Path)
	return &azure.Error{Status: http.StatusInternalServerError, Code: "server_error", Message: "The token could not be issued; the log of the service says why."}
}

// writeError writes the identity endpoints' error form.
func writeError(w http.ResponseWriter, e *azure.Error) {
	if after := e.RetryAfter; after > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
	} else if e.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, e.Status, map[string]string{"error": e.Code, "error_description": e.Message})
}

// writeInstanceError writes the form of the other metadata endpoints.
func writeInstanceError(w http.ResponseWriter, status int, message string, more map[string]any) {
	body := map[string]any{"error": message}
	for k, v := range more {
		body[k] = v
	}
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // strings, numbers and maps of them only
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
