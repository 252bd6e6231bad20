package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	maxOwners = 100 // of an object, as in Graph
	// maxProperties bounds what clients keep with an object, in bytes of JSON, so
	// that its record fits a transaction.
	maxProperties = 256 << 10
)

// RegisterApplication makes an application without a service principal, as
// Graph does: nobody can sign in as it, and no role be assigned to it, until
// there is one ([Directory.CreateServicePrincipal]). It takes the tenant, the
// display name, the identifier URIs, the token version, the owners and the
// properties from a; the IDs are new.
func (d *Directory) RegisterApplication(tx *store.Tx, a Application) (Application, error) {
	t, err := readTenant(tx, a.TenantID)
	if err != nil {
		return Application{}, err
	}
	app := Application{
		TenantID: t.ID, ObjectID: newGUID(), AppID: newGUID(), DisplayName: a.DisplayName, IdentifierURIs: a.IdentifierURIs,
		AccessTokenVersion: a.AccessTokenVersion, Owners: a.Owners, Properties: a.Properties, Created: d.now().UTC(),
	}
	if err := d.checkApplication(tx, Application{}, app); err != nil {
		return Application{}, err
	}
	guard := clientGuard{TenantID: t.ID, Application: app.ObjectID}
	if err := store.CreateJSON(tx, key(clients, app.AppID), guard, errTaken("appId")); err != nil {
		return Application{}, err
	}
	if err := tx.Create(key(objects, app.ObjectID), []byte(t.ID), errTaken("id")); err != nil {
		return Application{}, err
	}
	return app, store.CreateJSON(tx, key(applications, t.ID, app.ObjectID), app, errTaken("id"))
}

// ChangeApplication lets change alter the application with the given object ID,
// and writes it: its display name, which its service principal takes over,
// identifier URIs, token version, secrets, owners and properties. What else
// change alters, IDs above all, is an error. Graph's 404 if there is no such
// application.
func (d *Directory) ChangeApplication(tx *store.Tx, tenantID, objectID string, change func(*Application) error) (Application, error) {
	old, err := d.ApplicationIn(tx, tenantID, objectID)
	if err != nil {
		return Application{}, err
	}
	app := old
	app.IdentifierURIs, app.Secrets, app.Owners = slices.Clone(old.IdentifierURIs), slices.Clone(old.Secrets), slices.Clone(old.Owners)
	if err := change(&app); err != nil {
		return Application{}, err
	}
	if app.TenantID != old.TenantID || app.ObjectID != old.ObjectID || app.AppID != old.AppID || !app.Created.Equal(old.Created) {
		return Application{}, fmt.Errorf("the identity of application %s cannot be changed", old.ObjectID)
	}
	if err := d.checkApplication(tx, old, app); err != nil {
		return Application{}, err
	}
	if app.DisplayName != old.DisplayName {
		if err := renameServicePrincipal(tx, app); err != nil {
			return Application{}, err
		}
	}
	return app, store.PutJSON(tx, key(applications, app.TenantID, app.ObjectID), app)
}

// DeleteApplication removes the application with the given object ID and all
// that belongs to it: its service principal, secrets and federated credentials.
// Role assignments stay, as on Azure. Graph's 404 if there is none.
func (d *Directory) DeleteApplication(tx *store.Tx, tenantID, objectID string) error {
	app, err := d.ApplicationIn(tx, tenantID, objectID)
	if err != nil {
		return err
	}
	guard, _, err := store.GetJSON[clientGuard](tx, key(clients, app.AppID))
	if err != nil {
		return fmt.Errorf("reading the client ID of application %s: %w", app.ObjectID, err)
	}
	if guard.Principal != "" {
		p, err := readPrincipal(tx, app.TenantID, guard.Principal)
		if err != nil {
			return fmt.Errorf("reading the service principal of application %s: %w", app.ObjectID, err)
		}
		if err := d.dropPrincipal(tx, p); err != nil {
			return err
		}
	}
	dropApplication(tx, app)
	return nil
}

