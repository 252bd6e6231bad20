package token

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Reason says why a token was refused; planes map it to their own error.
type Reason string

// The reasons, in the order in which the checks are made. A token that fails
// several is refused for the first.
const (
	// Malformed: not three parts of base64url, too long, no JSON, a wrong type of
	// a claim, or a header parameter that no token of this cloud has: crit, or
	// one by which the token would bring its own key.
	Malformed Reason = "malformed"
	// BadAlgorithm: not RS256.
	BadAlgorithm Reason = "algorithm"
	// BadSignature: the key is unknown or retired, or did not sign this.
	BadSignature Reason = "signature"
	// Incomplete: no oid, sub, tid, exp or idtyp.
	Incomplete Reason = "incomplete"
	// WrongIssuer: iss is not the canonical issuer of tid in the token's version.
	// A token by an unknown key which does not even say that it is this cloud's
	// is refused with this reason too, since that is what helps its sender.
	WrongIssuer Reason = "issuer"
	// WrongAudience: the token is for another resource.
	WrongAudience Reason = "audience"
	// Expired: exp has come. There is no grace.
	Expired Reason = "expired"
	// NotYetValid: nbf lies more than ClockSkew ahead.
	NotYetValid Reason = "not yet valid"
)

// VerifyError is the error of [Verifier.Verify]. It never contains the token.
type VerifyError struct {
	Reason Reason
	// Detail says more, for the log and for messages that name the fault.
	Detail string
	// Claims are what the token says of itself, true or not: for messages alone.
	// They are nil when it is malformed.
	Claims *Claims
}

// Error gives the reason and the detail.
func (e *VerifyError) Error() string {
	return fmt.Sprintf("access token refused (%s): %s", e.Reason, e.Detail)
}

// Verifier checks access tokens for one protected resource. It is safe for
// concurrent use.
type Verifier struct {
	keys     *Keys
	cloud    azure.Cloud
	tenantID string // the only tenant, or any if empty
	audience func(string) bool
	now      func() time.Time
	cache    verified
}

// NewVerifier makes the verifier of one of the cloud's services, which accepts
// the tokens of every tenant. now nil is time.Now.
func NewVerifier(k *Keys, cloud azure.Cloud, svc azure.Service, now func() time.Time) *Verifier {
	return newVerifier(k, cloud, "", svc.Names, now)
}

// NewApplicationVerifier makes the verifier of an application of a tenant,
// named by its identifiers: its application ID and the URIs for which it lets
// clients ask. They are compared exactly, and no other tenant's token is
// accepted. now nil is time.Now.
func NewApplicationVerifier(k *Keys, cloud azure.Cloud, tenantID string, audiences []string, now func() time.Time) *Verifier {
	audiences = slices.Clone(audiences)
	return newVerifier(k, cloud, tenantID, func(aud string) bool { return slices.Contains(audiences, aud) }, now)
}

func newVerifier(k *Keys, cloud azure.Cloud, tenantID string, audience func(string) bool, now func() time.Time) *Verifier {
	if now == nil {
		now = time.Now
	}
	return &Verifier{keys: k, cloud: cloud, tenantID: tenantID, audience: audience, now: now}
}

// Verify checks all of a token: its form, the algorithm, the signature by a key
// of this cloud that is not retired, issuer, audience, tenant and times; and
// gives the caller that it proves. Its error is a [*VerifyError].
//
// It reads memory only. The result of a token that was accepted is kept for the
// next time, under the SHA-256 of the whole token and for this resource alone;
// what time can change is checked each time.
func (v *Verifier) Verify(raw string) (azure.Caller, error) {
	if len(raw) > maxTokenBytes {
		return azure.Caller{}, &VerifyError{Reason: Malformed, Detail: errTooLong.Error()}
	}
	now, set := v.now(), v.keys.set.Load()
	sum := sha256.Sum256([]byte(raw))
	if known, ok := v.cache.get(sum); ok && set.verifier(known.keyID, now) != nil && inTime(known.claims, now) == nil {
		return known.claims.caller(), nil
	}
	keyID, claims, err := v.verify(raw, set, now)
	if err != nil {
		return azure.Caller{}, err
	}
	v.cache.put(sum, accepted{keyID: keyID, claims: claims})
	return claims.caller(), nil
}

