// Package audit writes the record of every decision and every issued token:
// who, what, scope, result, correlation id; never a token or a secret.
package audit

import (
	"context"
	"time"
)

// Record is one line of the audit log.
type Record struct {
	Time          time.Time         `json:"time"`
	Kind          string            `json:"kind"`   // "authorization", "token", "operator"
	Result        string            `json:"result"` // "allowed", "denied", "issued", "refused", "error"
	TenantID      string            `json:"tenantId,omitempty"`
	ObjectID      string            `json:"objectId,omitempty"`
	AppID         string            `json:"appId,omitempty"`
	Action        string            `json:"action,omitempty"`
	Scope         string            `json:"scope,omitempty"`
	Reason        string            `json:"reason,omitempty"`
	CorrelationID string            `json:"correlationId,omitempty"`
	RequestID     string            `json:"requestId,omitempty"`
	RemoteAddr    string            `json:"remoteAddr,omitempty"`
	Detail        map[string]string `json:"detail,omitempty"` // grant, audience, assignment, tokenId, ...
}

// Log is the audit log: a buffered writer to a file (JSON lines).
type Log struct{ _ int }

// Config configures Open.
type Config struct {
	Path       string // "" = nowhere but counted (tests)
	OnFull     string // "refuse" (default) or "continue": what a write error means
	BufferSize int
}

// Open opens the log for appending (0600).
func Open(cfg Config) (*Log, error) { panic("unwritten") }

// Write takes the record. The error is non-nil only when records can't be kept
// and the configuration says to refuse: the caller must then refuse the request.
// Time, CorrelationID, RequestID, RemoteAddr are filled from ctx (azure.RequestFrom) when empty.
func (l *Log) Write(ctx context.Context, r Record) error { panic("unwritten") }

// Close flushes.
func (l *Log) Close() error { panic("unwritten") }
