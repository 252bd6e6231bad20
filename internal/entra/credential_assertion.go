package entra

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/token"
)

// assertionTypeJWT is the one client_assertion_type (RFC 7523).
const assertionTypeJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// clockSkew is how far an assertion's clock may differ from ours, both at its
// beginning and at its end. Entra tolerates as much.
const clockSkew = 5 * time.Minute

// The algorithms of assertions: those of foreign issuers, and those of clients
// that sign with the key of a certificate.
var (
	federationAlgorithms  = []string{token.RS256}
	certificateAlgorithms = []string{token.RS256, token.PS256, token.ES256}
)

// checkAssertion proves a client by a signed assertion. Who issued it decides
// what kind of credential it is: the client itself, this cloud, or a foreign
// issuer.
func (h *Handler) checkAssertion(ctx context.Context, x *exchange, raw string) *azure.Error {
	x.proof.kind = kindFederated
	kind, e := x.form.require("client_assertion_type")
	if e != nil {
		return e
	}
	if kind != assertionTypeJWT {
		return errParameter.new("client_assertion_type")
	}
	a, err := token.ParseAssertion(raw)
	if err != nil {
		return errAssertionMalformed.because(err)
	}
	algorithms := federationAlgorithms
	if isSelfIssued(a) {
		x.proof.kind, algorithms = kindCertificate, certificateAlgorithms
	}
	if e := checkForm(a, algorithms); e != nil {
		return e
	}
	x.noteAssertion(a)
	switch {
	case isSelfIssued(a):
		return h.checkCertificate(x, a)
	case h.isAuthority(a.Issuer):
		return h.checkManagedIdentity(x, a, raw)
	default:
		return h.checkFederated(ctx, x, a)
	}
}

// isSelfIssued reports whether an application issued the assertion: its issuer
// is a client ID then. No other issuer is a GUID, since others are addresses.
func isSelfIssued(a *token.Assertion) bool { return azure.IsGUID(azure.Fold(a.Issuer)) }

// checkForm refuses an assertion that no credential could make good.
func checkForm(a *token.Assertion, algorithms []string) *azure.Error {
	switch {
	case a.Type != "" && !azure.EqualFold(a.Type, "JWT") && a.Type != "http://openid.net/specs/jwt/1.0":
		return errAssertionType.new()
	case !slices.Contains(algorithms, a.Algorithm):
		return errAssertionAlgorithm.new(a.Algorithm, strings.Join(algorithms, ","))
	case a.Issuer == "":
		return errAssertionClaim.new("iss")
	case a.Subject == "":
		return errAssertionClaim.new("sub")
	case len(a.Audience) == 0:
		return errAssertionClaim.new("aud")
	case a.Expiry.IsZero():
		return errAssertionClaim.new("exp")
	}
	return nil
}

// noteAssertion keeps for the record what the assertion says of itself.
func (x *exchange) noteAssertion(a *token.Assertion) {
	x.note("assertionIssuer", a.Issuer)
	x.note("assertionSubject", a.Subject)
	x.note("assertionAudience", joined(a.Audience))
	x.note("assertionKeyId", a.KeyID)
}

// checkTimes checks that an assertion has begun and has not ended. Without nbf
// it begins when it was issued.
func checkTimes(a *token.Assertion, now time.Time) *azure.Error {
	if beginning(a).After(now.Add(clockSkew)) || !a.Expiry.After(now.Add(-clockSkew)) {
		return outOfTime(a, now)
	}
	return nil
}

// beginning is when an assertion begins to be valid.
func beginning(a *token.Assertion) time.Time {
	if a.NotBefore.IsZero() {
		return a.IssuedAt
	}
	return a.NotBefore
}

// outOfTime is the error of an assertion that has not begun or has ended.
func outOfTime(a *token.Assertion, now time.Time) *azure.Error {
	return errAssertionTime.new(timestamp7(now), timestamp7(beginning(a)), timestamp7(a.Expiry))
}

// timestamp7 prints a time with the seven decimals of .NET, as Entra does. The
// zero time is its DateTime.MinValue.
func timestamp7(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.0000000Z")
}
