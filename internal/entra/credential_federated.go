package entra

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/token"
)

// checkFederated proves a client by an assertion of a foreign issuer, such as a
// Kubernetes cluster: one of the client's federated identity credentials must
// name its issuer, subject and audience. The issuer is asked for its keys only
// then, so that nobody makes the service fetch from an address that no
// credential names.
func (h *Handler) checkFederated(ctx context.Context, x *exchange, a *token.Assertion) *azure.Error {
	c, e := h.propagated(x.client, a, func(client directory.Client) (directory.FederatedCredential, *azure.Error) {
		c, e := matchFederated(client, a.Issuer, a.Subject, a.Audience)
		if e != nil {
			c, e = h.matchFlexible(client, a, e)
		}
		return c, e
	})
	if e != nil {
		return e
	}
	x.proof.name = c.Name
	if err := h.issuers.Verify(ctx, x.tenant.ID, a); err != nil {
		return h.unverified(err, a)
	}
	if e := checkTimes(a, h.now()); e != nil {
		return e
	}
	if e := checkLifetime(a); e != nil {
		return e
	}
	x.proof.acr = token.ACRCertificate
	return nil
}

// maxForeignAssertion is the longest life of a foreign issuer's token that Entra
// accepts. Without iat it has lived since 1970.
const maxForeignAssertion = 25 * time.Hour

func checkLifetime(a *token.Assertion) *azure.Error {
	issued := a.IssuedAt
	if issued.IsZero() {
		issued = time.Unix(0, 0)
	}
	if a.Expiry.Sub(issued) > maxForeignAssertion {
		return errFederatedLifetime.new(strconv.FormatInt(issued.Unix(), 10), strconv.FormatInt(a.Expiry.Unix(), 10))
	}
	return nil
}

// matchFederated finds the one credential whose subject an assertion matches.
// Every comparison is of whole strings, byte by byte: no case is folded, no space
// trimmed, no address normalized, and an assertion for several audiences
// matches none. What is told apart is only what the refusal says.
//
// The cause of a refusal, for the record, lists what the credentials expect;
// the client is told no more than Entra tells it.
func matchFederated(client directory.Client, issuer, subject string, audience []string) (directory.FederatedCredential, *azure.Error) {
	var none directory.FederatedCredential
	all := client.FederatedCredentials
	if len(all) == 0 {
		return none, errFederatedNone.new(client.Principal.AppID, client.Principal.DisplayName)
	}
	sameIssuer := filter(all, func(c directory.FederatedCredential) bool { return c.Issuer == issuer })
	if len(sameIssuer) == 0 {
		return none, errFederatedIssuer.because(expected(all, "issuer", issuerOf), issuer)
	}
	// A flexible credential has an expression in place of its subject, which
	// matchFlexible evaluates. An empty subject matches nothing.
	sameSubject := filter(sameIssuer, func(c directory.FederatedCredential) bool {
		return c.Subject == subject && subject != "" && c.ClaimsMatchingExpression == nil
	})
	if len(sameSubject) == 0 {
		cause := expected(sameIssuer, "subject", subjectOf)
		for _, c := range sameIssuer {
			if c.Subject != "" && azure.EqualFold(c.Subject, subject) {
				return none, errFederatedSubjectCase.because(cause, subject)
			}
		}
		return none, errFederatedSubject.because(cause, subject)
	}
	for _, c := range sameSubject {
		if len(audience) == 1 && len(c.Audiences) == 1 && audience[0] == c.Audiences[0] {
			return c, nil
		}
	}
	return none, errFederatedAudience.because(expected(sameSubject, "audience", audienceOf), joined(audience))
}

func issuerOf(c directory.FederatedCredential) string   { return c.Issuer }
func subjectOf(c directory.FederatedCredential) string  { return c.Subject }
func audienceOf(c directory.FederatedCredential) string { return joined(c.Audiences) }

// expected says for the record what the credentials would have matched.
func expected(all []directory.FederatedCredential, what string, of func(directory.FederatedCredential) string) error {
	var b strings.Builder
	for i, c := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s expects %s %q", c.Name, what, of(c))
	}
	return errors.New(b.String())
}

func filter[T any](all []T, keep func(T) bool) []T {
	var kept []T
	for _, v := range all {
		if keep(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// joined prints an audience, which may be a list.
func joined(audience []string) string { return strings.Join(audience, ", ") }

// unverified maps the errors of a signature's verification. Why an issuer could
// not be reached stays in the record and the log: it would tell a stranger what
// the service's network looks like.
func (h *Handler) unverified(err error, a *token.Assertion) *azure.Error {
	if _, ok := errors.AsType[*token.UnreachableError](err); ok {
		return h.withHint(errFederatedUnreachable.because(err), fmt.Sprintf(
			"The keys of issuer '%s' could not be had; the service's log says why. An issuer at a private address needs "+
				"--issuer-allow CIDR, one with a certificate of a private authority --issuer-ca FILE.", shorten(a.Issuer)))
	}
	if _, ok := errors.AsType[*token.KeyNotFoundError](err); ok {
		return errFederatedKey.because(err, a.KeyID, a.Issuer)
	}
	if _, ok := errors.AsType[*token.SignatureError](err); ok {
		return badSignature(err, a.KeyID)
	}
	return errInternal.because(fmt.Errorf("verifying an assertion of %q: %w", shorten(a.Issuer), err))
}
