package graph

import (
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// servicePrincipalRoutes serves service principals: those of applications, and
// those of managed identities, which are made and deleted with their resource.
func servicePrincipalRoutes() []route {
	const c = "servicePrincipals"
	return []route{
		{http.MethodGet, "servicePrincipals", c, read, false, (*Handler).listServicePrincipals},
		{http.MethodPost, "servicePrincipals", c, write, false, (*Handler).createServicePrincipal},
		{http.MethodGet, "servicePrincipals/{}", c, read, true, (*Handler).getServicePrincipal},
		{http.MethodPatch, "servicePrincipals/{}", c, write, false, (*Handler).updateServicePrincipal},
		{http.MethodDelete, "servicePrincipals/{}", c, remove, false, (*Handler).deleteServicePrincipal},
		{http.MethodPost, "servicePrincipals/{}/addPassword", c, write, false, (*Handler).addServicePrincipalPassword},
		{http.MethodPost, "servicePrincipals/{}/removePassword", c, write, false, (*Handler).removeServicePrincipalPassword},
	}
}

// servicePrincipalID gives the object ID of the service principal that the path
// names.
func (h *Handler) servicePrincipalID(r *request) (string, error) {
	switch k := r.keys[0]; k.name {
	case "", "id":
		return objectID(k.value)
	case "appId":
		p, ok := h.cfg.Directory.PrincipalByAppID(r.tenant(), k.value)
		if !ok {
			return "", notFound(k.value)
		}
		return p.ObjectID, nil
	default:
		return "", badKey(k, servicePrincipalKind)
	}
}

// servicePrincipal gives the service principal that the path names.
func (h *Handler) servicePrincipal(r *request) (directory.Principal, error) {
	id, err := h.servicePrincipalID(r)
	if err != nil {
		return directory.Principal{}, err
	}
	p, ok := h.cfg.Directory.Principal(r.tenant(), id)
	if !ok || p.Type != azure.ServicePrincipal {
		return directory.Principal{}, notFound(r.keys[0].value)
	}
	return p, nil
}

func (h *Handler) listServicePrincipals(r *request) (result, error) {
	return h.listKind(r, servicePrincipalKind, h.principals(r, azure.ServicePrincipal))
}

func (h *Handler) getServicePrincipal(r *request) (result, error) {
	p, err := h.servicePrincipal(r)
	if err != nil {
		return result{}, err
	}
	return one(r, http.StatusOK, servicePrincipalKind.collection, h.show(r, h.principalObject(p)), nil), nil
}

// servicePrincipalReadOnly are the properties that only the service sets, many
// of them by the application.
var servicePrincipalReadOnly = []string{
	"id", "appId", "createdDateTime", "deletedDateTime", "displayName", "appDisplayName", "appDescription", "appOwnerOrganizationId",
	"applicationTemplateId", "disabledByMicrosoftStatus", "servicePrincipalNames", "servicePrincipalType", "signInAudience",
	"verifiedPublisher", "appRoles", "oauth2PermissionScopes", "keyCredentials", "passwordCredentials", "replyUrls", "homepage",
	"logoutUrl", "resourceSpecificApplicationPermissions", "info",
}

// servicePrincipalWrite is what a client writes of a service principal.
type servicePrincipalWrite struct {
	enabled *bool
	kept    body
}

func readServicePrincipal(b body, current entity) (servicePrincipalWrite, error) {
	w := servicePrincipalWrite{kept: b}
	if err := b.takeReadOnly(current, servicePrincipalReadOnly...); err != nil {
		return w, err
	}
	var enabled bool
	given, err := b.takeInto(servicePrincipalKind.resource, "accountEnabled", &enabled)
	if given {
		w.enabled = &enabled
	}
	return w, err
}

func (w servicePrincipalWrite) apply(p *directory.Principal) (err error) {
	if w.enabled != nil {
		p.Disabled = !*w.enabled
	}
	p.Properties, err = servicePrincipalSchema.merge(p.Properties, w.kept)
	return err
}

func (h *Handler) createServicePrincipal(r *request) (result, error) {
	b, err := readBody(r, false)
	if err != nil {
		return result{}, err
	}
	in := body(b)
	var appID string
	if given, err := in.takeName(servicePrincipalKind.resource, "appId", &appID); err != nil || !given || !azure.IsGUID(appID) {
		return result{}, invalidValue("appId", servicePrincipalKind.resource, "It is the GUID of an application.")
	}
	in.take("displayName") // the application's is the service principal's; some clients send it along
	owners, err := h.newOwners(r, in, servicePrincipalKind.resource)
	if err != nil {
		return result{}, err
	}
	w, err := readServicePrincipal(in, nil)
	if err != nil {
		return result{}, err
	}
	var made directory.Principal
	err = h.update(r.http.Context(), func(tx *store.Tx) error {
		p, err := h.cfg.Directory.CreateServicePrincipal(tx, r.tenant(), appID)
		if err != nil {
			return err
		}
		made, err = h.cfg.Directory.ChangePrincipal(tx, r.tenant(), p.ObjectID, func(p *directory.Principal) error {
			p.Owners = owners
			return w.apply(p)
		})
		return err
	})
	if err != nil {
		return result{}, err
	}
	res := one(r, http.StatusCreated, servicePrincipalKind.collection, h.show(r, h.principalObject(made)), nil)
	res.location = r.location(made.ObjectID)
	return res, nil
}

func (h *Handler) updateServicePrincipal(r *request) (result, error) {
	p, err := h.servicePrincipal(r)
	if err != nil {
		return result{}, err
	}
	b, err := readBody(r, false)
	if err != nil {
		return result{}, err
	}
	w, err := readServicePrincipal(b, h.show(r, h.principalObject(p)))
	if err != nil {
		return result{}, err
	}
	if p.ServicePrincipalType == directory.ManagedIdentityPrincipal && len(w.kept) > 0 {
		return result{}, managedElsewhere(p)
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		if w.enabled != nil && !*w.enabled {
			if err := h.keepAdministrator(tx, r.tenant(), p.ObjectID); err != nil {
				return err
			}
		}
		_, err := h.cfg.Directory.ChangePrincipal(tx, r.tenant(), p.ObjectID, w.apply)
		return err
	})
}

