package directory

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// CreateServicePrincipal makes the service principal of the application with
// the given client ID, so that it can sign in and be given roles. An
// application of another tenant, and none at all, is Graph's 400; a second
// service principal its 409.
func (d *Directory) CreateServicePrincipal(tx *store.Tx, tenantID, appID string) (Principal, error) {
	app, err := readApplication(tx, tenantID, appID)
	if e, ok := errors.AsType[*azure.Error](err); ok && e.Status == http.StatusNotFound {
		return Principal{}, errBadRequest("The appId '%s' of the service principal does not reference a valid application object.", appID)
	}
	if err != nil {
		return Principal{}, err
	}
	guard, _, err := store.GetJSON[clientGuard](tx, key(clients, app.AppID))
	if err != nil {
		return Principal{}, fmt.Errorf("reading the client ID of application %s: %w", app.ObjectID, err)
	}
	if guard.Principal != "" {
		return Principal{}, azure.Errorf(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue",
			"The service principal cannot be created, updated, or restored because the service principal name %s is already in use.", app.AppID)
	}
	p, err := d.createPrincipal(tx, Principal{
		TenantID:             app.TenantID,
		Type:                 azure.ServicePrincipal,
		DisplayName:          app.DisplayName,
		AppID:                app.AppID,
		ServicePrincipalType: ApplicationPrincipal,
	})
	if err != nil {
		return Principal{}, err
	}
	guard.Principal = p.ObjectID
	return p, store.PutJSON(tx, key(clients, app.AppID), guard)
}

// DeleteServicePrincipal removes the service principal of an application, and
// the secrets that were added to it; the application stays, and can get another
// one, with an object ID of its own. Graph's 404 if there is none. A managed
// identity's goes with its resource only, which is an error here.
func (d *Directory) DeleteServicePrincipal(tx *store.Tx, tenantID, objectID string) error {
	p, err := readPrincipal(tx, tenantID, objectID)
	if err != nil {
		return err
	}
	if p.ServicePrincipalType != ApplicationPrincipal {
		return errBadRequest("The service principal '%s' is not an application's.", objectID)
	}
	app, err := readApplication(tx, p.TenantID, p.AppID)
	if err != nil {
		return err
	}
	app.Secrets = slices.DeleteFunc(app.Secrets, func(s Secret) bool { return s.OnPrincipal })
	if err := store.PutJSON(tx, key(applications, app.TenantID, app.ObjectID), app); err != nil {
		return err
	}
	if err := store.PutJSON(tx, key(clients, app.AppID), clientGuard{TenantID: app.TenantID, Application: app.ObjectID}); err != nil {
		return err
	}
	return d.dropPrincipal(tx, p)
}

// renameServicePrincipal gives an application's service principal, if it has
// one, the application's display name.
func renameServicePrincipal(tx *store.Tx, app Application) error {
	guard, _, err := store.GetJSON[clientGuard](tx, key(clients, app.AppID))
	if err != nil || guard.Principal == "" {
		return err
	}
	p, err := readPrincipal(tx, app.TenantID, guard.Principal)
	if err != nil {
		return err
	}
	p.DisplayName = app.DisplayName
	return store.PutJSON(tx, key(principals, p.TenantID, p.ObjectID), p)
}

// ChangePrincipal lets change alter a principal, and writes it: its display
// name (not an application's, which follows the application), whether it is
// disabled, a user's user principal name, owners and properties. What else
// change alters is an error. Graph's 404 if there is no such principal.
func (d *Directory) ChangePrincipal(tx *store.Tx, tenantID, objectID string, change func(*Principal) error) (Principal, error) {
	old, err := readPrincipal(tx, tenantID, objectID)
	if err != nil {
		return Principal{}, err
	}
	p := old
	p.Owners, p.Members = slices.Clone(old.Owners), slices.Clone(old.Members)
	if err := change(&p); err != nil {
		return Principal{}, err
	}
	fixed := p.TenantID == old.TenantID && p.ObjectID == old.ObjectID && p.Type == old.Type && p.AppID == old.AppID &&
		p.ServicePrincipalType == old.ServicePrincipalType && p.ResourceID == old.ResourceID &&
		p.SystemAssigned == old.SystemAssigned && p.Created.Equal(old.Created) && slices.Equal(p.Members, old.Members) &&
		(p.DisplayName == old.DisplayName || p.AppID == "")
	if !fixed {
		return Principal{}, fmt.Errorf("the identity of principal %s cannot be changed", old.ObjectID)
	}
	if err := checkDisplayName(p.DisplayName, string(p.Type)); err != nil {
		return Principal{}, err
	}
	if err := checkOwners(tx, p.TenantID, string(p.Type), old.Owners, p.Owners); err != nil {
		return Principal{}, err
	}
	if p.UserPrincipalName != old.UserPrincipalName {
		if err := moveUserPrincipalName(tx, old, p); err != nil {
			return Principal{}, err
		}
	}
	if err := checkProperties(string(p.Type), p.Properties); err != nil {
		return Principal{}, err
	}
	return p, store.PutJSON(tx, key(principals, p.TenantID, p.ObjectID), p)
}

// moveUserPrincipalName takes the guard of a user's new name and gives up the
// former one's.
func moveUserPrincipalName(tx *store.Tx, old, p Principal) error {
	if p.Type != azure.User {
		return fmt.Errorf("principal %s is no user", p.ObjectID)
	}
	t, err := readTenant(tx, p.TenantID)
	if err != nil {
		return err
	}
	if err := checkUserPrincipalName(t, p.UserPrincipalName); err != nil {
		return err
	}
	tx.Delete(key(names, t.ID, old.UserPrincipalName))
	return tx.Create(key(names, t.ID, p.UserPrincipalName), []byte(p.ObjectID), errTaken("userPrincipalName"))
}

// PrincipalIn reads a principal in a transaction; Graph's 404 if there is none.
func (d *Directory) PrincipalIn(tx *store.Tx, tenantID, objectID string) (Principal, error) {
	return readPrincipal(tx, tenantID, objectID)
}

// ServicePrincipalIn reads the service principal of an application in a
// transaction; ok is false where it has none, or does not exist.
func (d *Directory) ServicePrincipalIn(tx *store.Tx, tenantID, appID string) (p Principal, ok bool, err error) {
	guard, _, err := store.GetJSON[clientGuard](tx, key(clients, appID))
	if errors.Is(err, store.ErrNotFound) || err == nil && (guard.Principal == "" || !azure.EqualFold(guard.TenantID, tenantID)) {
		return Principal{}, false, nil
	}
	if err != nil {
		return Principal{}, false, err
	}
	p, err = readPrincipal(tx, guard.TenantID, guard.Principal)
	return p, err == nil, err
}
