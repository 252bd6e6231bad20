package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	// maxCredentialText bounds issuer, subject, audience and description, in
	// characters.
	maxCredentialText = 600
	// maxCredentialBytes bounds an owner's record, below the store's limit, where
	// the number of credentials is configured far up.
	maxCredentialBytes = 1 << 20
)

// The forms of a credential's name: 3 to 120 characters. Graph takes what is
// friendly to URLs, such as the padded base64url that azwi names credentials by.
var (
	credentialName            = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}$`)
	applicationCredentialName = regexp.MustCompile(`^[a-zA-Z0-9_-][a-zA-Z0-9_=-]{2,119}$`)
)

// The errors of federated credentials, in the words of Azure's managed identity
// service.

func errCredential(format string, args ...any) *azure.Error {
	return azure.Errorf(http.StatusBadRequest, "BadRequest", format, args...)
}

func errCredentialName(name string) *azure.Error {
	return errCredential("Federated Identity Credential name '%s' is invalid.", name)
}

func errNoOwner() *azure.Error {
	return azure.Errorf(http.StatusNotFound, "NotFound", "The parent user-assigned identity doesn't exist.")
}

func errConcurrent(resourceID string) *azure.Error {
	return azure.Errorf(http.StatusConflict, "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity",
		"Too many Federated Identity Credentials are written concurrently for the managed identity '%s'. "+
			"Concurrent Federated Identity Credentials writes under the same managed identity are not supported.",
		azure.Fold(resourceID))
}

// PutFederatedCredential creates the owner's credential of that name, or
// replaces it, which keeps the name's first spelling and the creation time.
// created tells which. The rules are Azure's:
//
//   - the owner is a user-assigned identity or an application (404);
//   - the name has 3 to 120 letters, digits, "-" and "_", the first a letter or
//     digit; an application's may begin with any of them, and have "=" too;
//   - issuer, subject and exactly one audience are given, at most 600 characters
//     each, which bounds the description too. A claims matching expression of
//     language version 1 may stand in place of the subject (see [Expression],
//     and [WithStrict] for whom Azure allows one);
//   - issuer and subject are, to the letter, those of no other credential of the
//     owner (409);
//   - an owner has at most 20 (see [WithFederatedCredentialLimit]).
//
// As on Azure nothing else is checked: an issuer that cannot be reached or does
// not exist is found when a token is exchanged.
//
// A managed identity's credentials cannot be written concurrently, again as on
// Azure, where it tells automation to write them one after another: a
// transaction that read the credentials before another one changed them is not
// run again, but ends with the 409
// ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity. Since
// the store decides, this holds between replicas too. Azure does not do so for
// applications, whose writes are run again.
func (d *Directory) PutFederatedCredential(tx *store.Tx, c FederatedCredential) (created bool, err error) {
	if err := checkCredential(c); err != nil {
		return false, err
	}
	owner, err := readOwner(tx, c.TenantID, c.Owner)
	if err != nil {
		return false, err
	}
	if owner.managedIdentity != "" && !credentialName.MatchString(c.Name) {
		return false, errCredentialName(c.Name)
	}
	if err := d.checkExpression(owner, c); err != nil {
		return false, err
	}
	c.TenantID, c.Owner = owner.tenantID, owner.objectID
	list, err := owner.credentials(tx)
	if err != nil {
		return false, err
	}
	i, found := findCredential(list, c.Name)
	for j, other := range list {
		if sameIdentity(other, c) && (!found || i != j) {
			return false, azure.Errorf(http.StatusConflict, "Conflict",
				"Issuer and subject combination already exists for this Managed Identity.")
		}
	}
	if found {
		c.ID, c.Name, c.Created, c.Changed = list[i].ID, list[i].Name, list[i].Created, list[i].Changed
		if !sameIdentity(c, list[i]) || !slices.Equal(c.Audiences, list[i].Audiences) {
			c.Changed = d.now().UTC()
		}
		list[i] = c
	} else {
		if len(list) >= d.maxCredentials {
			return false, errCredential("The identity '%s' has %d federated identity credentials, which is the maximum number that is allowed.",
				owner.name, len(list))
		}
		c.ID, c.Created, c.Changed = "", d.now().UTC(), time.Time{}
		if owner.managedIdentity == "" {
			c.ID = newGUID()
		}
		list = slices.Insert(list, i, c)
	}
	return !found, owner.write(tx, list)
}

// DeleteFederatedCredential removes the owner's credential of that name. That
// it, or the owner, does not exist is no error. The rule on concurrent writes is
// that of [Directory.PutFederatedCredential].
func (d *Directory) DeleteFederatedCredential(tx *store.Tx, tenantID, owner, name string) (existed bool, err error) {
	o, err := readOwner(tx, tenantID, owner)
	if e, ok := errors.AsType[*azure.Error](err); ok && e.Status == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	list, err := o.credentials(tx)
	if err != nil {
		return false, err
	}
	i, found := findCredential(list, name)
	if !found {
		return false, nil
	}
	return true, o.write(tx, slices.Delete(list, i, i+1))
}

// FederatedCredentials reads an owner's credentials, sorted by name, in the
// transaction. An owner that does not exist has none.
func (d *Directory) FederatedCredentials(tx *store.Tx, tenantID, owner string) ([]FederatedCredential, error) {
	list, _, err := store.GetJSON[[]FederatedCredential](tx, key(credentials, tenantID, owner))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return list, err
}

// credentialOwner is who has federated credentials.
type credentialOwner struct {
	tenantID, objectID string
	name               string // for errors
	managedIdentity    string // its resource ID; empty for applications
}

// readOwner reads the owner, so that a credential is never written for one that
// is being deleted.
func readOwner(tx *store.Tx, tenantID, objectID string) (credentialOwner, error) {
	p, _, err := store.GetJSON[Principal](tx, key(principals, tenantID, objectID))
	if err == nil {
		if p.ServicePrincipalType != ManagedIdentityPrincipal || p.SystemAssigned {
			return credentialOwner{}, errNoOwner()
		}
		return credentialOwner{p.TenantID, p.ObjectID, azure.Fold(p.ResourceID), p.ResourceID}, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return credentialOwner{}, err
	}
	app, _, err := store.GetJSON[Application](tx, key(applications, tenantID, objectID))
	if errors.Is(err, store.ErrNotFound) {
		return credentialOwner{}, errNoOwner()
	}
	return credentialOwner{app.TenantID, app.ObjectID, app.DisplayName, ""}, err
}

// credentials reads the owner's credentials in order to change them.
func (o credentialOwner) credentials(tx *store.Tx) ([]FederatedCredential, error) {
	k := key(credentials, o.tenantID, o.objectID)
	if o.managedIdentity != "" {
		if err := tx.Pin(k, errConcurrent(o.managedIdentity)); err != nil {
			return nil, err
		}
	}
	list, _, err := store.GetJSON[[]FederatedCredential](tx, k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return list, err
}

func (o credentialOwner) write(tx *store.Tx, list []FederatedCredential) error {
	k := key(credentials, o.tenantID, o.objectID)
	if len(list) == 0 {
		tx.Delete(k)
		return nil
	}
	value, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("encoding the federated credentials of %s: %w", o.objectID, err)
	}
	if len(value) > maxCredentialBytes {
		return errCredential("The federated identity credentials of the identity '%s' are too large together.", o.name)
	}
	tx.Put(k, value)
	return nil
}

// findCredential gives the place of a name in a sorted list. Names are those of
// Azure resources: case does not count.
func findCredential(list []FederatedCredential, name string) (int, bool) {
	return slices.BinarySearchFunc(list, azure.Fold(name), func(c FederatedCredential, folded string) int {
		return strings.Compare(azure.Fold(c.Name), folded)
	})
}

// sameIdentity reports whether both credentials accept the same tokens. Unlike
// names, issuers and subjects are compared to the letter.
func sameIdentity(a, b FederatedCredential) bool {
	if a.Issuer != b.Issuer || a.Subject != b.Subject {
		return false
	}
	if a.ClaimsMatchingExpression == nil || b.ClaimsMatchingExpression == nil {
		return a.ClaimsMatchingExpression == b.ClaimsMatchingExpression
	}
	return *a.ClaimsMatchingExpression == *b.ClaimsMatchingExpression
}

// checkCredential checks what can be told without the store.
func checkCredential(c FederatedCredential) error {
	if !applicationCredentialName.MatchString(c.Name) {
		return errCredentialName(c.Name)
	}
	expression := ""
	if c.ClaimsMatchingExpression != nil {
		expression = c.ClaimsMatchingExpression.Value
		if c.Subject != "" {
			return errCredential("A Federated Identity Credential has either a subject or a claimsMatchingExpression, not both.")
		}
		if c.ClaimsMatchingExpression.LanguageVersion != 1 {
			return errCredential("The languageVersion of a claimsMatchingExpression must be 1.")
		}
	}
	if c.Issuer == "" || (c.Subject == "" && expression == "") {
		return errCredential("Federated Identity Credential from HTTP body has empty properties")
	}
	if len(c.Audiences) != 1 {
		return errCredential("Federated identity credentials must have exactly one audience.")
	}
	if c.Audiences[0] == "" {
		return errCredential("Federated Identity Credential from HTTP body has empty properties")
	}
	for _, f := range []struct{ name, value string }{
		{"issuer", c.Issuer}, {"subject", c.Subject}, {"audience", c.Audiences[0]}, {"description", c.Description},
		{"claimsMatchingExpression", expression},
	} {
		if n := utf8.RuneCountInString(f.value); n > maxCredentialText {
			return errCredential("The %s of a Federated Identity Credential has at most %d characters, but this one has %d.",
				f.name, maxCredentialText, n)
		}
	}
	return nil
}
