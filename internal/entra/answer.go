package entra

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// errorURI is where Microsoft explains an AADSTS number.
const errorURI = "https://login.microsoftonline.com/error?code="

// begin gives the request its identifiers and the answer the headers that every
// one has. The trace identifier names this request alone; the correlation
// identifier is the client's own where it sent one.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request) *http.Request {
	req := azure.RequestFrom(r.Context())
	if !azure.IsGUID(azure.Fold(req.RequestID)) {
		req.RequestID = uuid.NewString()
	}
	if !azure.IsGUID(azure.Fold(req.CorrelationID)) {
		req.CorrelationID = uuid.NewString()
	}
	if req.RemoteAddr == "" {
		req.RemoteAddr = r.RemoteAddr
	}
	header := w.Header()
	header.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("x-ms-request-id", req.RequestID)
	header.Set("x-ms-ests-server", "Lanyard")
	r = r.WithContext(azure.WithRequest(r.Context(), req))
	sent := r.Header.Get("client-request-id")
	if sent == "" && strings.Contains(r.URL.RawQuery, "client-request-id") {
		sent = r.URL.Query().Get("client-request-id")
	}
	return h.correlate(w, r, sent)
}

// correlate makes sent, if it is a GUID, the correlation identifier of the
// request; clients send it in a header, in the query string or in the body. It
// is sent back to those that ask for it.
func (h *Handler) correlate(w http.ResponseWriter, r *http.Request, sent string) *http.Request {
	if !azure.IsGUID(azure.Fold(sent)) {
		return r
	}
	if azure.EqualFold(r.Header.Get("return-client-request-id"), "true") {
		w.Header().Set("client-request-id", sent)
	}
	req := azure.RequestFrom(r.Context())
	req.CorrelationID = sent
	h.tracer.Current(r.Context()).Set("lanyard.correlation_id", sent)
	return r.WithContext(azure.WithRequest(r.Context(), req))
}

// noStore marks an answer that nobody may keep, and sets the other headers of
// the token endpoint.
func noStore(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store, no-cache")
	header.Set("Pragma", "no-cache")
	header.Set("Expires", "-1")
	header.Set("P3P", `CP="DSP CUR OTPi IND OTRi ONL FIN"`)
}

// tokenV2Answer is the answer of the version 2 endpoint: numbers are numbers.
type tokenV2Answer struct {
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	ExtExpiresIn int64  `json:"ext_expires_in"`
	RefreshIn    int64  `json:"refresh_in,omitempty"`
	AccessToken  string `json:"access_token"`
}

// tokenV1Answer is the answer of the version 1 endpoint: every value is a
// string, times are in seconds since 1970.
type tokenV1Answer struct {
	TokenType    string `json:"token_type"`
	ExpiresIn    string `json:"expires_in"`
	ExtExpiresIn string `json:"ext_expires_in"`
	RefreshIn    string `json:"refresh_in,omitempty"`
	ExpiresOn    string `json:"expires_on"`
	NotBefore    string `json:"not_before"`
	Resource     string `json:"resource"`
	AccessToken  string `json:"access_token"`
}

// writeToken writes the answer with the token. expires_in is one second less
// than the token has, as Entra's is, so that nobody counts on the last one.
func (h *Handler) writeToken(w http.ResponseWriter, r *http.Request, x *exchange) {
	w.Header().Set("x-ms-clitelem", "1,0,0,,")
	expiresIn := x.lifetime.seconds - 1
	if x.protocol != v1 {
		h.writeJSON(w, r, http.StatusOK, tokenV2Answer{
			TokenType:    "Bearer",
			ExpiresIn:    expiresIn,
			ExtExpiresIn: expiresIn,
			RefreshIn:    x.lifetime.refresh,
			AccessToken:  x.raw,
		})
		return
	}
	answer := tokenV1Answer{
		TokenType:    "Bearer",
		ExpiresIn:    strconv.FormatInt(expiresIn, 10),
		ExtExpiresIn: strconv.FormatInt(expiresIn, 10),
		ExpiresOn:    strconv.FormatInt(x.claims.Expiry, 10),
		NotBefore:    strconv.FormatInt(x.claims.NotBefore, 10),
		Resource:     x.audience,
		AccessToken:  x.raw,
	}
	if x.lifetime.refresh > 0 {
		answer.RefreshIn = strconv.FormatInt(x.lifetime.refresh, 10)
	}
	h.writeJSON(w, r, http.StatusOK, answer)
}

// errorAnswer is Entra's error document.
type errorAnswer struct {
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes"`
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id"`
	CorrelationID string `json:"correlation_id"`
	URI           string `json:"error_uri,omitempty"`
}

// writeError writes an error, and logs it: a fault of the service as an error,
// a refusal at debug level, since the audit log has it.
func (h *Handler) writeError(w http.ResponseWriter, r *http.Request, e *azure.Error) {
	req := azure.RequestFrom(r.Context())
	level := slog.LevelDebug
	if e.Status >= http.StatusInternalServerError {
		level = slog.LevelError
	} else if e.Numbers != nil && e.Numbers[0] == errFederatedUnreachable.number {
		level = slog.LevelWarn // an operator can mend it
	}
	h.log.LogAttrs(r.Context(), level, "token service refused a request",
		slog.Int("status", e.Status), slog.Any("reason", e.Err), slog.String("correlationId", req.CorrelationID))

	now := h.now().UTC().Format("2006-01-02 15:04:05Z")
	answer := errorAnswer{
		Error: e.Code, Codes: e.Numbers, Timestamp: now,
		TraceID: req.RequestID, CorrelationID: req.CorrelationID,
	}
	text, number := e.Message, 0
	if len(e.Numbers) > 0 {
		number = e.Numbers[0]
		text = fmt.Sprintf("AADSTS%d: %s", number, text)
		answer.URI = errorURI + strconv.Itoa(number)
	} else {
		answer.Codes = []int{}
	}
	answer.Description = fmt.Sprintf("%s Trace ID: %s Correlation ID: %s Timestamp: %s",
		text, req.RequestID, req.CorrelationID, now)
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if e.Status == http.StatusUnauthorized && r.Header.Get("Authorization") != "" {
		// RFC 6749 section 5.2: who tried a scheme is told the one there is.
		w.Header().Set("WWW-Authenticate", `Basic realm="`+h.cloud.ActiveDirectory()+`"`)
	}
	w.Header().Set("x-ms-clitelem", fmt.Sprintf("1,%d,0,,", number))
	h.writeJSON(w, r, e.Status, answer)
}

// writeJSON writes a JSON document. Its characters are written as they are, as
// Entra does, not escaped for HTML.
func (h *Handler) writeJSON(w http.ResponseWriter, r *http.Request, status int, document any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		// The documents are structs of strings, numbers and lists of them.
		h.log.ErrorContext(r.Context(), "encoding an answer", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h.write(w, status, bytes.TrimSuffix(body.Bytes(), []byte("\n")))
}

// write writes an encoded JSON document.
func (h *Handler) write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the client is gone
}