// verify makes every check.
func (v *Verifier) verify(raw string, set *keySet, now time.Time) (string, *Claims, error) {
	t, err := parseCompact(raw, false)
	if err != nil {
		return "", nil, &VerifyError{Reason: Malformed, Detail: err.Error()}
	}
	claims, err := readClaims(t.payload)
	if err != nil {
		return "", nil, &VerifyError{Reason: Malformed, Detail: err.Error()}
	}
	refuse := func(reason Reason, format string, args ...any) (string, *Claims, error) {
		return "", nil, &VerifyError{Reason: reason, Detail: fmt.Sprintf(format, args...), Claims: claims}
	}
	for name := range t.names {
		switch name {
		case "alg", "kid", "typ", "x5t":
		case "crit", "jwk", "jku", "x5u", "x5c":
			return refuse(Malformed, "its header has %s", name)
		default:
			return refuse(Malformed, "its header has a parameter that tokens of this cloud do not have")
		}
	}
	if t.kind != "JWT" {
		return refuse(Malformed, "its typ is not JWT")
	}
	if t.algorithm != string(jose.RS256) {
		return refuse(BadAlgorithm, "it is not signed with RS256")
	}
	key := set.verifier(t.keyID, now)
	if key == nil {
		if why := v.wrongIssuer(claims); why != "" {
			return refuse(WrongIssuer, "%s", why)
		}
		return refuse(BadSignature, "the key that it names is not one of this cloud's")
	}
	if !t.signedBy(key.public) {
		return refuse(BadSignature, "key %s did not sign it", key.ID)
	}
	for _, f := range []struct{ name, value string }{
		{"oid", claims.ObjectID}, {"sub", claims.Subject}, {"tid", claims.TenantID},
	} {
		if f.value == "" {
			return refuse(Incomplete, "it has no %s", f.name)
		}
	}
	switch {
	case claims.Expiry == 0:
		return refuse(Incomplete, "it has no exp")
	case claims.IDType != IDTypeApp && claims.IDType != IDTypeUser:
		return refuse(Incomplete, "it has no idtyp that says whose it is")
	}
	if why := v.wrongIssuer(claims); why != "" {
		return refuse(WrongIssuer, "%s", why)
	}
	if claims.Audience == "" || !v.audience(claims.Audience) {
		return refuse(WrongAudience, "it is for %.200q", claims.Audience)
	}
	if refusal := inTime(claims, now); refusal != nil {
		return "", nil, refusal
	}
	return key.ID, claims, nil
}

// wrongIssuer says what is wrong with the issuer, or nothing.
func (v *Verifier) wrongIssuer(c *Claims) string {
	var want string
	switch c.Version {
	case Version1:
		want = v.cloud.IssuerV1(c.TenantID)
	case Version2:
		want = v.cloud.IssuerV2(c.TenantID)
	default:
		return "its version is neither 1.0 nor 2.0"
	}
	switch {
	case c.TenantID == "" || c.Issuer != want:
		return fmt.Sprintf("its issuer is %.200q", c.Issuer)
	case v.tenantID != "" && c.TenantID != v.tenantID:
		return fmt.Sprintf("it is of tenant %.64q", c.TenantID)
	}
	return ""
}

// inTime checks exp and nbf.
func inTime(c *Claims, now time.Time) *VerifyError {
	if seconds := now.Unix(); seconds >= c.Expiry {
		return &VerifyError{Reason: Expired, Claims: c,
			Detail: "it ended at " + time.Unix(c.Expiry, 0).UTC().Format(time.RFC3339)}
	} else if c.NotBefore > seconds+int64(ClockSkew/time.Second) {
		return &VerifyError{Reason: NotYetValid, Claims: c,
			Detail: "it is not valid before " + time.Unix(c.NotBefore, 0).UTC().Format(time.RFC3339)}
	}
	return nil
}

// readClaims reads the claims without believing them.
func readClaims(payload []byte) (*Claims, error) {
	var w wire
	if len(payload) == 0 || payload[0] != '{' || json.Unmarshal(payload, &w) != nil {
		return nil, errors.New("the payload is not a JSON object of claims")
	}
	return w.claims(), nil
}
