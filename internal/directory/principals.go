package directory

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// userName is the part of a user principal name before the "@", as Microsoft
// Entra allows it.
var userName = regexp.MustCompile(`^[A-Za-z0-9'._!#^~-]{1,64}$`)

// maxUserPrincipalName is Microsoft Entra's limit in characters.
const maxUserPrincipalName = 113

// CreateManagedIdentity makes the principal of a managed identity, with a fresh
// client ID and object ID. The resource is the user-assigned identity itself, or
// the one to which a system-assigned identity belongs; its name becomes the
// display name.
func (d *Directory) CreateManagedIdentity(tx *store.Tx, tenantID string, resource azure.ResourceID, systemAssigned bool) (Principal, error) {
	if resource.IsRoot() {
		return Principal{}, errors.New("a managed identity needs a resource")
	}
	return d.createPrincipal(tx, Principal{
		TenantID:             tenantID,
		Type:                 azure.ServicePrincipal,
		DisplayName:          resource.Name(),
		AppID:                newGUID(),
		ServicePrincipalType: ManagedIdentityPrincipal,
		ResourceID:           resource.String(),
		SystemAssigned:       systemAssigned,
	})
}

// CreateUser makes a user. The user principal name must end in one of the
// tenant's domains, and be nobody else's, whatever its case.
func (d *Directory) CreateUser(tx *store.Tx, tenantID, upn, displayName string) (Principal, error) {
	if err := checkDisplayName(displayName, "User"); err != nil {
		return Principal{}, err
	}
	t, err := readTenant(tx, tenantID)
	if err != nil {
		return Principal{}, err
	}
	if err := checkUserPrincipalName(t, upn); err != nil {
		return Principal{}, err
	}
	p, err := d.createPrincipal(tx, Principal{
		TenantID:          tenantID,
		Type:              azure.User,
		DisplayName:       displayName,
		UserPrincipalName: upn,
	})
	if err != nil {
		return Principal{}, err
	}
	return p, tx.Create(key(names, t.ID, upn), []byte(p.ObjectID), errTaken("userPrincipalName"))
}

func checkUserPrincipalName(t Tenant, upn string) error {
	local, domain, found := strings.Cut(upn, "@")
	if !found || !userName.MatchString(local) || len(upn) > maxUserPrincipalName {
		return errInvalid("userPrincipalName", "User",
			"It has the form name@domain, with at most 64 letters, digits and '._!#^~- in the name.")
	}
	for _, own := range t.Domains {
		if azure.EqualFold(domain, own) {
			return nil
		}
	}
	return errBadRequest("The domain portion of the userPrincipalName property is invalid. "+
		"You must use one of the verified domain names in your organization: %s.", strings.Join(t.Domains, ", "))
}

// createPrincipal gives p an object ID and writes it with its guards. The guard
// of a client ID leads on to the application, if there is one.
func (d *Directory) createPrincipal(tx *store.Tx, p Principal) (Principal, error) {
	t, err := readTenant(tx, p.TenantID)
	if err != nil {
		return Principal{}, err
	}
	p.TenantID = t.ID
	p.ObjectID = newGUID()
	p.Created = d.now().UTC()
	if p.ServicePrincipalType == ManagedIdentityPrincipal {
		guard := clientGuard{TenantID: t.ID, Principal: p.ObjectID}
		if err := store.CreateJSON(tx, key(clients, p.AppID), guard, errTaken("appId")); err != nil {
			return Principal{}, err
		}
	}
	if err := tx.Create(key(objects, p.ObjectID), []byte(t.ID), errTaken("id")); err != nil {
		return Principal{}, err
	}
	return p, store.CreateJSON(tx, key(principals, t.ID, p.ObjectID), p, errTaken("id"))
}

// readPrincipal reads a principal; Graph's 404 if there is none.
func readPrincipal(tx *store.Tx, tenantID, objectID string) (Principal, error) {
	p, _, err := store.GetJSON[Principal](tx, key(principals, tenantID, objectID))
	if errors.Is(err, store.ErrNotFound) {
		return Principal{}, errNotFound(objectID)
	}
	return p, err
}

// SetDisabled disables a principal, or enables it again: Graph's
// accountEnabled. A disabled one keeps its IDs, credentials and role
// assignments, and gets no tokens. Graph's 404 if it does not exist.
func (d *Directory) SetDisabled(tx *store.Tx, tenantID, objectID string, disabled bool) error {
	p, err := readPrincipal(tx, tenantID, objectID)
	if err != nil {
		return err
	}
	p.Disabled = disabled
	return store.PutJSON(tx, key(principals, p.TenantID, p.ObjectID), p)
}

// DeletePrincipal removes a principal with its guards and federated credentials;
// with the service principal of an application the application and its secrets
// too. Its role assignments stay, as on Azure. A principal that does not exist
// is no error, so that an interrupted deletion can be repeated.
//
// Memberships end with the principal, since an object ID is never given out
// again; the entries in groups are removed here as far as this process's view
// knows them, to keep groups tidy.
func (d *Directory) DeletePrincipal(tx *store.Tx, tenantID, objectID string) error {
	p, _, err := store.GetJSON[Principal](tx, key(principals, tenantID, objectID))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if p.AppID != "" {
		if err := deleteClient(tx, p); err != nil {
			return err
		}
	}
	return d.dropPrincipal(tx, p)
}

// dropPrincipal removes a principal's record, its name and its memberships.
func (d *Directory) dropPrincipal(tx *store.Tx, p Principal) error {
	if p.UserPrincipalName != "" {
		tx.Delete(key(names, p.TenantID, p.UserPrincipalName))
	}
	tx.Delete(key(objects, p.ObjectID))
	tx.Delete(key(principals, p.TenantID, p.ObjectID))
	for _, group := range d.someGroupsWith(p.TenantID, p.ObjectID) {
		if err := dropMember(tx, p.TenantID, group, p.ObjectID); err != nil {
			return err
		}
	}
	return nil
}

// deleteClient removes what belongs to the client ID of a service principal.
func deleteClient(tx *store.Tx, p Principal) error {
	guard, _, err := store.GetJSON[clientGuard](tx, key(clients, p.AppID))
	if err != nil {
		return fmt.Errorf("reading the client ID of %s: %w", p.ObjectID, err)
	}
	if guard.Application == "" {
		tx.Delete(key(clients, p.AppID))
		tx.Delete(key(credentials, p.TenantID, p.ObjectID))
		return nil
	}
	app, _, err := store.GetJSON[Application](tx, key(applications, p.TenantID, guard.Application))
	if err != nil {
		return fmt.Errorf("reading the application of %s: %w", p.ObjectID, err)
	}
	dropApplication(tx, app)
	return nil
}
