package directory

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Azure's list of issuers for whose tokens it takes expressions, with the
// operators for each claim. "{any}" in an issuer is any one or more labels of a
// host name.
var expressionIssuers = []struct {
	issuers   []string
	operators map[string][]string
}{
	{
		[]string{githubIssuer},
		map[string][]string{
			"sub":                 {opEqual, opMatches},
			"job_workflow_ref":    {opEqual, opMatches},
			"repository_id":       {opEqual},
			"repository_owner_id": {opEqual},
		},
	},
	{
		[]string{"https://gitlab.com", "https://gitlab.{any}.com", "https://gitlab.{any}.ca"},
		map[string][]string{"sub": {opEqual, opMatches}},
	},
	{
		[]string{"https://app.terraform.io", "https://app.eu.terraform.io"},
		map[string][]string{"sub": {opEqual, opMatches}},
	},
}

// githubIssuer is the issuer of GitHub Actions. A repository's name may pass to
// somebody else, its number not: on Azure, and here, an expression for its tokens
// names the repository's or the owner's number beside the subject.
const githubIssuer = "https://token.actions.githubusercontent.com"

// ErrExpressionIssuer means that Azure takes no expressions for tokens of the
// issuer: AADSTS7002241.
var ErrExpressionIssuer = errors.New("no expressions on Azure for tokens of this issuer")

// ErrExpressionClaims means that Azure does not take this claim with this
// operator for tokens of the issuer: AADSTS700237.
var ErrExpressionClaims = errors.New("not on Azure for tokens of this issuer")

// AllowedOnAzure tells whether Azure has expressions for tokens of the issuer,
// and takes these claims and operators. The error wraps [ErrExpressionIssuer] or
// [ErrExpressionClaims].
func (e *Expression) AllowedOnAzure(issuer string) error {
	for _, known := range expressionIssuers {
		if !slices.ContainsFunc(known.issuers, func(form string) bool { return isIssuer(form, issuer) }) {
			continue
		}
		for _, c := range e.conditions {
			if !slices.Contains(known.operators[c.claim], c.operator) {
				return fmt.Errorf("claims['%s'] %s: %w", c.claim, c.operator, ErrExpressionClaims)
			}
		}
		return nil
	}
	return fmt.Errorf("%s: %w", issuer, ErrExpressionIssuer)
}

// isIssuer compares an issuer with a form of the list.
func isIssuer(form, issuer string) bool {
	before, after, wild := strings.Cut(form, "{any}")
	if !wild {
		return form == issuer
	}
	label, ok := strings.CutPrefix(issuer, before)
	if !ok {
		return false
	}
	label, ok = strings.CutSuffix(label, after)
	return ok && label != "" && !strings.ContainsAny(label, "/:@?#[] ")
}

// names reports whether a condition is on one of these claims.
func (e *Expression) names(claims ...string) bool {
	return slices.ContainsFunc(e.conditions, func(c condition) bool { return slices.Contains(claims, c.claim) })
}

// checkExpression checks the expression of a credential, if it has one, for its
// owner and issuer. The refusals have the code that the owner's clients know.
func (d *Directory) checkExpression(owner credentialOwner, c FederatedCredential) error {
	if c.ClaimsMatchingExpression == nil {
		return nil
	}
	code := "InvalidFederatedIdentityCredentialValue" // Microsoft Graph's
	if owner.managedIdentity != "" {
		code = "BadRequest"
	}
	refuse := func(why string) error {
		return azure.Errorf(http.StatusBadRequest, code,
			"The FederatedIdentityCredential.ClaimsMatchingExpression.Value is invalid. %s", why)
	}
	e, err := ParseExpression(c.ClaimsMatchingExpression.Value)
	if err != nil {
		return refuse("The expression is not accepted: " + err.Error() + ".")
	}
	if d.strict && owner.managedIdentity != "" {
		return azure.Errorf(http.StatusBadRequest, code,
			"A claimsMatchingExpression is supported for federated identity credentials of applications only.")
	}
	allowed := error(nil)
	if d.strict {
		allowed = e.AllowedOnAzure(c.Issuer)
	}
	github := c.Issuer == githubIssuer
	switch {
	case errors.Is(allowed, ErrExpressionIssuer):
		return refuse("Rule exception: Issuer '" + c.Issuer + "' may not use credentials matching via expression.")
	case allowed != nil, github && !(e.names("sub") && e.names("repository_id", "repository_owner_id")):
		return refuse("Rule exception: Expression configured for issuer '" + c.Issuer +
			"' either lacks all required claims or contains unallowed claims.")
	}
	return nil
}
