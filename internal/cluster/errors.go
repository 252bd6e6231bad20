package cluster

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// errUnavailable is what is answered while nothing can be decided or recorded.
func errUnavailable(err error) *azure.Error {
	e := azure.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable", "The cloud cannot answer this now. Please try again in some seconds.")
	e.Err = err
	return e
}

// writeError writes Azure's error document, {"error": {"code", "message"}}. What
// is no client's error says nothing.
func writeError(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*azure.Error](err)
	if !ok {
		e = azure.Errorf(http.StatusInternalServerError, "InternalServerError", "The server encountered an internal error.")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	switch e.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(e.Status)
	text, _ := json.Marshal(map[string]any{"error": map[string]string{"code": e.Code, "message": e.Message}}) // strings always encode
	_, _ = w.Write(append(text, '\n'))                                                                        // a client that is gone is nobody's error
}
