package graph

import (
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// ownerRoutes serves the owners of applications, service principals and groups.
// They are kept and shown, as clients expect, and decide nothing.
func ownerRoutes() []route {
	var all []route
	for _, c := range []string{applicationKind.collection, servicePrincipalKind.collection, groupKind.collection} {
		all = append(all,
			route{http.MethodGet, c + "/{}/owners", c, read, false, (*Handler).listOwners},
			route{http.MethodPost, c + "/{}/owners/$ref", c, write, false, (*Handler).addOwner},
			route{http.MethodDelete, c + "/{}/owners/{}/$ref", c, write, false, (*Handler).removeOwner},
		)
	}
	return append(all, route{http.MethodGet, "me/ownedObjects", userKind.collection, read, true, (*Handler).listOwned})
}

// newOwners reads the owners of an object that is being created. Where none are
// named a user is the owner of what it creates, as on Azure; an application is
// not.
func (h *Handler) newOwners(r *request, b body, resource string) ([]string, error) {
	owners, err := b.takeReferences(resource, "owners@odata.bind")
	if err != nil {
		return nil, err
	}
	if len(owners) == 0 && r.caller.Type == azure.User {
		return []string{azure.Fold(r.caller.ObjectID)}, nil
	}
	return owners, nil
}

// owned gives the object of an owners path.
func (h *Handler) owned(r *request) (object, error) {
	var id string
	var err error
	switch r.root {
	case applicationKind.collection:
		id, err = h.applicationID(r)
	case servicePrincipalKind.collection:
		id, err = h.servicePrincipalID(r)
	default:
		id, err = objectID(r.keys[0].value)
	}
	if err != nil {
		return object{}, err
	}
	o, ok := h.object(r.tenant(), id)
	if !ok || o.kind().collection != r.root {
		return object{}, notFound(r.keys[0].value)
	}
	return o, nil
}

// owners gives the IDs of an object's owners.
func (o object) owners() []string {
	if o.app != nil {
		return o.app.Owners
	}
	return o.principal.Owners
}

func (h *Handler) listOwners(r *request) (result, error) {
	o, err := h.owned(r)
	if err != nil {
		return result{}, err
	}
	return h.listObjects(r, h.resolve(r.tenant(), o.owners()))
}

// listOwned lists what the signed-in user owns.
func (h *Handler) listOwned(r *request) (result, error) {
	if err := onlyUsers(r); err != nil {
		return result{}, err
	}
	me := azure.Fold(r.caller.ObjectID)
	var found []object
	for _, p := range h.cfg.Directory.Principals(r.tenant()) {
		if slices.Contains(p.Owners, me) {
			found = append(found, h.principalObject(p))
		}
	}
	for _, app := range h.cfg.Directory.Applications(r.tenant()) {
		if slices.Contains(app.Owners, me) {
			found = append(found, object{app: &app})
		}
	}
	return h.listObjects(r, found)
}

func (h *Handler) addOwner(r *request) (result, error) {
	o, err := h.owned(r)
	if err != nil {
		return result{}, err
	}
	owner, err := readReference(r)
	if err != nil {
		return result{}, err
	}
	return noContent, h.changeOwners(r, o, func(owners []string) ([]string, error) { return append(owners, owner), nil })
}

func (h *Handler) removeOwner(r *request) (result, error) {
	o, err := h.owned(r)
	if err != nil {
		return result{}, err
	}
	owner := azure.Fold(r.keys[1].value)
	return noContent, h.changeOwners(r, o, func(owners []string) ([]string, error) {
		i := slices.Index(owners, owner)
		if i < 0 {
			return nil, notFound(r.keys[1].value)
		}
		return slices.Delete(owners, i, i+1), nil
	})
}

// changeOwners changes the owners of an object.
func (h *Handler) changeOwners(r *request, o object, change func([]string) ([]string, error)) error {
	return h.update(r.http.Context(), func(tx *store.Tx) error {
		if o.app != nil {
			_, err := h.cfg.Directory.ChangeApplication(tx, r.tenant(), o.app.ObjectID, func(app *directory.Application) (err error) {
				app.Owners, err = change(app.Owners)
				return err
			})
			return err
		}
		_, err := h.cfg.Directory.ChangePrincipal(tx, r.tenant(), o.principal.ObjectID, func(p *directory.Principal) (err error) {
			p.Owners, err = change(p.Owners)
			return err
		})
		return err
	})
}
