package directory

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// domainName is a DNS name of at least two labels, in lower case: so that no
// tenant ID is a domain too.
var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

const (
	maxDomainName  = 253
	maxDisplayName = 256 // characters, as in Graph
)

// canonicalGUID gives a GUID of the form 8-4-4-4-12 in lower case.
func canonicalGUID(s string) (string, bool) {
	if !azure.IsGUID(s) {
		return "", false
	}
	return azure.Fold(s), true
}

// newGUID gives a random GUID.
func newGUID() string { return uuid.NewString() }

// CreateTenant writes a new tenant. The ID must be a GUID. Without domains the
// tenant gets "{first eight digits of the ID}.onmicrosoft.{the cloud's domain}",
// as every tenant on Azure has a name of that kind; without a default domain the
// first is it.
func (d *Directory) CreateTenant(tx *store.Tx, t Tenant) error {
	id, ok := canonicalGUID(t.ID)
	if !ok {
		return errInvalid("id", "Tenant", "A tenant ID is a GUID.")
	}
	t.ID = id
	if err := checkDisplayName(t.DisplayName, "Tenant"); err != nil {
		return err
	}
	t.Domains = append([]string(nil), t.Domains...)
	if t.DefaultDomain != "" {
		t.Domains = append([]string{t.DefaultDomain}, t.Domains...)
	}
	if len(t.Domains) == 0 {
		t.Domains = []string{id[:8] + ".onmicrosoft." + d.domain}
	}
	for i, domain := range t.Domains {
		t.Domains[i] = azure.Fold(domain)
		if len(domain) > maxDomainName || !domainName.MatchString(t.Domains[i]) {
			return errInvalid("verifiedDomains", "Tenant", "'"+domain+"' is not a DNS name of at least two labels.")
		}
	}
	t.DefaultDomain = t.Domains[0]
	slices.Sort(t.Domains)
	t.Domains = slices.Compact(t.Domains)
	t.Created = d.now().UTC()
	for _, domain := range t.Domains {
		taken := azure.Errorf(http.StatusConflict, "Conflict", "The domain '%s' belongs to another tenant.", domain)
		if err := tx.Create(key(domains, domain), []byte(id), taken); err != nil {
			return err
		}
	}
	if _, err := tx.Get(key(ended, id)); !errors.Is(err, store.ErrNotFound) {
		if err != nil {
			return err
		}
		return azure.Errorf(http.StatusConflict, "Conflict", "The tenant '%s' is being deleted.", id)
	}
	exists := azure.Errorf(http.StatusConflict, "Conflict", "The tenant '%s' exists already.", id)
	return store.CreateJSON(tx, key(tenants, id), t, exists)
}

// CreateSubscription writes a new subscription of an existing tenant. The ID
// must be a GUID that no other tenant's subscription has; the state is
// "Enabled" unless another is given.
func (d *Directory) CreateSubscription(tx *store.Tx, s Subscription) error {
	id, ok := canonicalGUID(s.ID)
	if !ok {
		return errInvalid("subscriptionId", "Subscription", "A subscription ID is a GUID.")
	}
	s.ID = id
	if err := checkDisplayName(s.DisplayName, "Subscription"); err != nil {
		return err
	}
	t, err := readTenant(tx, s.TenantID)
	if err != nil {
		return err
	}
	s.TenantID = t.ID
	if s.State == "" {
		s.State = Enabled
	}
	s.Created = d.now().UTC()
	exists := azure.Errorf(http.StatusConflict, "Conflict", "The subscription '%s' exists already.", id)
	return store.CreateJSON(tx, key(subscriptions, id), s, exists)
}

// readTenant reads the tenant of something that is about to be written; that it
// exists is part of what the commit compares.
func readTenant(tx *store.Tx, tenantID string) (Tenant, error) {
	t, _, err := store.GetJSON[Tenant](tx, key(tenants, tenantID))
	if errors.Is(err, store.ErrNotFound) {
		return Tenant{}, errTenantNotFound(tenantID)
	}
	return t, err
}

func checkDisplayName(name, resource string) error {
	if name == "" {
		return errInvalid("displayName", resource, "It must not be empty.")
	}
	if utf8.RuneCountInString(name) > maxDisplayName {
		return errInvalid("displayName", resource, "It has more than 256 characters.")
	}
	return nil
}
