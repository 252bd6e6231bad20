// Package token owns signing keys, their rotation and publication, the claims
// of access tokens, minting and verifying; and verifies assertions of foreign
// issuers. Only user of go-jose and go-oidc.
package token

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/netip"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// Keys is the cloud's set of signing keys, one for all tenants, sealed in the store, followed by a view.
type Keys struct{ _ int }

// OpenKeys loads the keys, making the first RS256 2048 key on first start (one replica wins).
// now decides which key signs (published before it signs: fields NotBefore / retirement) so that rotation can be added.
func OpenKeys(ctx context.Context, st *store.Store, now func() time.Time, log *slog.Logger) (*Keys, error) {
	panic("unwritten")
}

// JWKS gives the published keys: kty, use sig, kid, x5t, n, e, x5c and issuer as given.
func (k *Keys) JWKS(issuer string) json.RawMessage { panic("unwritten") }

// Claims are an access token's claims, v1 and v2 (omitempty by version).
type Claims struct {
	Audience                    string `json:"aud"`
	Issuer                      string `json:"iss"`
	IssuedAt, NotBefore, Expiry int64
	Version                     string `json:"ver"`
	TenantID, ObjectID, Subject string
	AppID                       string // v1 appid, v2 azp
	AppIDACR                    string // "1" secret, "2" cert/FIC/MI (v1 appidacr, v2 azpacr)
	IDType                      string // "app" or "user"
	IdentityProvider            string
	Name, UPN                   string
	Groups, Roles               []string
	Scopes                      string // scp
	IdentityResourceID          string // xms_mirid
	HostResourceID              string // xms_az_rid
	TokenID                     string // uti
	// ... aio, rh, xms_* as the sheet says
}

// Mint signs the claims. Version 1.0 tokens carry x5t in the header, 2.0 don't.
func (k *Keys) Mint(c Claims) (string, error) { panic("unwritten") }

// Verifier checks access tokens for one protected resource.
type Verifier struct{ _ int }

// NewVerifier: svc names the audiences; issuer tells the tenant of an iss (cloud.IssuerV1/V2 of an existing tenant) – the canonical ones only.
func NewVerifier(k *Keys, cloud azure.Cloud, svc azure.Service, now func() time.Time) *Verifier {
	panic("unwritten")
}

// Reason says why a token was refused; planes map it to their own error.
type Reason string

const (
	Malformed     Reason = "malformed"
	BadSignature  Reason = "signature"
	BadAlgorithm  Reason = "algorithm"
	WrongIssuer   Reason = "issuer"
	WrongAudience Reason = "audience"
	Expired       Reason = "expired"
	NotYetValid   Reason = "not yet valid"
	Incomplete    Reason = "incomplete" // no oid, sub or tid
)

// VerifyError is Verify's error.
type VerifyError struct {
	Reason Reason
	Detail string
	Claims *Claims // unverified, for the message only; nil when malformed
}

func (e *VerifyError) Error() string { panic("unwritten") }

// Verify checks all of it and gives the caller.
func (v *Verifier) Verify(raw string) (azure.Caller, error) { panic("unwritten") }

// Assertion is a parsed, not yet verified client assertion.
type Assertion struct {
	Issuer, Subject             string
	Audience                    []string
	KeyID, Algorithm, Type      string
	NotBefore, IssuedAt, Expiry time.Time // zero when absent
	Claims                      map[string]any
	raw                         string
}

// ParseAssertion parses without verifying.
func ParseAssertion(raw string) (*Assertion, error) { panic("unwritten") }

// IssuersConfig configures NewIssuers.
type IssuersConfig struct {
	Allow  []netip.Prefix                             // private ranges that may be dialled
	CAs    *x509.CertPool                             // nil: system roots
	Local  func(issuer string) (jwks []byte, ok bool) // issuers whose keys Lanyard itself holds; may be nil
	Now    func() time.Time
	Logger *slog.Logger
}

// Issuers fetches and caches the keys of foreign issuers.
type Issuers struct{ _ int }

func NewIssuers(cfg IssuersConfig) *Issuers { panic("unwritten") }

// Errors of Verify, told apart with errors.As.
type (
	// UnreachableError: discovery or keys could not be had (AADSTS90061/501661-like). Err says how to mend it (e.g. --issuer-allow).
	UnreachableError struct {
		Issuer string
		Err    error
	}
	// KeyNotFoundError: AADSTS7000272
	KeyNotFoundError struct{ Issuer, KeyID string }
	// SignatureError: AADSTS700027
	SignatureError struct {
		Issuer, KeyID, Algorithm string
		Err                      error
	}
)

func (e *UnreachableError) Error() string { panic("unwritten") }
func (e *KeyNotFoundError) Error() string { panic("unwritten") }
func (e *SignatureError) Error() string   { panic("unwritten") }

// Verify checks the signature with the issuer's published keys (RS256 only). Times, subject and audience are the caller's to check.
func (i *Issuers) Verify(ctx context.Context, a *Assertion) error { panic("unwritten") }
