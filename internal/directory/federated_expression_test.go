package directory

import (
	"errors"
	"testing"

	"github.com/lanyard-id/lanyard/internal/store"
)

func flexible(issuer, expression string) func(*FederatedCredential) {
	return func(c *FederatedCredential) {
		c.Issuer, c.Subject = issuer, ""
		c.ClaimsMatchingExpression = &ClaimsMatchingExpression{Value: expression, LanguageVersion: 1}
	}
}

// putFlexible gives owner a credential with an expression, or tries to.
func (f *fixture) putFlexible(owner, issuer, expression string) error {
	return f.update(func(tx *store.Tx) error {
		_, err := f.PutFederatedCredential(tx, credential(contoso, owner, "flexible", flexible(issuer, expression)))
		return err
	})
}

func TestFlexibleCredentialRules(t *testing.T) {
	t.Parallel()
	const (
		github   = "https://token.actions.githubusercontent.com"
		cluster  = "https://oidc.example/cluster"
		invalid  = "The FederatedIdentityCredential.ClaimsMatchingExpression.Value is invalid. "
		graph    = "InvalidFederatedIdentityCredentialValue"
		resource = "BadRequest"
	)
	rule := func(issuer string) string {
		return invalid + "Rule exception: Expression configured for issuer '" + issuer + "' either lacks all required claims or contains unallowed claims."
	}
	blocked := func(issuer string) string {
		return invalid + "Rule exception: Issuer '" + issuer + "' may not use credentials matching via expression."
	}
	relaxed, strict := newFixture(t), newFixture(t, WithStrict())
	for _, tt := range []struct {
		issuer, expression string
		// What happens by default and in strict mode; empty is success.
		relaxed, strict string
	}{
		{github, "claims['sub'] matches 'repo:a/*' and claims['repository_id'] eq '1'", "", ""},
		{github, "claims['sub'] eq 'repo:a/b' and claims['repository_owner_id'] eq '1'", "", ""},
		{github, "claims['sub'] matches 'repo:a/*' and claims['repository_id'] eq '1' and claims['job_workflow_ref'] matches 'a/*'", "", ""},
		{github, "claims['sub'] matches 'repo:a/*'", rule(github), rule(github)},
		{github, "claims['repository_id'] eq '1'", rule(github), rule(github)},
		{github, "claims['sub'] matches 'repo:a/*' and claims['repository_id'] matches '1*'", "", rule(github)},
		{github, "claims['sub'] matches 'repo:a/*' and claims['repository_id'] eq '1' and claims['actor'] eq 'me'", "", rule(github)},
		{"https://gitlab.com", "claims['sub'] matches 'project_path:a/*'", "", ""},
		{"https://gitlab.contoso.com", "claims['sub'] matches 'project_path:a/*'", "", ""},
		{"https://gitlab.contoso.co.uk.ca", "claims['sub'] eq 'project_path:a'", "", ""},
		{"https://gitlab.com", "claims['project_id'] eq '1'", "", rule("https://gitlab.com")},
		{"https://app.terraform.io", "claims['sub'] matches 'organization:a:*'", "", ""},
		{"https://app.eu.terraform.io", "claims['sub'] matches 'organization:a:*'", "", ""},
		{cluster, "claims['sub'] matches 'system:serviceaccount:shop:*'", "", blocked(cluster)},
		{github + "/", "claims['sub'] matches 'repo:a/*'", "", blocked(github + "/")},
		{"https://gitlab..com", "claims['sub'] eq 'a'", "", blocked("https://gitlab..com")},
		{"https://gitlab.com/a.com", "claims['sub'] eq 'a'", "", blocked("https://gitlab.com/a.com")},
		{"https://gitlab.evil.example/.com", "claims['sub'] eq 'a'", "", blocked("https://gitlab.evil.example/.com")},
		{"https://gitlab.a@b.com", "claims['sub'] eq 'a'", "", blocked("https://gitlab.a@b.com")},
		{"http://gitlab.com", "claims['sub'] eq 'a'", "", blocked("http://gitlab.com")},
		{cluster, "sub eq 'a'", invalid + "The expression is not accepted: expected claims['name'] (at character 1).",
			invalid + "The expression is not accepted: expected claims['name'] (at character 1)."},
		{cluster, "claims['sub'] matches '*'", invalid + "The expression is not accepted: it matches every token of the issuer (at character 1).",
			invalid + "The expression is not accepted: it matches every token of the issuer (at character 1)."},
	} {
		t.Run(tt.expression+" of "+tt.issuer, func(t *testing.T) {
			check := func(err error, code, message string) {
				t.Helper()
				if message != "" {
					wantError(t, err, 400, code, message)
				} else if err != nil {
					t.Error(err)
				}
			}
			app, _ := relaxed.application(contoso, "app")
			check(relaxed.putFlexible(app.ObjectID, tt.issuer, tt.expression), graph, tt.relaxed)
			check(relaxed.putFlexible(relaxed.identity(contoso, "id1").ObjectID, tt.issuer, tt.expression), resource, tt.relaxed)
			app, _ = strict.application(contoso, "app")
			check(strict.putFlexible(app.ObjectID, tt.issuer, tt.expression), graph, tt.strict)
		})
	}
	wantError(t, strict.putFlexible(strict.identity(contoso, "id1").ObjectID, "https://gitlab.com", "claims['sub'] eq 'a'"), 400, resource,
		"A claimsMatchingExpression is supported for federated identity credentials of applications only.")
}

func TestAllowedOnAzure(t *testing.T) {
	t.Parallel()
	e, err := ParseExpression("claims['sub'] eq 'a' and claims['actor'] eq 'b'")
	if err != nil {
		t.Fatal(err)
	}
	for issuer, want := range map[string]error{
		"https://token.actions.githubusercontent.com": ErrExpressionClaims,
		"https://app.terraform.io":                    ErrExpressionClaims,
		"https://app.terraform.io/":                   ErrExpressionIssuer,
		"":                                            ErrExpressionIssuer,
	} {
		if err := e.AllowedOnAzure(issuer); !errors.Is(err, want) {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}
