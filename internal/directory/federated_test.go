package directory

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

// credential is a valid credential; its subject follows from its name.
func credential(tenantID, owner, name string, change ...func(*FederatedCredential)) FederatedCredential {
	c := FederatedCredential{
		TenantID:  tenantID,
		Owner:     owner,
		Name:      name,
		Issuer:    "https://oidc.example/cluster",
		Subject:   "system:serviceaccount:default:" + name,
		Audiences: []string{"api://AzureADTokenExchange"},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func (f *fixture) put(c FederatedCredential) (created bool, err error) {
	err = f.update(func(tx *store.Tx) (err error) {
		created, err = f.PutFederatedCredential(tx, c)
		return err
	})
	return created, err
}

// azwi names an application's credentials by padded base64url, which may begin
// with a dash. An identity's cannot be named so.
func TestFederatedCredentialNamesOfAzwi(t *testing.T) {
	f := newFixture(t)
	app, _ := f.application(contoso, "app")
	mi := f.identity(contoso, "id1")
	for i, name := range []string{"kAkRmL29CTzypIl9d1ErzKpybLdsNnwev0Q1hQ6qqkA=", "-AkRmL29CTzypIl9d1ErzKpybLdsNnwev0Q1hQ6qqkA=", "_bc"} {
		c := credential(contoso, app.ObjectID, name)
		c.Subject += strings.Repeat("x", i)
		if _, err := f.put(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.Owner = mi.ObjectID
		if _, err := f.put(c); err == nil || err.Error() != errCredentialName(name).Error() {
			t.Errorf("%s of an identity: %v", name, err)
		}
	}
	for _, name := range []string{"a.b", "a/b", "a b", "ab", strings.Repeat("a", 121)} {
		if _, err := f.put(credential(contoso, app.ObjectID, name)); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestFederatedCredentialRules(t *testing.T) {
	f := newFixture(t)
	mi := f.identity(contoso, "id1")
	if _, err := f.put(credential(contoso, mi.ObjectID, "first")); err != nil {
		t.Fatal(err)
	}
	long := func(n int) string { return strings.Repeat("ä", n) }
	const empty = "Federated Identity Credential from HTTP body has empty properties"
	const one = "Federated identity credentials must have exactly one audience."
	for _, tt := range []struct {
		name    string
		change  func(*FederatedCredential)
		status  int
		code    string
		message string
	}{
		{"no name", func(c *FederatedCredential) { c.Name = "" }, 400, "BadRequest", "Federated Identity Credential name '' is invalid."},
		{"a short name", func(c *FederatedCredential) { c.Name = "ab" }, 400, "BadRequest", "Federated Identity Credential name 'ab' is invalid."},
		{"a long name", func(c *FederatedCredential) { c.Name = strings.Repeat("a", 121) }, 400, "BadRequest",
			"Federated Identity Credential name '" + strings.Repeat("a", 121) + "' is invalid."},
		{"a name with a dash first", func(c *FederatedCredential) { c.Name = "-abc" }, 400, "BadRequest",
			"Federated Identity Credential name '-abc' is invalid."},
		{"a name with a dot", func(c *FederatedCredential) { c.Name = "a.bc" }, 400, "BadRequest",
			"Federated Identity Credential name 'a.bc' is invalid."},
		{"a name with a line end", func(c *FederatedCredential) { c.Name = "abc\n" }, 400, "BadRequest",
			"Federated Identity Credential name 'abc\n' is invalid."},
		{"a name with a lookalike", func(c *FederatedCredential) { c.Name = "\u212aey" }, 400, "BadRequest",
			"Federated Identity Credential name '\u212aey' is invalid."},
		{"no issuer", func(c *FederatedCredential) { c.Issuer = "" }, 400, "BadRequest", empty},
		{"no subject", func(c *FederatedCredential) { c.Subject = "" }, 400, "BadRequest", empty},
		{"no audience", func(c *FederatedCredential) { c.Audiences = nil }, 400, "BadRequest", one},
		{"two audiences", func(c *FederatedCredential) { c.Audiences = []string{"a", "b"} }, 400, "BadRequest", one},
		{"an empty audience", func(c *FederatedCredential) { c.Audiences = []string{""} }, 400, "BadRequest", empty},
		{"a long issuer", func(c *FederatedCredential) { c.Issuer = long(601) }, 400, "BadRequest",
			"The issuer of a Federated Identity Credential has at most 600 characters, but this one has 601."},
		{"a long subject", func(c *FederatedCredential) { c.Subject = long(601) }, 400, "BadRequest",
			"The subject of a Federated Identity Credential has at most 600 characters, but this one has 601."},
		{"a long audience", func(c *FederatedCredential) { c.Audiences[0] = long(601) }, 400, "BadRequest",
			"The audience of a Federated Identity Credential has at most 600 characters, but this one has 601."},
		{"a long description", func(c *FederatedCredential) { c.Description = long(601) }, 400, "BadRequest",
			"The description of a Federated Identity Credential has at most 600 characters, but this one has 601."},
		{"another's issuer and subject", func(c *FederatedCredential) { c.Subject = "system:serviceaccount:default:first" }, 409, "Conflict",
			"Issuer and subject combination already exists for this Managed Identity."},
		{"another's issuer and subject, with another audience", func(c *FederatedCredential) {
			c.Subject = "system:serviceaccount:default:first"
			c.Audiences = []string{"other"}
		}, 409, "Conflict", "Issuer and subject combination already exists for this Managed Identity."},
		{"no owner", func(c *FederatedCredential) { c.Owner = "" }, 404, "NotFound", "The parent user-assigned identity doesn't exist."},
		{"the client ID as the owner", func(c *FederatedCredential) { c.Owner = mi.AppID }, 404, "NotFound", "The parent user-assigned identity doesn't exist."},
		{"another tenant", func(c *FederatedCredential) { c.TenantID = fabrikam }, 404, "NotFound", "The parent user-assigned identity doesn't exist."},
		{"subject and expression", func(c *FederatedCredential) {
			c.ClaimsMatchingExpression = &ClaimsMatchingExpression{Value: "claims['sub'] eq 'x'", LanguageVersion: 1}
		}, 400, "BadRequest", "A Federated Identity Credential has either a subject or a claimsMatchingExpression, not both."},
		{"an unknown language", func(c *FederatedCredential) {
			c.Subject = ""
			c.ClaimsMatchingExpression = &ClaimsMatchingExpression{Value: "claims['sub'] eq 'x'", LanguageVersion: 2}
		}, 400, "BadRequest", "The languageVersion of a claimsMatchingExpression must be 1."},
		{"an empty expression", func(c *FederatedCredential) {
			c.Subject = ""
			c.ClaimsMatchingExpression = &ClaimsMatchingExpression{LanguageVersion: 1}
		}, 400, "BadRequest", empty},
		{"a long expression", func(c *FederatedCredential) {
			c.Subject = ""
			c.ClaimsMatchingExpression = &ClaimsMatchingExpression{Value: long(601), LanguageVersion: 1}
		}, 400, "BadRequest", "The claimsMatchingExpression of a Federated Identity Credential has at most 600 characters, but this one has 601."},

		{"the longest", func(c *FederatedCredential) {
			c.Name = strings.Repeat("a", 120)
			c.Issuer, c.Subject, c.Audiences, c.Description = long(600), long(600), []string{long(600)}, long(600)
		}, 0, "", ""},
		{"the shortest", func(c *FederatedCredential) {
			c.Name, c.Issuer, c.Subject, c.Audiences = "0-_", "i", "s", []string{"a"}
		}, 0, "", ""},
		{"a subject in another case", func(c *FederatedCredential) { c.Name, c.Subject = "case", "system:serviceaccount:default:FIRST" }, 0, "", ""},
		{"an issuer with a slash", func(c *FederatedCredential) {
			c.Name, c.Subject, c.Issuer = "slash", "system:serviceaccount:default:first", "https://oidc.example/cluster/"
		}, 0, "", ""},
		{"an issuer that is no URL", func(c *FederatedCredential) { c.Name, c.Issuer = "nourl", " not a URL " }, 0, "", ""},
		{"an expression", func(c *FederatedCredential) {
			c.Name, c.Subject = "flexible", ""
			c.ClaimsMatchingExpression = &ClaimsMatchingExpression{Value: "claims['sub'] matches 'repo:contoso/*'", LanguageVersion: 1}
		}, 0, "", ""},
		{"another expression", func(c *FederatedCredential) {
			c.Name, c.Subject = "flexible2", ""
			c.ClaimsMatchingExpression = &ClaimsMatchingExpression{Value: "claims['sub'] matches 'repo:fabrikam/*'", LanguageVersion: 1}
		}, 0, "", ""},
		{"the same expression", func(c *FederatedCredential) {
			c.Name, c.Subject = "flexible3", ""
			c.ClaimsMatchingExpression = &ClaimsMatchingExpression{Value: "claims['sub'] matches 'repo:contoso/*'", LanguageVersion: 1}
		}, 409, "Conflict", "Issuer and subject combination already exists for this Managed Identity."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, _ := f.Client(contoso, mi.AppID)
			created, err := f.put(credential(contoso, mi.ObjectID, "second", tt.change))
			after, _ := f.Client(contoso, mi.AppID)
			if tt.status == 0 {
				if err != nil || !created || len(after.FederatedCredentials) != len(before.FederatedCredentials)+1 {
					t.Errorf("created %v, %v", created, err)
				}
				return
			}
			wantError(t, err, tt.status, tt.code, tt.message)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the refused write changed the client:\n%s", diff)
			}
		})
	}
}

func TestFederatedCredentialOwners(t *testing.T) {
	f := newFixture(t)
	app, sp := f.application(contoso, "app")
	user, group := f.user(contoso, "ada@contoso.example", "Ada"), f.group(contoso, "g")
	var sys Principal
	f.must(func(tx *store.Tx) (err error) {
		sys, err = f.CreateManagedIdentity(tx, contoso, identityID("vm"), true)
		return err
	})
	for what, owner := range map[string]string{
		"service principal of an application": sp.ObjectID, "user": user.ObjectID, "group": group.ObjectID,
		"system-assigned identity": sys.ObjectID, "tenant": contoso,
	} {
		t.Run(what, func(t *testing.T) {
			_, err := f.put(credential(contoso, owner, "fc1"))
			wantError(t, err, 404, "NotFound", "The parent user-assigned identity doesn't exist.")
		})
	}
	if created, err := f.put(credential(contoso, app.ObjectID, "fc1")); err != nil || !created {
		t.Errorf("an application: %v, %v", created, err)
	}
	if c, _ := f.Client(contoso, app.AppID); len(c.FederatedCredentials) != 1 {
		t.Errorf("the application's client is %+v", c)
	}
}

// TestFederatedCredentialSince: only what changes whom a credential accepts makes
// it a new one.
func TestFederatedCredentialSince(t *testing.T) {
	f := newFixture(t)
	app, _ := f.application(contoso, "app")
	for i, step := range []struct {
		name  string
		fresh bool
		edit  func(*FederatedCredential)
	}{
		{"made", true, func(*FederatedCredential) {}},
		{"written again", false, func(*FederatedCredential) {}},
		{"a claim to an earlier change", false, func(c *FederatedCredential) { c.Changed = standin.Start }},
		{"another description", false, func(c *FederatedCredential) { c.Description = "another" }},
		{"another audience", true, func(c *FederatedCredential) { c.Audiences = []string{"other"} }},
		{"another subject", true, func(c *FederatedCredential) { c.Subject = "other" }},
		{"another issuer", true, func(c *FederatedCredential) { c.Issuer = "https://other.example" }},
		{"an expression", true, func(c *FederatedCredential) {
			c.Subject, c.ClaimsMatchingExpression = "", &ClaimsMatchingExpression{Value: "claims['sub'] eq 'a'", LanguageVersion: 1}
		}},
		{"the same expression", false, func(c *FederatedCredential) {
			c.Subject, c.ClaimsMatchingExpression = "", &ClaimsMatchingExpression{Value: "claims['sub'] eq 'a'", LanguageVersion: 1}
		}},
		{"another expression", true, func(c *FederatedCredential) {
			c.Subject, c.ClaimsMatchingExpression = "", &ClaimsMatchingExpression{Value: "claims['sub'] eq 'b'", LanguageVersion: 1}
		}},
	} {
		f.clock.Advance(time.Hour)
		before := time.Time{}
		wanted := credential(contoso, app.ObjectID, "one")
		if i > 0 {
			list := f.FederatedCredentialsOf(contoso, app.ObjectID)
			before, wanted = list[0].Since(), list[0]
		}
		step.edit(&wanted)
		if _, err := f.put(wanted); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		since := f.FederatedCredentialsOf(contoso, app.ObjectID)[0].Since()
		if fresh := !since.Equal(before); fresh != step.fresh || fresh && !since.Equal(f.clock.Now()) {
			t.Errorf("%s: since %s, before it was %s", step.name, since, before)
		}
	}
}

func TestFederatedCredentialReplaceAndDelete(t *testing.T) {
	f := newFixture(t)
	mi, other := f.identity(contoso, "id1"), f.identity(contoso, "id2")
	for _, c := range []FederatedCredential{
		credential(strings.ToUpper(contoso), strings.ToUpper(mi.ObjectID), "Bee"),
		credential(contoso, mi.ObjectID, "ant"),
		credential(contoso, other.ObjectID, "ant"), // issuer and subject are unique for one owner only
	} {
		if created, err := f.put(c); err != nil || !created {
			t.Fatalf("%s: %v, %v", c.Name, created, err)
		}
	}
	f.clock.Advance(time.Hour)
	// The name in another case is the same credential; it may keep its issuer
	// and subject, but not take another's.
	if created, err := f.put(credential(contoso, mi.ObjectID, "BEE", func(c *FederatedCredential) {
		c.Subject = "system:serviceaccount:default:Bee"
		c.Audiences = []string{"other"}
	})); err != nil || created {
		t.Fatalf("replacing: %v, %v", created, err)
	}
	_, err := f.put(credential(contoso, mi.ObjectID, "bee", func(c *FederatedCredential) { c.Subject = "system:serviceaccount:default:ant" }))
	wantError(t, err, 409, "Conflict", "Issuer and subject combination already exists for this Managed Identity.")

	want := []FederatedCredential{
		credential(contoso, mi.ObjectID, "ant", func(c *FederatedCredential) { c.Created = standin.Start }),
		credential(contoso, mi.ObjectID, "Bee", func(c *FederatedCredential) {
			c.Created, c.Changed = standin.Start, standin.Start.Add(time.Hour)
			c.Audiences = []string{"other"}
		}),
	}
	c, _ := f.Client(contoso, mi.AppID)
	if diff := cmp.Diff(want, c.FederatedCredentials); diff != "" {
		t.Errorf("the client's credentials (-want +got):\n%s", diff)
	}
	list := func(owner string) (list []FederatedCredential) {
		f.must(func(tx *store.Tx) (err error) {
			list, err = f.FederatedCredentials(tx, strings.ToUpper(contoso), strings.ToUpper(owner))
			return err
		})
		return list
	}
	if diff := cmp.Diff(want, list(mi.ObjectID)); diff != "" {
		t.Errorf("the listed credentials (-want +got):\n%s", diff)
	}
	remove := func(tenantID, owner, name string) (existed bool) {
		f.must(func(tx *store.Tx) (err error) {
			existed, err = f.DeleteFederatedCredential(tx, tenantID, owner, name)
			return err
		})
		return existed
	}
	for _, tt := range []struct {
		tenantID, owner, name string
		want                  bool
	}{
		{contoso, mi.ObjectID, "cat", false},
		{fabrikam, mi.ObjectID, "ant", false},
		{contoso, contoso, "ant", false},
		{contoso, mi.ObjectID, "ANT", true},
		{contoso, mi.ObjectID, "ant", false},
		{contoso, mi.ObjectID, "bee", true},
	} {
		if got := remove(tt.tenantID, tt.owner, tt.name); got != tt.want {
			t.Errorf("deleting %s of %s: %v", tt.name, tt.owner, got)
		}
	}
	if c, ok := f.Client(contoso, mi.AppID); !ok || len(c.FederatedCredentials) != 0 {
		t.Errorf("right after Update the client is %+v", c)
	}
	if got := list(mi.ObjectID); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
	if got := list(other.ObjectID); len(got) != 1 {
		t.Errorf("the other identity has %v", got)
	}
}

func TestFederatedCredentialLimit(t *testing.T) {
	for name, limit := range map[string]int{"default": 20, "raised": 25} {
		t.Run(name, func(t *testing.T) {
			var opts []Option
			if limit != 20 {
				opts = append(opts, WithFederatedCredentialLimit(limit))
			}
			f := newFixture(t, opts...)
			mi := f.identity(contoso, "Id1")
			for i := range limit {
				if _, err := f.put(credential(contoso, mi.ObjectID, fmt.Sprintf("fc%02d", i))); err != nil {
					t.Fatal(err)
				}
			}
			_, err := f.put(credential(contoso, mi.ObjectID, "more"))
			wantError(t, err, 400, "BadRequest", fmt.Sprintf("The identity '%s' has %d federated identity credentials, which is the maximum number that is allowed.",
				azure.Fold(mi.ResourceID), limit))
			// A full identity's credentials can still be changed.
			if created, err := f.put(credential(contoso, mi.ObjectID, "fc00", func(c *FederatedCredential) { c.Subject = "new" })); created || err != nil {
				t.Errorf("replacing in a full identity: %v, %v", created, err)
			}
			f.must(func(tx *store.Tx) error {
				_, err := f.DeleteFederatedCredential(tx, contoso, mi.ObjectID, "fc00")
				return err
			})
			if _, err := f.put(credential(contoso, mi.ObjectID, "more")); err != nil {
				t.Error(err)
			}
		})
	}
}

// A configured limit may be so high that the record would outgrow the store.
func TestFederatedCredentialRecordTooLarge(t *testing.T) {
	f := newFixture(t, WithFederatedCredentialLimit(100_000))
	mi := f.identity(contoso, "id1")
	long := strings.Repeat("<", 600) // six bytes each in JSON
	err := f.update(func(tx *store.Tx) error {
		for i := range 200 {
			if _, err := f.PutFederatedCredential(tx, credential(contoso, mi.ObjectID, fmt.Sprintf("fc%d", i), func(c *FederatedCredential) {
				c.Description, c.Audiences = long, []string{long}
			})); err != nil {
				return err
			}
		}
		return nil
	})
	wantError(t, err, 400, "BadRequest", "The federated identity credentials of the identity '"+azure.Fold(mi.ResourceID)+"' are too large together.")
}

func wantConcurrent(t *testing.T, err error, mi Principal) {
	t.Helper()
	wantError(t, err, 409, "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity",
		"Too many Federated Identity Credentials are written concurrently for the managed identity '"+azure.Fold(mi.ResourceID)+"'. "+
			"Concurrent Federated Identity Credentials writes under the same managed identity are not supported.")
}

// Each pair overlaps: the second is done between the first's reading and its
// commit.
func TestConcurrentCredentialWrites(t *testing.T) {
	f := newFixture(t)
	mi, other := f.identity(contoso, "id1"), f.identity(contoso, "id2")
	app, _ := f.application(contoso, "app")
	put := func(owner, name string) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			_, err := f.PutFederatedCredential(tx, credential(contoso, owner, name))
			return err
		}
	}
	remove := func(owner, name string) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			_, err := f.DeleteFederatedCredential(tx, contoso, owner, name)
			return err
		}
	}
	for _, tt := range []struct {
		name          string
		first, second func(tx *store.Tx) error
		conflict      bool
	}{
		{"two first ones", put(mi.ObjectID, "one"), put(mi.ObjectID, "two"), true},
		{"two creations", put(mi.ObjectID, "three"), put(mi.ObjectID, "four"), true},
		{"creation and deletion", put(mi.ObjectID, "five"), remove(mi.ObjectID, "two"), true},
		{"deletion and creation", remove(mi.ObjectID, "four"), put(mi.ObjectID, "six"), true},
		{"two identities", put(mi.ObjectID, "seven"), put(other.ObjectID, "eight"), false},
		{"an application's", put(app.ObjectID, "nine"), put(app.ObjectID, "ten"), false},
		{"something else of the identity's tenant", put(mi.ObjectID, "eleven"), func(tx *store.Tx) error {
			_, err := f.CreateGroup(tx, contoso, "g")
			return err
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var once sync.Once
			err := f.update(func(tx *store.Tx) error {
				if err := tt.first(tx); err != nil {
					return err
				}
				once.Do(func() { f.must(tt.second) })
				return nil
			})
			switch {
			case tt.conflict:
				wantConcurrent(t, err, mi)
			case err != nil:
				t.Error(err)
			}
		})
	}
	c, _ := f.Client(contoso, mi.AppID)
	var names []string
	for _, fc := range c.FederatedCredentials {
		names = append(names, fc.Name)
	}
	if diff := cmp.Diff([]string{"eleven", "four", "seven", "six"}, names); diff != "" {
		t.Errorf("the identity has (-want +got):\n%s", diff)
	}
	if c, _ := f.Client(contoso, app.AppID); len(c.FederatedCredentials) != 2 {
		t.Errorf("the application has %v", c.FederatedCredentials)
	}
}

