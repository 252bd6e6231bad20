package directory

import (
	"encoding/json"
	"maps"
	"sync"

	"github.com/lanyard-id/lanyard/internal/store"
)

// view is the directory in memory. Records are replaced, never changed, so that
// a lookup may hand them out and let go of the lock.
type view struct {
	tenants       map[string]*tenantView // by ID
	domains       map[string]*tenantView
	subscriptions map[string]*Subscription
	trusts        map[string]map[owner]struct{} // by issuer; see trusts.go
	touched       map[string]struct{}           // issuers that the running changes concern
}

// tenantView is one tenant's part of the view; its maps' keys are folded.
type tenantView struct {
	record       *Tenant // nil until the tenant's own record is there
	principals   map[string]*Principal
	clients      map[string]*Principal // by client ID
	applications map[string]*Application
	appsByAppID  map[string]*Application
	appsByURI    map[string]*Application
	credentials  map[string][]FederatedCredential // by owner
	// holders leads from a principal to the groups that have it as a direct
	// member.
	holders map[string]map[string]struct{}
	// closures caches what [tenantView.groupsOf] found, from object ID to
	// []string; it is replaced when any group changes. Readers fill it.
	closures *sync.Map
}

func newView() *view {
	return &view{
		tenants:       map[string]*tenantView{},
		domains:       map[string]*tenantView{},
		subscriptions: map[string]*Subscription{},
		trusts:        map[string]map[owner]struct{}{},
		touched:       map[string]struct{}{},
	}
}

// tenant gives a tenant's part, making it if need be: records come in the order
// of their keys, and a tenant's own is not the first.
func (v *view) tenant(id string) *tenantView {
	t := v.tenants[id]
	if t == nil {
		t = &tenantView{
			principals:   map[string]*Principal{},
			clients:      map[string]*Principal{},
			applications: map[string]*Application{},
			appsByAppID:  map[string]*Application{},
			appsByURI:    map[string]*Application{},
			credentials:  map[string][]FederatedCredential{},
			holders:      map[string]map[string]struct{}{},
			closures:     &sync.Map{},
		}
		v.tenants[id] = t
	}
	return t
}

// decode makes of a change what it does to the view, or nil for keys that the
// view does not need.
func decode(c store.Change) (func(*view), error) {
	kind, first, second := splitKey(c.Key)
	switch kind {
	case tenants:
		return record(c, func(v *view, r *Tenant) { v.setTenant(first, r) })
	case subscriptions:
		return record(c, func(v *view, r *Subscription) {
			set(v.subscriptions, first, r)
		})
	case principals:
		return record(c, func(v *view, r *Principal) {
			t := v.tenant(first)
			v.touchPrincipal(t, t.principals[second])
			t.setPrincipal(second, r)
			v.touchPrincipal(t, r)
		})
	case applications:
		return record(c, func(v *view, r *Application) {
			t := v.tenant(first)
			t.setApplication(second, r)
			v.touch(t, second)
		})
	case credentials:
		return record(c, func(v *view, r *[]FederatedCredential) {
			var list []FederatedCredential
			if r != nil {
				list = *r
			}
			v.setCredentials(first, second, list)
		})
	}
	return nil, nil
}

// record decodes a change's value; apply gets nil where the key was deleted.
func record[T any](c store.Change, apply func(*view, *T)) (func(*view), error) {
	if c.Value == nil {
		return func(v *view) { apply(v, nil) }, nil
	}
	r := new(T)
	if err := json.Unmarshal(c.Value, r); err != nil {
		return nil, err
	}
	return func(v *view) { apply(v, r) }, nil
}

// set puts r under k, or removes k where r is nil.
func set[T any](m map[string]*T, k string, r *T) {
	if r == nil {
		delete(m, k)
		return
	}
	m[k] = r
}

func (v *view) setTenant(id string, r *Tenant) {
	t := v.tenant(id)
	maps.DeleteFunc(v.domains, func(_ string, other *tenantView) bool { return other == t })
	t.record = r
	for o := range t.credentials {
		v.touch(t, o)
	}
	if r == nil {
		return
	}
	for _, domain := range r.Domains {
		v.domains[domain] = t
	}
}

func (t *tenantView) setPrincipal(objectID string, r *Principal) {
	old := t.principals[objectID]
	if old != nil {
		delete(t.clients, old.AppID)
		for _, member := range old.Members {
			delete(t.holders[member], objectID)
			if len(t.holders[member]) == 0 {
				delete(t.holders, member)
			}
		}
	}
	set(t.principals, objectID, r)
	if r != nil {
		if r.AppID != "" {
			t.clients[r.AppID] = r
		}
		for _, member := range r.Members {
			groups := t.holders[member]
			if groups == nil {
				groups = map[string]struct{}{}
				t.holders[member] = groups
			}
			groups[objectID] = struct{}{}
		}
	}
	if isGroup(old) || isGroup(r) {
		t.closures = &sync.Map{}
	}
}

func (t *tenantView) setApplication(objectID string, r *Application) {
	if old := t.applications[objectID]; old != nil {
		delete(t.appsByAppID, old.AppID)
		for _, uri := range old.IdentifierURIs {
			delete(t.appsByURI, foldURI(uri))
		}
	}
	set(t.applications, objectID, r)
	if r == nil {
		return
	}
	t.appsByAppID[r.AppID] = r
	for _, uri := range r.IdentifierURIs {
		t.appsByURI[foldURI(uri)] = r
	}
}
