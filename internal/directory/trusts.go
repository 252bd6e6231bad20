package directory

import (
	"github.com/lanyard-id/lanyard/internal/azure"
)

// Trust is a federated credential by which a client can sign in as things are.
type Trust struct {
	Credential FederatedCredential
	// ClientID and DisplayName are those of the principal that a token of the
	// credential's issuer becomes.
	ClientID, DisplayName string
}

// owner names the owner of federated credentials.
type owner struct{ tenantID, objectID string }

// Trusts lists the federated credentials of all tenants that name an issuer, to
// the letter, and count: their tenant and owner exist, an application has its
// service principal, and that is not disabled. They are in no particular order.
func (d *Directory) Trusts(issuer string) []Trust {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var list []Trust
	for o := range d.view.trusts[issuer] {
		t := d.view.tenants[o.tenantID]
		if t == nil || t.record == nil {
			continue
		}
		p := t.principals[o.objectID]
		if app := t.applications[o.objectID]; app != nil {
			p = t.clients[app.AppID]
		}
		if p == nil || p.Disabled {
			continue
		}
		for _, c := range t.credentials[o.objectID] {
			if c.Issuer == issuer {
				list = append(list, Trust{Credential: c, ClientID: p.AppID, DisplayName: p.DisplayName})
			}
		}
	}
	return list
}

// OnTrusts has f called whenever what [Directory.Trusts] gives for an issuer may
// have changed, after it has, with the revision of the change; nil issuers stand
// for all. f is called by the goroutine that feeds the view: it must be quick,
// and must not call the store. OnTrusts is for the time before the first write.
func (d *Directory) OnTrusts(f func(issuers []string, revision int64)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onTrusts = append(d.onTrusts, f)
}

// setCredentials replaces an owner's credentials, and keeps the index of their
// issuers.
func (v *view) setCredentials(tenantID, objectID string, list []FederatedCredential) {
	t, o := v.tenant(tenantID), owner{tenantID, objectID}
	for _, c := range t.credentials[objectID] {
		delete(v.trusts[c.Issuer], o)
		if len(v.trusts[c.Issuer]) == 0 {
			delete(v.trusts, c.Issuer)
		}
	}
	v.touch(t, objectID)
	delete(t.credentials, objectID)
	if len(list) == 0 {
		return
	}
	t.credentials[objectID] = list
	for _, c := range list {
		owners := v.trusts[c.Issuer]
		if owners == nil {
			owners = map[owner]struct{}{}
			v.trusts[c.Issuer] = owners
		}
		owners[o] = struct{}{}
	}
	v.touch(t, objectID)
}

// touch notes that the credentials of an owner may count no more, or count anew.
func (v *view) touch(t *tenantView, objectID string) {
	for _, c := range t.credentials[objectID] {
		v.touched[c.Issuer] = struct{}{}
	}
}

// touchPrincipal notes it for what a principal owns: itself a managed identity's
// credentials, or by its application those of that.
func (v *view) touchPrincipal(t *tenantView, p *Principal) {
	if p == nil {
		return
	}
	v.touch(t, azure.Fold(p.ObjectID))
	if app := t.appsByAppID[p.AppID]; app != nil {
		v.touch(t, azure.Fold(app.ObjectID))
	}
}
