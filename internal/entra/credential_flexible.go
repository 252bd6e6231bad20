package entra

import (
	"errors"
	"fmt"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/token"
)

// matchFlexible finds the one flexible credential that an assertion matches: its
// issuer and audience are the assertion's, byte by byte, and its expression holds
// for the assertion's claims. refusal is why no credential with a subject
// matched: those go first, so that an expression that is added never changes what
// they do. Several expressions that hold are refused, since the record could not
// tell by which credential the client came.
//
// Nothing of the assertion is verified yet. What matches here only decides that
// its issuer may be asked for its keys; the same claims are those that are then
// verified.
func (h *Handler) matchFlexible(client directory.Client, a *token.Assertion, refusal *azure.Error) (directory.FederatedCredential, *azure.Error) {
	var none directory.FederatedCredential
	flexible := filter(client.FederatedCredentials, func(c directory.FederatedCredential) bool {
		return c.Issuer == a.Issuer && c.ClaimsMatchingExpression != nil
	})
	if len(flexible) == 0 {
		return none, refusal
	}
	var matched []directory.FederatedCredential
	var fault, otherAudience *azure.Error
	for _, c := range flexible {
		switch ok, e := h.holds(client, c, a); {
		case e != nil:
			if fault == nil {
				fault = e
			}
		case !ok:
		case len(a.Audience) == 1 && len(c.Audiences) == 1 && a.Audience[0] == c.Audiences[0]:
			matched = append(matched, c)
		default:
			otherAudience = errFederatedAudience.because(expected(flexible, "audience", audienceOf), joined(a.Audience))
		}
	}
	switch {
	case len(matched) == 1:
		return matched[0], nil
	case len(matched) > 1:
		return none, errFlexibleDuplicate.because(expected(matched, "expression", expressionOf))
	case refusal.Numbers[0] == errFederatedAudience.number || refusal.Numbers[0] == errFederatedSubjectCase.number:
		return none, refusal // a subject came nearer than any expression
	case otherAudience != nil:
		return none, otherAudience
	case fault != nil:
		return none, fault
	}
	return none, errFlexibleMismatch.because(expected(flexible, "expression", expressionOf), a.Subject)
}

// holds evaluates a flexible credential's expression. It was checked when it was
// written, but by the rules of that day and of the mode of then.
func (h *Handler) holds(client directory.Client, c directory.FederatedCredential, a *token.Assertion) (bool, *azure.Error) {
	because := func(err error) error { return fmt.Errorf("%s: %w", c.Name, err) }
	if h.strict && client.Application == nil {
		return false, errFlexibleClient.because(because(errors.New("it is a managed identity's")))
	}
	expression, err := directory.ParseExpression(c.ClaimsMatchingExpression.Value)
	if err != nil {
		return false, errFlexibleExpression.because(because(err))
	}
	if h.strict {
		switch err := expression.AllowedOnAzure(c.Issuer); {
		case errors.Is(err, directory.ErrExpressionIssuer):
			return false, errFlexibleIssuer.because(because(err), a.Issuer)
		case err != nil:
			return false, errFlexibleClaims.because(because(err))
		}
	}
	ok, err := expression.Match(a.Claims)
	if err != nil {
		return false, errFlexibleEvaluation.because(because(err))
	}
	return ok, nil
}

func expressionOf(c directory.FederatedCredential) string { return c.ClaimsMatchingExpression.Value }
