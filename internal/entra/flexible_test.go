package entra_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// repository is the number of the repository that deploy trusts.
const repository = "456789"

// expression gives an owner a flexible federated credential for the test's
// issuer.
func (c *cloud) expression(owner, name, value string, audience ...string) {
	c.TB.Helper()
	if audience == nil {
		audience = []string{exchangeAudience}
	}
	c.Update(func(tx *store.Tx) error {
		_, err := c.Directory.PutFederatedCredential(tx, directory.FederatedCredential{
			TenantID: contoso, Owner: owner, Name: name, Issuer: c.issuer.URL, Audiences: audience,
			ClaimsMatchingExpression: &directory.ClaimsMatchingExpression{Value: value, LanguageVersion: 1},
		})
		return err
	})
}

// populateFlexible makes the application deploy and the identity patterns, which
// trust workloads by expressions.
func (c *cloud) populateFlexible() {
	c.TB.Helper()
	c.deploy, c.deployPrincipal = c.Application(contoso, "shop-deploy")
	const of = " and claims['repository_id'] eq '" + repository + "'"
	c.credential(c.deploy.ObjectID, "main", c.issuer.URL, "repo:contoso/shop:ref:refs/heads/main")
	c.expression(c.deploy.ObjectID, "branches", "claims['sub'] matches 'repo:contoso/shop:ref:refs/heads/*'"+of)
	c.expression(c.deploy.ObjectID, "tags", "claims['sub'] matches 'repo:contoso/shop:ref:refs/tags/v*'"+of)
	c.expression(c.deploy.ObjectID, "releases", "claims['sub'] matches 'repo:contoso/*:ref:refs/tags/v1.?'"+of)
	c.expression(c.deploy.ObjectID, "elsewhere", "claims['sub'] matches 'repo:contoso/shop:environment:*'", "api://elsewhere")
	c.patterns = c.identity(contoso, "id-patterns")
	c.expression(c.patterns.ObjectID, "namespace", "claims['sub'] matches 'system:serviceaccount:shop:*'")
}

// job gives the token of a workflow's job at a reference of the repository.
func (c *cloud) job(reference string, changes map[string]any) string {
	claims := map[string]any{"sub": "repo:contoso/shop:" + reference, "repository_id": repository}
	for name, value := range changes {
		claims[name] = value
	}
	return c.issuer.token(c.Clock.Now(), claims)
}

// flexibleAssertion makes the assertions for deploy that golden files call by
// name.
func (c *cloud) flexibleAssertion(tb testing.TB, name string) string {
	tb.Helper()
	switch name {
	case "branch":
		return c.job("ref:refs/heads/feature/basket", nil)
	case "pull":
		return c.job("pull_request", nil)
	case "release":
		return c.job("ref:refs/tags/v1.0", nil)
	case "number":
		return c.job("ref:refs/heads/feature/basket", map[string]any{"repository_id": 456789})
	}
	tb.Fatalf("no assertion of a job is called %q", name)
	return ""
}