// dropApplication removes an application's record, guards and credentials.
func dropApplication(tx *store.Tx, app Application) {
	for _, uri := range app.IdentifierURIs {
		tx.Delete(uriKey(app.TenantID, uri))
	}
	tx.Delete(key(clients, app.AppID))
	tx.Delete(key(credentials, app.TenantID, app.ObjectID))
	tx.Delete(key(objects, app.ObjectID))
	tx.Delete(key(applications, app.TenantID, app.ObjectID))
}

// ApplicationIn reads the application with the given object ID in a
// transaction; Graph's 404 if there is none.
func (d *Directory) ApplicationIn(tx *store.Tx, tenantID, objectID string) (Application, error) {
	app, _, err := store.GetJSON[Application](tx, key(applications, tenantID, objectID))
	if errors.Is(err, store.ErrNotFound) {
		return Application{}, errNotFound(objectID)
	}
	return app, err
}

// checkApplication checks what a write changes, and moves the guards of the
// identifier URIs. For a new application old is zero.
func (d *Directory) checkApplication(tx *store.Tx, old, app Application) error {
	if err := checkDisplayName(app.DisplayName, "Application"); err != nil {
		return err
	}
	if app.AccessTokenVersion < 0 || app.AccessTokenVersion > 2 {
		return errInvalid("requestedAccessTokenVersion", "Application", "It is 1, 2 or null.")
	}
	if err := checkOwners(tx, app.TenantID, "Application", old.Owners, app.Owners); err != nil {
		return err
	}
	if err := checkProperties("Application", app.Properties); err != nil {
		return err
	}
	return d.guardURIs(tx, old, app)
}

// guardURIs gives up the guards of the URIs that are gone and takes those of
// the new ones.
func (d *Directory) guardURIs(tx *store.Tx, old, app Application) error {
	if len(app.IdentifierURIs) > maxIdentifierURIs {
		return errInvalid("identifierUris", "Application", "It has more than 20 entries.")
	}
	had := map[string]bool{}
	for _, uri := range old.IdentifierURIs {
		had[foldURI(uri)] = true
		tx.Delete(uriKey(old.TenantID, uri))
	}
	for _, uri := range app.IdentifierURIs {
		if !had[foldURI(uri)] {
			if err := d.checkIdentifierURI(uri, app.AppID); err != nil {
				return err
			}
		}
		if err := tx.Create(uriKey(app.TenantID, uri), []byte(app.AppID), errTaken("identifierUris")); err != nil {
			return err
		}
	}
	return nil
}

// checkOwners refuses new owners that are not users or service principals of
// the tenant.
func checkOwners(tx *store.Tx, tenantID, resource string, old, owners []string) error {
	if len(owners) > maxOwners {
		return errInvalid("owners", resource, "It has more than 100 entries.")
	}
	for i, id := range owners {
		if slices.Contains(owners[:i], id) {
			return errBadRequest("One or more added object references already exist for the following modified properties: 'owners'.")
		}
		if slices.Contains(old, id) {
			continue
		}
		p, err := readPrincipal(tx, tenantID, id)
		if e, ok := errors.AsType[*azure.Error](err); ok && e.Status == http.StatusNotFound {
			return errNotFound(id)
		}
		if err != nil {
			return err
		}
		if p.Type != azure.User && p.Type != azure.ServicePrincipal {
			return errInvalid("owners", resource, "An owner is a user or a service principal.")
		}
	}
	return nil
}

// checkProperties refuses properties that are too large together.
func checkProperties(resource string, properties map[string]json.RawMessage) error {
	b, err := json.Marshal(properties)
	if err != nil {
		return fmt.Errorf("encoding the properties: %w", err)
	}
	if len(b) > maxProperties {
		return errBadRequest("The properties of the resource '%s' are too large together: at most %d bytes are kept.",
			resource, maxProperties)
	}
	return nil
}
