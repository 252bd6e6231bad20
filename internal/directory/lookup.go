package directory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// tenant gives a tenant's part of the view. The caller holds the lock.
func (d *Directory) tenant(id string) (*tenantView, bool) {
	t := d.view.tenants[azure.Fold(id)]
	if t == nil || t.record == nil {
		return nil, false
	}
	return t, true
}

// Tenant gives the tenant with the given ID or verified domain, in any case.
func (d *Directory) Tenant(idOrDomain string) (Tenant, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(idOrDomain)
	if !ok {
		if t, ok = d.view.domains[azure.Fold(idOrDomain)]; !ok {
			return Tenant{}, false
		}
	}
	return *t.record, true
}

// Tenants lists all tenants by display name.
func (d *Directory) Tenants() []Tenant {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var list []Tenant
	for _, t := range d.view.tenants {
		if t.record != nil {
			list = append(list, *t.record)
		}
	}
	slices.SortFunc(list, func(a, b Tenant) int { return byName(a.DisplayName, a.ID, b.DisplayName, b.ID) })
	return list
}

// Subscription gives the subscription with the given ID, in any case.
func (d *Directory) Subscription(id string) (Subscription, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := d.view.subscriptions[azure.Fold(id)]
	if s == nil {
		return Subscription{}, false
	}
	return *s, true
}

// Subscriptions lists the subscriptions that trust a tenant, by display name.
func (d *Directory) Subscriptions(tenantID string) []Subscription {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var list []Subscription
	for _, s := range d.view.subscriptions {
		if azure.EqualFold(s.TenantID, tenantID) {
			list = append(list, *s)
		}
	}
	slices.SortFunc(list, func(a, b Subscription) int { return byName(a.DisplayName, a.ID, b.DisplayName, b.ID) })
	return list
}

// Client gives the client with the given client ID in a tenant, in any case.
func (d *Directory) Client(tenantID, appID string) (Client, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(tenantID)
	if !ok {
		return Client{}, false
	}
	appID = azure.Fold(appID)
	p := t.clients[appID]
	if p == nil {
		return Client{}, false
	}
	c := Client{Principal: *p}
	owner := p.ObjectID
	if p.ServicePrincipalType == ApplicationPrincipal {
		if c.Application = t.appsByAppID[appID]; c.Application == nil {
			return Client{}, false
		}
		owner = c.Application.ObjectID
	}
	c.FederatedCredentials = t.credentials[owner]
	return c, true
}

// Principal gives the principal with the given object ID, in any case.
func (d *Directory) Principal(tenantID, objectID string) (Principal, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t, ok := d.tenant(tenantID); ok {
		if p := t.principals[azure.Fold(objectID)]; p != nil {
			return *p, true
		}
	}
	return Principal{}, false
}

// PrincipalByAppID gives the service principal with the given client ID, in any
// case.
func (d *Directory) PrincipalByAppID(tenantID, appID string) (Principal, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t, ok := d.tenant(tenantID); ok {
		if p := t.clients[azure.Fold(appID)]; p != nil {
			return *p, true
		}
	}
	return Principal{}, false
}

// IDKind tells which of an identity's several IDs a GUID is.
type IDKind string

// The kinds of IDs. [UnknownID] names nothing in the tenant.
const (
	UnknownID           IDKind = ""
	ObjectID            IDKind = "object ID"
	ClientID            IDKind = "client ID"
	ApplicationObjectID IDKind = "application object ID"
)

// FindByClientOrObjectID gives the principal that id stands for and what id is
// to it, so that an error can name the ID that was meant: a role assignment
// takes the principal's object ID, and people often give the client ID or the
// object ID of the application.
func (d *Directory) FindByClientOrObjectID(tenantID, id string) (Principal, IDKind) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(tenantID)
	if !ok {
		return Principal{}, UnknownID
	}
	id = azure.Fold(id)
	if p := t.principals[id]; p != nil {
		return *p, ObjectID
	}
	if p := t.clients[id]; p != nil {
		return *p, ClientID
	}
	if app := t.applications[id]; app != nil {
		if p := t.clients[app.AppID]; p != nil {
			return *p, ApplicationObjectID
		}
	}
	return Principal{}, UnknownID
}

