package cloudtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// What a request is called by [Cloud.Request], as the server calls it outside of
// tests.
const (
	RequestID     = "4e900000-0000-0000-0000-000000000000"
	CorrelationID = "c0ffee00-0000-0000-0000-000000000000"
)

// Request makes a request as the principal of a name, "" for none, with the
// identifiers that the server gives one.
func (c *Cloud) Request(name, method, url, body string) *http.Request {
	c.TB.Helper()
	r := httptest.NewRequestWithContext(c.TB.Context(), method, url, strings.NewReader(body))
	if authorization := c.Authorization(name); authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return from(r, r.RemoteAddr)
}

// from notes of a request what the server does, and the peer that it is from.
func from(r *http.Request, peer string) *http.Request {
	r.RemoteAddr = peer
	return r.WithContext(azure.WithRequest(r.Context(), azure.Request{RequestID: RequestID, CorrelationID: CorrelationID, RemoteAddr: peer}))
}

// Answer is what a handler answered.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Send gives a request to a handler.
func Send(h http.Handler, r *http.Request) Answer {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	response := rec.Result()
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body) // a buffer, which does not fail
	return Answer{response.StatusCode, response.Header, string(body)}
}

// Want fails the test unless the answer has one of the statuses.
func (a Answer) Want(tb testing.TB, statuses ...int) Answer {
	tb.Helper()
	if !slices.Contains(statuses, a.Status) {
		tb.Fatalf("answered %d, want %d: %s", a.Status, statuses, a.Body)
	}
	return a
}

// Decode decodes the answer's JSON, "null" where it has none.
func Decode[T any](tb testing.TB, a Answer) T {
	tb.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
		tb.Fatalf("%v in %q", err, a.Body)
	}
	return v
}

// ErrorCode gives the code of Azure's error document, wrapped in "error" or not,
// and "" for an answer that is none.
func (a Answer) ErrorCode() string {
	type fault struct{ Code string }
	var document struct {
		fault
		Error fault
	}
	if json.Unmarshal([]byte(a.Body), &document) != nil {
		return ""
	}
	if document.Error.Code != "" {
		return document.Error.Code
	}
	return document.Code
}

// Text prints what golden files have of an answer after its status: the named
// headers that it has, and its body, which must be JSON, indented.
func (a Answer) Text(tb testing.TB, headers ...string) string {
	tb.Helper()
	var b strings.Builder
	for _, name := range headers {
		for _, value := range a.Header.Values(name) {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	if a.Body != "" {
		fmt.Fprintf(&b, "\n%s", Indent(tb, a.Body))
	}
	return b.String()
}

// Indent prints JSON as golden files have it.
func Indent(tb testing.TB, text string) string {
	tb.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(strings.TrimSpace(text)), "", "  "); err != nil {
		tb.Fatalf("no JSON: %v\n%s", err, text)
	}
	return b.String() + "\n"
}
