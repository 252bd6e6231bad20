package graph

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// applicationRoutes serves app registrations.
func applicationRoutes() []route {
	const c = "applications"
	return []route{
		{http.MethodGet, "applications", c, read, false, (*Handler).listApplications},
		{http.MethodPost, "applications", c, write, false, (*Handler).createApplication},
		{http.MethodGet, "applications/{}", c, read, false, (*Handler).getApplication},
		{http.MethodPatch, "applications/{}", c, write, false, (*Handler).updateApplication},
		{http.MethodDelete, "applications/{}", c, remove, false, (*Handler).deleteApplication},
		{http.MethodPost, "applications/{}/addPassword", c, write, false, (*Handler).addApplicationPassword},
		{http.MethodPost, "applications/{}/removePassword", c, write, false, (*Handler).removeApplicationPassword},
	}
}

// applicationID gives the object ID of the application that the path names.
func (h *Handler) applicationID(r *request) (string, error) {
	switch k := r.keys[0]; k.name {
	case "", "id":
		return objectID(k.value)
	case "appId":
		app, ok := h.cfg.Directory.ApplicationByAppID(r.tenant(), k.value)
		if !ok {
			return "", notFound(k.value)
		}
		return app.ObjectID, nil
	default:
		return "", badKey(k, applicationKind)
	}
}

// objectID checks that a path's identifier is one.
func objectID(id string) (string, error) {
	if !azure.IsGUID(id) {
		return "", badRequest("Invalid object identifier '%s'.", id)
	}
	return azure.Fold(id), nil
}

func badKey(k key, of kind) error {
	return azure.Errorf(http.StatusBadRequest, "BadRequest", "The property '%s' is no key of the resource '%s'.", k.name, of.resource)
}

func (h *Handler) listApplications(r *request) (result, error) {
	apps := h.cfg.Directory.Applications(r.tenant())
	objects := make([]object, len(apps))
	for i := range apps {
		objects[i] = object{app: &apps[i]}
	}
	return h.listKind(r, applicationKind, objects)
}

func (h *Handler) getApplication(r *request) (result, error) {
	id, err := h.applicationID(r)
	if err != nil {
		return result{}, err
	}
	app, ok := h.cfg.Directory.Application(r.tenant(), id)
	if !ok {
		return result{}, notFound(r.keys[0].value)
	}
	return one(r, http.StatusOK, applicationKind.collection, h.show(r, object{app: &app}), nil), nil
}

// applicationReadOnly are the properties that only the service sets.
var applicationReadOnly = []string{
	"id", "appId", "createdDateTime", "deletedDateTime", "publisherDomain", "verifiedPublisher", "applicationTemplateId",
	"disabledByMicrosoftStatus", "certification", "uniqueName",
}

// applicationWrite is what a client writes of an application.
type applicationWrite struct {
	displayName *string
	uris        []string // nil: as they are
	keys        *keyWrite
	passwords   *passwordWrite
	kept        body // the rest
}

// readApplication reads the body of a write. current is nil for a new one.
func readApplication(r *request, current entity) (applicationWrite, error) {
	b, err := readBody(r, false)
	if err != nil {
		return applicationWrite{}, err
	}
	w := applicationWrite{kept: b}
	if err := w.kept.takeReadOnly(current, applicationReadOnly...); err != nil {
		return w, err
	}
	var name string
	if given, err := w.kept.takeName(applicationKind.resource, "displayName", &name); err != nil {
		return w, err
	} else if given {
		w.displayName = &name
	}
	if value, ok := w.kept.take("identifierUris"); ok {
		w.uris = []string{}
		if err := json.Unmarshal(value, &w.uris); err != nil {
			return w, invalidValue("identifierUris", applicationKind.resource, "It is a list of URIs.")
		}
	}
	if w.keys, err = takeKeys(w.kept); err != nil {
		return w, err
	}
	w.passwords, err = takePasswords(w.kept)
	return w, err
}

// apply brings an application up to date with a write, but for new credentials.
func (w applicationWrite) apply(app *directory.Application) error {
	if w.displayName != nil {
		app.DisplayName = *w.displayName
	}
	if w.uris != nil {
		app.IdentifierURIs = w.uris
	}
	kept, err := applicationSchema.merge(app.Properties, w.kept)
	if err != nil {
		return err
	}
	app.Properties = kept
	if !w.kept.has("api") {
		return nil
	}
	app.AccessTokenVersion, err = tokenVersion(kept["api"])
	return err
}

// tokenVersion reads requestedAccessTokenVersion: 1, 2, or null, which is 0 here.
func tokenVersion(api json.RawMessage) (int, error) {
	var v struct {
		Version *int `json:"requestedAccessTokenVersion"`
	}
	if len(api) > 0 && json.Unmarshal(api, &v) != nil || v.Version != nil && (*v.Version < 1 || *v.Version > 2) {
		return 0, invalidValue("requestedAccessTokenVersion", applicationKind.resource, "It is 1, 2 or null.")
	}
	if v.Version == nil {
		return 0, nil
	}
	return *v.Version, nil
}