// asDeploy posts an assertion as the application deploy.
func (c *cloud) asDeploy(assertion string) (int, string) {
	c.TB.Helper()
	return c.as(c.deploy.AppID, url.Values{
		"client_assertion":      {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
}

func TestFlexibleCredentials(t *testing.T) {
	c := newCloud(t, options{})
	for name, test := range map[string]struct {
		assertion string
		want      int
	}{
		"a branch":                      {c.job("ref:refs/heads/main2", nil), 0},
		"a branch with slashes":         {c.job("ref:refs/heads/a/b/c", nil), 0},
		"a tag":                         {c.job("ref:refs/tags/v2.0", nil), 0},
		"the subject of a credential":   {c.job("ref:refs/heads/main", nil), 0},
		"that, without the other claim": {c.job("ref:refs/heads/main", map[string]any{"repository_id": nil}), 0},
		"two expressions":               {c.job("ref:refs/tags/v1.0", nil), 700263},
		"no expression":                 {c.job("pull_request", nil), 7002131},
		"another case":                  {c.job("ref:refs/Heads/x", nil), 7002131},
		"a subject in another case":     {c.job("ref:refs/heads/Main", map[string]any{"repository_id": nil}), 7002138},
		"another repository":            {c.job("ref:refs/heads/x", map[string]any{"repository_id": "456790"}), 7002131},
		"no repository":                 {c.job("ref:refs/heads/x", map[string]any{"repository_id": nil}), 7002131},
		"a repository that is a number": {c.job("ref:refs/heads/x", map[string]any{"repository_id": 456789}), 700234},
		"a list of repositories":        {c.job("ref:refs/heads/x", map[string]any{"repository_id": []string{repository}}), 700234},
		"a nested repository":           {c.job("ref:refs/heads/x", map[string]any{"repository_id": map[string]any{"eq": repository}}), 700234},
		"a quote in a claim":            {c.job("ref:refs/heads/x", map[string]any{"repository_id": "1' and claims['repository_id'] eq '" + repository}), 7002131},
		"wildcards in a claim":          {c.issuer.token(c.Clock.Now(), map[string]any{"sub": "*", "repository_id": "*"}), 7002131},
		"a long claim":                  {c.job("ref:refs/heads/"+strings.Repeat("x", 600), nil), 7002131},
		"another audience":              {c.job("ref:refs/heads/x", map[string]any{"aud": "https://kubernetes.default.svc"}), 700212},
		"a subject, another audience":   {c.job("ref:refs/heads/main", map[string]any{"repository_id": nil, "aud": "other"}), 700212},
		"two audiences":                 {c.job("ref:refs/heads/x", map[string]any{"aud": []string{exchangeAudience, "other"}}), 700212},
		"another credential's audience": {c.job("ref:refs/heads/x", map[string]any{"aud": "api://elsewhere"}), 700212},
		"an audience of its own":        {c.job("environment:prod", map[string]any{"aud": "api://elsewhere"}), 0},
		"the usual audience, where not": {c.job("environment:prod", nil), 700212},
		"another issuer":                {c.job("ref:refs/heads/x", map[string]any{"iss": "https://issuer.example"}), 700211},
		"this cloud as the issuer":      {c.job("ref:refs/heads/x", map[string]any{"iss": c.Azure.IssuerV2(contoso)}), 700211},
		"an issuer that is a client":    {c.job("ref:refs/heads/x", map[string]any{"iss": c.deploy.AppID}), 50048},
		"nobody's key":                  {signRS256(testKeys()[1], map[string]any{"alg": "RS256", "kid": c.issuer.keyID}, c.issuer.claims(c.Clock.Now(), map[string]any{"sub": "repo:contoso/shop:ref:refs/heads/x", "repository_id": repository})), 700027},
		"the claim altered after signing": {func() string {
			parts := strings.Split(c.job("ref:refs/heads/x", map[string]any{"repository_id": "1"}), ".")
			return parts[0] + "." + encodeJSON(c.issuer.claims(c.Clock.Now(), map[string]any{"sub": "repo:contoso/shop:ref:refs/heads/x", "repository_id": repository})) + "." + parts[2]
		}(), 700027},
	} {
		t.Run(name, func(t *testing.T) {
			number, raw := c.in(t).asDeploy(test.assertion)
			if number != test.want {
				t.Fatalf("AADSTS%d, want %d", number, test.want)
			}
			if number == 0 && claimsOf(t, raw)["appidacr"] != "2" {
				t.Errorf("claims %v", claimsOf(t, raw))
			}
		})
	}
}

// A managed identity takes expressions too, except in strict mode, where those
// of applications are for Azure's issuers alone. A credential from before the
// mode was strict is refused when it is used.
func TestFlexibleCredentialsInStrictMode(t *testing.T) {
	for _, strict := range []bool{false, true} {
		c := newCloud(t, options{strict: strict})
		identity, application := 0, 0
		if strict {
			identity, application = 700235, 7002241
		}
		number, _ := c.as(c.patterns.AppID, url.Values{
			"client_assertion":      {c.issuer.token(c.Clock.Now(), nil)},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		})
		if number != identity {
			t.Errorf("strict %v: the identity: AADSTS%d, want %d", strict, number, identity)
		}
		if number, _ := c.asDeploy(c.job("ref:refs/heads/x", nil)); number != application {
			t.Errorf("strict %v: the application: AADSTS%d, want %d", strict, number, application)
		}
		if number, _ := c.asDeploy(c.job("ref:refs/heads/main", nil)); number != 0 {
			t.Errorf("strict %v: a subject: AADSTS%d", strict, number)
		}
	}
}

// The issuer is asked for its keys only where an expression, too, trusts it with
// this very token.
func TestExpressionsGuardTheIssuer(t *testing.T) {
	c := newCloud(t, options{})
	for _, assertion := range []string{
		c.job("pull_request", nil),
		c.job("ref:refs/heads/x", map[string]any{"repository_id": "1"}),
		c.job("ref:refs/heads/x", map[string]any{"aud": "other"}),
		c.job("ref:refs/tags/v1.0", nil),
	} {
		if number, _ := c.asDeploy(assertion); number == 0 {
			t.Error("a token was issued")
		}
	}
	if n := c.issuer.fetches.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// No expression makes a token of this cloud an assertion: only a credential that
// names one identity does.
func TestNoExpressionTrustsThisCloud(t *testing.T) {
	c := newCloud(t, options{})
	c.Update(func(tx *store.Tx) error {
		_, err := c.Directory.PutFederatedCredential(tx, directory.FederatedCredential{
			TenantID: contoso, Owner: c.deploy.ObjectID, Name: "identities", Issuer: c.Azure.IssuerV2(contoso), Audiences: []string{exchangeAudience},
			ClaimsMatchingExpression: &directory.ClaimsMatchingExpression{Value: "claims['tid'] eq '" + contoso + "'", LanguageVersion: 1},
		})
		return err
	})
	if number, _ := c.asDeploy(c.assertion(t, "identity")); number != 700213 {
		t.Errorf("AADSTS%d, want 700213", number)
	}
}
