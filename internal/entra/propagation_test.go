package entra_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/store"
)

// asMI posts an assertion as the managed identity mi, and gives status and
// answer.
func (c *cloud) asMI(assertion string) (int, map[string]any) {
	c.TB.Helper()
	return c.post("/"+contoso+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.mi.AppID}, "scope": {management + "/.default"},
		"client_assertion":      {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
}

// TestCredentialPropagation: a federated credential is known when its time has
// come; until then an assertion that it would accept gets Entra's own answer.
func TestCredentialPropagation(t *testing.T) {
	const delay = 2 * time.Minute
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %v", strict), func(t *testing.T) {
			c := newCloud(t, options{propagation: delay, strict: strict})
			want := func(when string, number int, changes map[string]any) {
				t.Helper()
				if got, _ := c.federated(c.issuer.token(c.Clock.Now(), changes)); got != number {
					t.Errorf("%s: AADSTS%d, want %d", when, got, number)
				}
			}
			status, answer := c.asMI(c.issuer.token(c.Clock.Now(), nil))
			words := "AADSTS70021: No matching federated identity record found for presented assertion. Assertion Issuer: '" + c.issuer.URL +
				"'. Assertion Subject: '" + subject + "'. Assertion Audience: 'api://AzureADTokenExchange'. https://"
			description := answer["error_description"].(string)
			if status != http.StatusBadRequest || answer["error"] != "invalid_request" || !strings.HasPrefix(description, words) {
				t.Errorf("answered %d %v", status, answer)
			}
			if helpful := strings.Contains(description, "'shop-orders' matches and is new: credentials take 2m0s here"); helpful == strict {
				t.Errorf("with strict %v it says: %s", strict, description)
			}
			// What no credential accepts has the answer that it always has.
			want("another subject", 700213, map[string]any{"sub": subject + "x"})
			want("another issuer", 700211, map[string]any{"iss": "https://other.example"})
			c.Clock.Advance(delay - time.Second)
			want("just before its time", 70021, nil)
			c.Clock.Advance(time.Second)
			want("at its time", 0, nil)

			// A changed one is a new one. What it accepted before, it no longer does.
			c.credential(c.mi.ObjectID, "shop-orders", c.issuer.URL, subject+"x")
			want("after the change", 70021, map[string]any{"sub": subject + "x"})
			want("what it was before", 700213, nil)
			c.Clock.Advance(delay)
			want("the change's time", 0, map[string]any{"sub": subject + "x"})
			// One that is written again is not, and others go on meanwhile.
			c.credential(c.mi.ObjectID, "shop-orders", c.issuer.URL, subject+"x")
			c.credential(c.mi.ObjectID, "second", c.issuer.URL, subject)
			want("the one that was written again", 0, map[string]any{"sub": subject + "x"})
			want("the new one", 70021, nil)
			// A removed one ends at once.
			c.Update(func(tx *store.Tx) error {
				_, err := c.Directory.DeleteFederatedCredential(tx, contoso, c.mi.ObjectID, "shop-orders")
				return err
			})
			want("the removed one", 700213, map[string]any{"sub": subject + "x"})
			if !strings.Contains(c.AuditText(), "second is known from 2026-03-01T14:") {
				t.Error("the record does not say which credential it would be, and when")
			}
		})
	}
}

// TestCredentialPropagationOfOtherKinds: a managed identity's token as an
// assertion, and an expression.
func TestCredentialPropagationOfOtherKinds(t *testing.T) {
	const delay = 2 * time.Minute
	c := newCloud(t, options{propagation: delay})
	c.Clock.Advance(delay)
	fresh, _ := c.Application(contoso, "fresh")
	c.credential(fresh.ObjectID, "trusts-identity", c.Azure.IssuerV2(contoso), c.mi.ObjectID)
	identity := c.assertion(t, "identity")
	c.expression(fresh.ObjectID, "jobs", "claims['sub'] matches 'job-*' and claims['repository_id'] eq '1'")
	job := c.issuer.token(c.Clock.Now(), map[string]any{"sub": "job-7", "repository_id": "1"})
	as := func(assertion string) int {
		number, _ := c.as(fresh.AppID, url.Values{
			"client_assertion":      {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		})
		return number
	}
	for name, assertion := range map[string]string{"an identity's token": identity, "an expression": job} {
		if number := as(assertion); number != 70021 {
			t.Errorf("%s, before its time: AADSTS%d, want 70021", name, number)
		}
	}
	c.Clock.Advance(delay)
	for name, assertion := range map[string]string{"an identity's token": identity, "an expression": job} {
		if number := as(assertion); number != 0 {
			t.Errorf("%s, at its time: AADSTS%d", name, number)
		}
	}
}

// TestGroupClaims: with them a managed identity's token names its groups, an
// application's does not.
func TestGroupClaims(t *testing.T) {
	for _, on := range []bool{false, true} {
		c := newCloud(t, options{groupClaims: on})
		var groups []string
		add := func(name, member string) {
			groups = append(groups, c.Group(contoso, name, member).ObjectID)
		}
		add("inner", c.mi.ObjectID)
		add("outer", groups[0])
		add("of the application", c.appPrincipal.ObjectID)
		named := func(number int, raw string) []string {
			t.Helper()
			if number != 0 {
				t.Fatalf("AADSTS%d", number)
			}
			var list []string
			for _, g := range asList(claimsOf(t, raw)["groups"]) {
				list = append(list, g.(string))
			}
			return list
		}
		got := named(c.federated(c.assertion(t, "valid")))
		if on != (len(got) == 2 && slices.Contains(got, groups[0]) && slices.Contains(got, groups[1])) || !on && got != nil {
			t.Errorf("with %v the identity's token names %v", on, got)
		}
		if got := named(c.bySecret(c.appSecret)); got != nil {
			t.Errorf("with %v the application's token names %v", on, got)
		}
	}
}

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}