func (h *Handler) createApplication(r *request) (result, error) {
	w, err := readApplication(r, nil)
	if err != nil {
		return result{}, err
	}
	owners, err := h.newOwners(r, w.kept, applicationKind.resource)
	if err != nil {
		return result{}, err
	}
	if w.displayName == nil {
		return result{}, invalidValue("displayName", applicationKind.resource, "It must be given.")
	}
	app := directory.Application{TenantID: r.tenant(), Owners: owners}
	if err := w.apply(&app); err != nil {
		return result{}, err
	}
	var made directory.Application
	var texts map[string]string
	err = h.update(r.http.Context(), func(tx *store.Tx) error {
		var err error
		if made, err = h.cfg.Directory.RegisterApplication(tx, app); err != nil {
			return err
		}
		if err := h.addKeys(tx, made, w.keys); err != nil {
			return err
		}
		if texts, err = h.addPasswords(tx, made, w.passwords); err != nil {
			return err
		}
		made, err = h.cfg.Directory.ApplicationIn(tx, made.TenantID, made.ObjectID)
		return err
	})
	if err != nil {
		return result{}, err
	}
	shown := h.show(r, object{app: &made})
	shown["passwordCredentials"] = showSecrets(made.Secrets, false, texts)
	res := one(r, http.StatusCreated, applicationKind.collection, shown, nil)
	res.location = r.location(made.ObjectID)
	return res, nil
}

// location is the address of an object that was created.
func (r *request) location(id string) string {
	return r.origin + "/" + versionV1 + "/directoryObjects/" + id
}

func (h *Handler) updateApplication(r *request) (result, error) {
	id, err := h.applicationID(r)
	if err != nil {
		return result{}, err
	}
	current, ok := h.cfg.Directory.Application(r.tenant(), id)
	if !ok {
		return result{}, notFound(r.keys[0].value)
	}
	w, err := readApplication(r, h.show(r, object{app: &current}))
	if err != nil {
		return result{}, err
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		app, err := h.cfg.Directory.ChangeApplication(tx, r.tenant(), id, func(app *directory.Application) error {
			if err := w.keys.keep(app); err != nil {
				return err
			}
			if err := w.passwords.keep(app); err != nil {
				return err
			}
			return w.apply(app)
		})
		if err != nil {
			return err
		}
		return h.addKeys(tx, app, w.keys)
	})
}

func (h *Handler) deleteApplication(r *request) (result, error) {
	id, err := h.applicationID(r)
	if err != nil {
		return result{}, err
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		app, err := h.cfg.Directory.ApplicationIn(tx, r.tenant(), id)
		if err != nil {
			return err
		}
		if p, ok, err := h.cfg.Directory.ServicePrincipalIn(tx, r.tenant(), app.AppID); err != nil {
			return err
		} else if ok {
			if err := h.keepAdministrator(tx, r.tenant(), p.ObjectID); err != nil {
				return err
			}
		}
		return h.cfg.Directory.DeleteApplication(tx, r.tenant(), id)
	})
}

// showApplication gives an application with all its properties.
func (h *Handler) showApplication(_ *request, o object) entity {
	app := o.app
	e := entity{}
	applicationSchema.show(e, app.Properties)
	e["id"], e["appId"], e["displayName"] = app.ObjectID, app.AppID, app.DisplayName
	e["createdDateTime"] = instant(app.Created)
	e["identifierUris"] = nonNil(app.IdentifierURIs)
	e["publisherDomain"] = h.domain(app.TenantID)
	e["keyCredentials"] = showCertificates(app.Certificates)
	e["passwordCredentials"] = showSecrets(app.Secrets, false, nil)
	e["api"] = showAPI(e["api"].(json.RawMessage), app.AccessTokenVersion)
	return e
}

// showAPI puts the token version, which the directory keeps by itself, into the
// api property.
func showAPI(kept json.RawMessage, version int) json.RawMessage {
	var api map[string]json.RawMessage
	if json.Unmarshal(kept, &api) != nil || api == nil {
		return kept
	}
	api["requestedAccessTokenVersion"] = json.RawMessage("null")
	if version > 0 {
		api["requestedAccessTokenVersion"] = json.RawMessage{'0' + byte(version)}
	}
	shown, err := json.Marshal(api)
	if err != nil {
		return kept
	}
	return shown
}

// domain gives the tenant's default domain.
func (h *Handler) domain(tenantID string) any {
	if t, ok := h.cfg.Directory.Tenant(tenantID); ok {
		return t.DefaultDomain
	}
	return nil
}

// nonNil gives a list that is written as [] where it is empty.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return slices.Clip(list)
}
