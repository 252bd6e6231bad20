package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// maxBody bounds a request's body in bytes.
const maxBody = 1 << 20

// entity is an object as Graph shows it.
type entity map[string]any

// result is what an operation answers with: a status and, unless it is 204, a
// document.
type result struct {
	status   int
	body     entity
	location string // of what was created
}

// noContent is the answer of most writes.
var noContent = result{status: http.StatusNoContent}

// errorDocument is Graph's error body.
type errorDocument struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Code    string     `json:"code"`
	Message string     `json:"message"`
	Inner   innerError `json:"innerError"`
}

// innerError names the request, in UTC.
type innerError struct {
	Date            string `json:"date"`
	RequestID       string `json:"request-id"`
	ClientRequestID string `json:"client-request-id"`
}

// writeError turns any error into an answer. What is no [azure.Error] says
// nothing to the client and is logged.
func (h *Handler) writeError(w http.ResponseWriter, r *http.Request, err error) {
	known, ok := errors.AsType[*azure.Error](err)
	switch {
	case ok:
	case errors.Is(err, store.ErrConflict):
		known = azure.Errorf(http.StatusConflict, "Request_Conflict", "The object was changed by other requests at the same time. Please retry.")
	case errors.Is(err, store.ErrStale):
		known = azure.Errorf(http.StatusServiceUnavailable, "serviceNotAvailable", "The service is not available at the moment. Please retry.")
	default:
		known = azure.Errorf(http.StatusInternalServerError, "generalException", "An internal error occurred.")
	}
	if !ok || known.Err != nil {
		h.cfg.Logger.ErrorContext(r.Context(), "graph request failed",
			"method", r.Method, "path", r.URL.Path, "status", known.Status, "error", err, "cause", known.Err)
	}
	if known.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	req := azure.RequestFrom(r.Context())
	h.writeJSON(w, r, known.Status, errorDocument{errorBody{Code: known.Code, Message: known.Message, Inner: innerError{
		Date: h.cfg.Now().UTC().Format("2006-01-02T15:04:05"), RequestID: req.RequestID, ClientRequestID: req.CorrelationID,
	}}})
}

func (h *Handler) writeResult(w http.ResponseWriter, r *http.Request, res result) {
	if res.location != "" {
		w.Header().Set("Location", res.location)
	}
	w.Header().Set("OData-Version", "4.0")
	if res.body == nil {
		w.WriteHeader(res.status)
		return
	}
	if metadataLevel(r) == "none" {
		for name := range res.body {
			if name == "@odata.context" || name == "@odata.type" {
				delete(res.body, name)
			}
		}
	}
	h.writeJSON(w, r, res.status, res.body)
}

// metadataLevel is how many annotations the client wants: none, minimal (the
// default) or full.
func metadataLevel(r *http.Request) string {
	_, params, err := mime.ParseMediaType(r.Header.Get("Accept"))
	if err != nil {
		return "minimal"
	}
	switch level := azure.Fold(params["odata.metadata"]); level {
	case "none", "full":
		return level
	default:
		return "minimal"
	}
}

// writeJSON encodes a document without escaping "<", ">" and "&".
func (h *Handler) writeJSON(w http.ResponseWriter, r *http.Request, status int, document any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(document); err != nil {
		// Every document is made of text, numbers, and JSON that was checked.
		h.cfg.Logger.ErrorContext(r.Context(), "encoding an answer", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	w.Header().Set("Content-Type", "application/json;odata.metadata="+metadataLevel(r)+
		";odata.streaming=true;IEEE754Compatible=false;charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the client is gone
}

// setCommonHeaders sets what every answer of the plane carries.
func setCommonHeaders(header http.Header, r *http.Request) {
	req := azure.RequestFrom(r.Context())
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Request-Id", req.RequestID)
	header.Set("Client-Request-Id", req.CorrelationID)
}

// readBody reads a request's body, which must be one JSON object; none at all
// counts as an empty one where it may be absent.
func readBody(r *request, optional bool) (map[string]json.RawMessage, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.http.Body, maxBody))
	if err != nil {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok { // the server's limit, or this one
			return nil, azure.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge",
				"The request body is larger than %d bytes.", large.Limit)
		}
		return nil, malformedBody("The request body cannot be read.")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		if optional {
			return map[string]json.RawMessage{}, nil
		}
		return nil, malformedBody("Empty Payload. JSON content expected.")
	}
	if !utf8.Valid(body) {
		return nil, malformedBody("The request body is not valid UTF-8.")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil || object == nil {
		return nil, malformedBody("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
	}
	return object, nil
}

func malformedBody(message string) error {
	return azure.Errorf(http.StatusBadRequest, "BadRequest", "%s", message)
}

func badRequest(format string, args ...any) *azure.Error {
	return azure.Errorf(http.StatusBadRequest, "Request_BadRequest", format, args...)
}

// invalidValue is Graph's error of a property's value, with why.
func invalidValue(property, resource, why string) *azure.Error {
	return badRequest("Invalid value specified for property '%s' of resource '%s'. %s", property, resource, why)
}

func notFound(id string) *azure.Error {
	return azure.Errorf(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
}

func errOtherTenant() *azure.Error {
	return azure.Errorf(http.StatusForbidden, "Authorization_IdentityNotFound",
		"The identity of the calling application could not be established: the path names another tenant than the access token.")
}
