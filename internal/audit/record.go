package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Record is one line of the audit log.
type Record struct {
	// Time is when it happened, in UTC. Write fills it.
	Time time.Time `json:"time"`
	// Kind is "authorization", "token" or "operator".
	Kind string `json:"kind"`
	// Result is "allowed", "denied", "issued", "refused" or "error".
	Result string `json:"result"`
	// TenantID is the caller's directory.
	TenantID string `json:"tenantId,omitempty"`
	// ObjectID is the principal that called.
	ObjectID string `json:"objectId,omitempty"`
	// AppID is the client through which it called.
	AppID string `json:"appId,omitempty"`
	// Action is what was asked for, such as "Microsoft.KeyVault/vaults/read".
	Action string `json:"action,omitempty"`
	// Scope is the resource it was asked of.
	Scope string `json:"scope,omitempty"`
	// Reason says why the result is what it is.
	Reason string `json:"reason,omitempty"`
	// CorrelationID, RequestID and RemoteAddr tell the request. Write fills
	// them from the context.
	CorrelationID string `json:"correlationId,omitempty"`
	RequestID     string `json:"requestId,omitempty"`
	RemoteAddr    string `json:"remoteAddr,omitempty"`
	// Detail is what else is known: grant, audience, assignment, tokenId, ...
	Detail map[string]string `json:"detail,omitempty"`
}

// The kinds and results of records.
const (
	KindAuthorization = "authorization"
	KindToken         = "token"
	KindOperator      = "operator"

	ResultAllowed = "allowed"
	ResultDenied  = "denied"
	ResultIssued  = "issued"
	ResultRefused = "refused"
	ResultError   = "error"
)

// fill completes the record from the request of ctx.
func (r *Record) fill(ctx context.Context, now func() time.Time) {
	if r.Time.IsZero() {
		r.Time = now()
	}
	r.Time = r.Time.UTC()
	req := azure.RequestFrom(ctx)
	if r.CorrelationID == "" {
		r.CorrelationID = req.CorrelationID
	}
	if r.RequestID == "" {
		r.RequestID = req.RequestID
	}
	if r.RemoteAddr == "" {
		r.RemoteAddr = req.RemoteAddr
	}
}

// maxField bounds a field in bytes: much of a record is what a stranger sent.
const maxField = 2048

// redacted stands for what looks like a token.
const redacted = "[redacted]"

// clean bounds the fields and takes out tokens that came along in what a
// stranger sent, such as one in the place of an identifier.
func (r *Record) clean() {
	for _, field := range []*string{
		&r.Kind, &r.Result, &r.TenantID, &r.ObjectID, &r.AppID, &r.Action, &r.Scope,
		&r.Reason, &r.CorrelationID, &r.RequestID, &r.RemoteAddr,
	} {
		*field = cleanField(*field)
	}
	var detail map[string]string // the caller's map stays as it is
	for k, v := range r.Detail {
		ck, cv := cleanField(k), cleanField(v)
		if ck == k && cv == v {
			continue
		}
		if detail == nil {
			detail = maps.Clone(r.Detail)
		}
		delete(detail, k)
		detail[ck] = cv
	}
	if detail != nil {
		r.Detail = detail
	}
}

func cleanField(s string) string {
	for {
		start, end := findToken(s)
		if start < 0 {
			break
		}
		s = s[:start] + redacted + s[end:]
	}
	if len(s) <= maxField {
		return s
	}
	cut := maxField
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// findToken finds a JWT or JWE in compact form: at least three segments of
// base64url, the first a JSON object's.
func findToken(s string) (start, end int) {
	for from := 0; ; {
		i := strings.Index(s[from:], "eyJ")
		if i < 0 {
			return -1, -1
		}
		start, end = from+i, from+i
		dots := 0
		for end < len(s) && isTokenByte(s[end]) {
			if s[end] == '.' {
				dots++
			}
			end++
		}
		if dots >= 2 {
			return start, end
		}
		from = end
	}
}

func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

// encoder writes records as JSON lines. HTML's characters stay readable.
type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}}

// encode gives the record's line. It is valid until the encoder is put back.
func (e *encoder) encode(r *Record) ([]byte, error) {
	e.buf.Reset()
	if err := e.json.Encode(r); err != nil {
		return nil, err
	}
	return e.buf.Bytes(), nil
}