// Many writers that repeat what was refused as concurrent never break a rule.
func TestCredentialRulesUnderConcurrency(t *testing.T) {
	f := newFixture(t)
	mi := f.identity(contoso, "id1")
	const writers = 6
	var wg sync.WaitGroup
	created := make([]int, writers)
	for w := range writers {
		wg.Go(func() {
			for i := range 6 {
				// Writers 0 and 1, 2 and 3, 4 and 5 want the same subjects.
				c := credential(contoso, mi.ObjectID, fmt.Sprintf("w%d-%d", w, i), func(c *FederatedCredential) {
					c.Subject = fmt.Sprintf("s%d-%d", w/2, i)
				})
				for {
					_, err := f.put(c)
					e, refused := errors.AsType[*azure.Error](err)
					if err == nil {
						created[w]++
					} else if !refused {
						t.Error(err)
					} else if strings.HasPrefix(e.Code, "Concurrent") {
						continue
					}
					break
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range created {
		total += n
	}
	c, _ := f.Client(contoso, mi.AppID)
	if total != 18 || len(c.FederatedCredentials) != 18 {
		t.Errorf("%d were created, %d are there, want 18", total, len(c.FederatedCredentials))
	}
	subjects := map[string]bool{}
	for _, fc := range c.FederatedCredentials {
		subjects[fc.Subject] = true
	}
	if len(subjects) != 18 {
		t.Errorf("%d subjects for %d credentials", len(subjects), len(c.FederatedCredentials))
	}
}

// A credential is never written for an owner that is deleted at the same time.
func TestCredentialOfVanishingOwner(t *testing.T) {
	f := newFixture(t)
	mi := f.identity(contoso, "id1")
	var once sync.Once
	err := f.update(func(tx *store.Tx) error {
		if _, err := f.PutFederatedCredential(tx, credential(contoso, mi.ObjectID, "fc1")); err != nil {
			return err
		}
		once.Do(func() {
			f.must(func(tx *store.Tx) error { return f.DeletePrincipal(tx, contoso, mi.ObjectID) })
		})
		return nil
	})
	wantError(t, err, 404, "NotFound", "The parent user-assigned identity doesn't exist.")
	for _, k := range f.keys() {
		if strings.HasPrefix(k, prefix+credentials) {
			t.Errorf("%s is left over", k)
		}
	}
}