func (h *Handler) deleteServicePrincipal(r *request) (result, error) {
	p, err := h.servicePrincipal(r)
	if err != nil {
		return result{}, err
	}
	if p.ServicePrincipalType == directory.ManagedIdentityPrincipal {
		return result{}, managedElsewhere(p)
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		if err := h.keepAdministrator(tx, r.tenant(), p.ObjectID); err != nil {
			return err
		}
		return h.cfg.Directory.DeleteServicePrincipal(tx, r.tenant(), p.ObjectID)
	})
}

// managedElsewhere is why a managed identity cannot be changed or deleted here.
func managedElsewhere(p directory.Principal) error {
	return azure.Errorf(http.StatusForbidden, "Authorization_RequestDenied",
		"The service principal '%s' is that of a managed identity, and goes with its resource %s.", p.ObjectID, p.ResourceID)
}

func (h *Handler) addServicePrincipalPassword(r *request) (result, error) {
	return h.servicePrincipalPassword(r, h.addPassword)
}

func (h *Handler) removeServicePrincipalPassword(r *request) (result, error) {
	return h.servicePrincipalPassword(r, h.removePassword)
}

func (h *Handler) servicePrincipalPassword(r *request,
	do func(*request, bool, func(*store.Tx) (directory.Application, error)) (result, error)) (result, error) {
	p, err := h.servicePrincipal(r)
	if err != nil {
		return result{}, err
	}
	app, ok := h.cfg.Directory.ApplicationByAppID(r.tenant(), p.AppID)
	if !ok {
		return result{}, managedElsewhere(p)
	}
	return do(r, true, func(tx *store.Tx) (directory.Application, error) {
		if _, err := h.cfg.Directory.PrincipalIn(tx, r.tenant(), p.ObjectID); err != nil {
			return directory.Application{}, err
		}
		return h.cfg.Directory.ApplicationIn(tx, r.tenant(), app.ObjectID)
	})
}
