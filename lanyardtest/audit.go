package lanyardtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

// Record is a line of the cloud's audit log: a decision about a request, or a
// token that was issued or refused.
type Record struct {
	// Time is the cloud's time at which it happened.
	Time time.Time `json:"time"`
	// Kind is "authorization" or "token".
	Kind string `json:"kind"`
	// Result is "allowed" or "denied" of an authorization, "issued" or "refused"
	// of a token, or "error" where nothing could be decided.
	Result string `json:"result"`
	// TenantID, ObjectID and AppID name the caller: its tenant, its principal and
	// its client.
	TenantID string `json:"tenantId"`
	ObjectID string `json:"objectId"`
	AppID    string `json:"appId"`
	// Action is what was asked for, such as "Microsoft.KeyVault/vaults/read".
	Action string `json:"action"`
	// Scope is the resource ID of what it was asked of.
	Scope string `json:"scope"`
	// Reason says why the result is what it is: the role that allows, or what
	// each of the caller's roles lacks.
	Reason string `json:"reason"`
	// RequestID and CorrelationID are those of the answer's headers
	// x-ms-request-id and x-ms-correlation-request-id.
	RequestID     string `json:"requestId"`
	CorrelationID string `json:"correlationId"`
	// Detail is what else is known: the role and assignment that allowed, the
	// audience and ID of a token, ...
	Detail map[string]string `json:"detail"`
}

// Audit gives the audit log: every decision and every token, the oldest first.
// What was answered before the call is in it.
func (c *Cloud) Audit(t testing.TB) []Record {
	t.Helper()
	records, err := c.records()
	if err != nil {
		t.Fatalf("lanyardtest: reading the audit log: %v", err)
	}
	return records
}

func (c *Cloud) records() ([]Record, error) {
	if err := c.server.Audit().Flush(); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(c.audit)
	if err != nil {
		return nil, err
	}
	var records []Record
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// Why gives the record of the decision behind an error that a client got: the
// role that a 403 missed, or the reason of the token service. It fails the test
// when the error is none of this cloud's refusals.
func (c *Cloud) Why(t testing.TB, err error) Record {
	t.Helper()
	if err == nil {
		t.Fatal("lanyardtest: Why: there is no error")
	}
	// The token service and Resource Manager name the request in the answer, and
	// every plane does in its headers.
	text := err.Error()
	if response, ok := errors.AsType[*azcore.ResponseError](err); ok && response.RawResponse != nil {
		h := response.RawResponse.Header
		text += " " + h.Get("X-Ms-Request-Id") + " " + h.Get("X-Ms-Correlation-Request-Id")
	}
	records := c.Audit(t)
	for _, id := range []func(Record) string{
		func(r Record) string { return r.RequestID },
		func(r Record) string { return r.CorrelationID }, // a client may use one for several requests
	} {
		for i := len(records) - 1; i >= 0; i-- {
			r := records[i]
			refusal := r.Result == "denied" || r.Result == "refused" || r.Result == "error"
			if refusal && id(r) != "" && strings.Contains(text, id(r)) {
				return r
			}
		}
	}
	t.Fatalf("lanyardtest: Why: no refusal of this cloud is behind the error: %v", err)
	return Record{}
}
