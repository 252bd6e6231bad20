package entra

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// maxFormBytes bounds the body of a token request. The largest part is an
// assertion with its certificate chain, some 10 KiB.
const maxFormBytes = 64 << 10

// form is the body of a token request: each parameter once. A parameter with an
// empty value counts as absent, as RFC 6749 section 3.2 has it. It holds
// secrets: no part of it goes into a log.
type form map[string]string

// readForm reads the body of a token request. Parameters in the query string
// are not read: they would end up in other people's logs.
func (h *Handler) readForm(w http.ResponseWriter, r *http.Request) (form, *azure.Error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		// Entra does not read such a body, and so misses its first parameter.
		return nil, h.withHint(errMissing.new("grant_type"), "The Content-Type must be application/x-www-form-urlencoded.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFormBytes))
	if err != nil {
		e := h.withHint(errMalformed.because(err), "The body could not be read.")
		if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
			e = h.withHint(errMalformed.because(err), "The body must not be longer than 64 KiB.")
			e.Status = http.StatusRequestEntityTooLarge
		}
		return nil, e
	}
	f, fault := parseForm(string(body))
	if fault != nil && len(fault.Numbers) > 0 && fault.Numbers[0] == errMalformed.number {
		return nil, h.withHint(fault, "A parameter of the body is not percent-encoded UTF-8.")
	}
	return f, fault
}

// parseForm decodes a form. It differs from url.ParseQuery where that would
// hide something: a parameter that comes twice is an error, not a list, and a
// semicolon is a character, not an error, since secrets may hold one.
func parseForm(body string) (form, *azure.Error) {
	f := form{}
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil || !utf8.ValidString(name) {
			return nil, errMalformed.new()
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil || !utf8.ValidString(value) {
			return nil, errMalformed.new()
		}
		if _, twice := f[name]; twice {
			return nil, errDuplicate.new(name)
		}
		f[name] = value
	}
	return f, nil
}

// require gives a parameter that must be there.
func (f form) require(name string) (string, *azure.Error) {
	if v := f[name]; v != "" {
		return v, nil
	}
	return "", errMissing.new(name)
}