// PrincipalByName gives the one principal of a tenant with the given display
// name or user principal name, in any case. None and several are errors; the
// latter lists the object IDs to choose from.
func (d *Directory) PrincipalByName(tenantID, name string) (Principal, error) {
	var found []Principal
	for _, p := range d.Principals(tenantID) {
		if azure.EqualFold(p.DisplayName, name) || azure.EqualFold(p.UserPrincipalName, name) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return Principal{}, fmt.Errorf("nobody in the tenant %s is called %q", tenantID, name)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, p := range found {
		ids[i] = p.ObjectID
	}
	return Principal{}, fmt.Errorf("%d principals in the tenant %s are called %q: use one of the object IDs %s",
		len(found), tenantID, name, strings.Join(ids, ", "))
}

// Principals lists a tenant's principals by display name.
func (d *Directory) Principals(tenantID string) []Principal {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(tenantID)
	if !ok {
		return nil
	}
	list := make([]Principal, 0, len(t.principals))
	for _, p := range t.principals {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b Principal) int { return byName(a.DisplayName, a.ObjectID, b.DisplayName, b.ObjectID) })
	return list
}

// Applications lists a tenant's applications by display name.
func (d *Directory) Applications(tenantID string) []Application {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(tenantID)
	if !ok {
		return nil
	}
	list := make([]Application, 0, len(t.applications))
	for _, app := range t.applications {
		list = append(list, *app)
	}
	slices.SortFunc(list, func(a, b Application) int { return byName(a.DisplayName, a.ObjectID, b.DisplayName, b.ObjectID) })
	return list
}

// Application gives the application with the given object ID, in any case.
func (d *Directory) Application(tenantID, objectID string) (Application, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t, ok := d.tenant(tenantID); ok {
		if app := t.applications[azure.Fold(objectID)]; app != nil {
			return *app, true
		}
	}
	return Application{}, false
}

// ApplicationByAppID gives the application with the given client ID, in any
// case, whether it has a service principal or not.
func (d *Directory) ApplicationByAppID(tenantID, appID string) (Application, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t, ok := d.tenant(tenantID); ok {
		if app := t.appsByAppID[azure.Fold(appID)]; app != nil {
			return *app, true
		}
	}
	return Application{}, false
}

// FederatedCredentialsOf gives an owner's federated credentials, sorted by name.
func (d *Directory) FederatedCredentialsOf(tenantID, owner string) []FederatedCredential {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t, ok := d.tenant(tenantID); ok {
		return t.credentials[azure.Fold(owner)]
	}
	return nil
}

// User gives the user with the given object ID or user principal name, in any
// case.
func (d *Directory) User(tenantID, idOrName string) (Principal, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(tenantID)
	if !ok {
		return Principal{}, false
	}
	if p := t.principals[azure.Fold(idOrName)]; p != nil && p.Type == azure.User {
		return *p, true
	}
	for _, p := range t.principals {
		if p.UserPrincipalName != "" && azure.EqualFold(p.UserPrincipalName, idOrName) {
			return *p, true
		}
	}
	return Principal{}, false
}

// Resource tells what an audience (a resource parameter, or a scope without its
// last part) is in a tenant: a service of the cloud, or an application by its
// client ID, "api://{client ID}" or an identifier URI, with the version of the
// tokens that it gets. Case and one trailing slash do not count; a token's aud
// nevertheless echoes what was asked. Nothing found is AADSTS500011.
func (d *Directory) Resource(tenantID, audience string) (appID string, version int, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(tenantID)
	if !ok {
		return "", 0, false
	}
	for _, service := range d.services {
		if service.Names(audience) {
			return service.AppID, max(service.TokenVersion, 1), true
		}
	}
	uri := foldURI(audience)
	app := t.appsByAppID[strings.TrimPrefix(uri, "api://")]
	if app == nil {
		app = t.appsByURI[uri]
	}
	if app == nil {
		return "", 0, false
	}
	return app.AppID, max(app.AccessTokenVersion, 1), true
}

// byName orders by name as people read it, then by ID.
func byName(nameA, idA, nameB, idB string) int {
	return cmp.Or(
		strings.Compare(azure.Fold(nameA), azure.Fold(nameB)),
		strings.Compare(idA, idB),
	)
}
