package keyvault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// errorDocument is Key Vault's error body.
type errorDocument struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Code    string     `json:"code"`
	Message string     `json:"message"`
	Inner   *errorBody `json:"innererror,omitempty"`
}

// MarshalJSON leaves the message out of an inner error, which has a code alone.
func (e errorBody) MarshalJSON() ([]byte, error) {
	if e.Message == "" && e.Inner == nil {
		return json.Marshal(map[string]string{"code": e.Code})
	}
	type plain errorBody
	return marshal(plain(e))
}

// writeError turns any error into an answer. What is no [azure.Error] says
// nothing to the client and is logged.
func (h *Handler) writeError(w http.ResponseWriter, r *http.Request, err error) {
	known, ok := errors.AsType[*azure.Error](err)
	switch {
	case ok:
	case errors.Is(err, store.ErrConflict):
		known = conflict("", "The secret was changed by other requests at the same time. Please retry.")
	case errors.Is(err, store.ErrStale):
		known = azure.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable", "The vault is not available at the moment. Please retry.")
	default:
		known = azure.Errorf(http.StatusInternalServerError, "InternalServerError", "An internal error occurred.")
	}
	if !ok || known.Err != nil {
		h.cfg.Logger.ErrorContext(r.Context(), "key vault request failed",
			"method", r.Method, "host", r.Host, "status", known.Status, "error", err, "cause", known.Err)
	}
	body := errorBody{Code: known.Code, Message: known.Message}
	if known.InnerCode != "" {
		body.Inner = &errorBody{Code: known.InnerCode}
	}
	writeResult(w, result{status: known.Status, body: errorDocument{Error: body}})
}

func writeResult(w http.ResponseWriter, res result) {
	if res.body == nil {
		w.WriteHeader(res.status)
		return
	}
	body, err := marshal(res.body)
	if err != nil {
		// Every body is one of this package's own types, all of which encode.
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(res.status)
	// A failed write is the client's hanging up, of which there is no one to tell.
	_, _ = w.Write(body)
}

// marshal encodes without escaping "<", ">" and "&", which secrets are full of.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// setCommonHeaders sets what every answer of the plane carries.
func setCommonHeaders(header http.Header, r *http.Request) {
	header.Set("Cache-Control", "no-cache")
	header.Set("Pragma", "no-cache")
	header.Set("Expires", "-1")
	header.Set("X-Content-Type-Options", "nosniff")
	if id := r.Header.Get("X-Ms-Client-Request-Id"); id != "" && len(id) <= 128 {
		header.Set("X-Ms-Client-Request-Id", id)
	}
	if id := azure.RequestFrom(r.Context()).RequestID; id != "" {
		header.Set("X-Ms-Request-Id", id)
	}
	if peer := peerAddress(r); peer.IsValid() {
		kind, family := "Ipv4", "InterNetwork"
		if peer.Is6() {
			kind, family = "Ipv6", "InterNetworkV6"
		}
		header.Set("X-Ms-Keyvault-Network-Info", "conn_type="+kind+";addr="+peer.String()+";act_addr_fam="+family+";")
	}
}

// peerAddress gives who is at the other end of the connection: what the server
// noted, else the connection's own address. It never reads a forwarding header,
// which anyone can write.
func peerAddress(r *http.Request) netip.Addr {
	remote := azure.RequestFrom(r.Context()).RemoteAddr
	if remote == "" {
		remote = r.RemoteAddr
	}
	if host, _, err := net.SplitHostPort(remote); err == nil {
		remote = host
	}
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// readJSON decodes a request's body, which must be one object of at most limit
// bytes. Members that v does not have are read over, as Azure does.
func readJSON(r *http.Request, limit int64, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return azure.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge",
				"The request body is larger than %d bytes.", limit)
		}
		return badParameter("The request body cannot be read.")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return badParameter("Request body not specified")
	}
	if !utf8.Valid(body) {
		// The decoder would put U+FFFD in place of what it cannot read, and a
		// secret would be kept that is not the one that was sent.
		return badParameter("The request body is not valid UTF-8.")
	}
	if err := json.Unmarshal(body, v); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			return badParameter("Property %s has invalid value", e.Field)
		}
		return badParameter("Unexpected error parsing the request body as JSON")
	}
	return nil
}

func badParameter(format string, args ...any) *azure.Error {
	return azure.Errorf(http.StatusBadRequest, "BadParameter", format, args...)
}

func conflict(inner, format string, args ...any) *azure.Error {
	e := azure.Errorf(http.StatusConflict, "Conflict", format, args...)
	e.InnerCode = inner
	return e
}

func vaultNotFound(name string) error {
	return azure.Errorf(http.StatusNotFound, "VaultNotFound",
		"There is no vault '%s' here. It may never have existed, or it has been deleted and can perhaps be recovered.", name)
}

// secretNotFound names what was looked for, "name" or "name/version".
func secretNotFound(id string) error {
	return azure.Errorf(http.StatusNotFound, "SecretNotFound",
		"A secret with (name/id) %s was not found in this key vault. If you recently deleted this secret you may be able to "+
			"recover it using the correct recovery command. For help resolving this issue, please see "+
			"https://go.microsoft.com/fwlink/?linkid=2125182", id)
}

func deletedSecretNotFound(name string) error {
	return azure.Errorf(http.StatusNotFound, "SecretNotFound", "Deleted Secret not found: %s", name)
}

// recoverable is why a name cannot be used: a deleted secret still has it.
func recoverable(name string) error {
	return conflict("ObjectIsDeletedButRecoverable", "Secret %s is currently in a deleted but recoverable state, "+
		"and its name cannot be reused; in this state, the secret can only be recovered or purged.", name)
}
