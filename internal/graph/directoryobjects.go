package graph

import (
	"encoding/json"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// directoryObjectRoutes serves objects of whatever kind by their ID.
func directoryObjectRoutes() []route {
	const c = "directoryObjects"
	return []route{
		{http.MethodPost, "directoryObjects/getByIds", c, read, false, (*Handler).getByIDs},
		{http.MethodGet, "directoryObjects/{}", c, read, true, (*Handler).getDirectoryObject},
	}
}

// directoryObject gives the object that the path names.
func (h *Handler) directoryObject(r *request) (object, error) {
	k := r.keys[0]
	if k.name != "" && k.name != "id" {
		return object{}, badKey(k, objectKind)
	}
	id, err := objectID(k.value)
	if err != nil {
		return object{}, err
	}
	o, ok := h.object(r.tenant(), id)
	if !ok {
		return object{}, notFound(k.value)
	}
	return o, nil
}

func (h *Handler) getDirectoryObject(r *request) (result, error) {
	o, err := h.directoryObject(r)
	if err != nil {
		return result{}, err
	}
	return one(r, http.StatusOK, objectKind.collection, h.showTyped(r, o), nil), nil
}

// maxByIDs is how many objects one request may ask for, as in Graph.
const maxByIDs = 1000

// getByIDs answers with those of the objects that there are, of the kinds that
// are wanted, in the order in which they were asked for.
func (h *Handler) getByIDs(r *request) (result, error) {
	b, err := readBody(r, false)
	if err != nil {
		return result{}, err
	}
	var ids, types []string
	if err := json.Unmarshal(b["ids"], &ids); err != nil || len(ids) == 0 || len(ids) > maxByIDs {
		return result{}, invalidValue("ids", objectKind.resource, "It is a list of 1 to 1000 object IDs.")
	}
	if value := b["types"]; value != nil && json.Unmarshal(value, &types) != nil {
		return result{}, invalidValue("types", objectKind.resource, "It is a list of kinds, such as user and servicePrincipal.")
	}
	values := []entity{}
	for _, id := range ids {
		if !azure.IsGUID(id) {
			return result{}, invalidValue("ids", objectKind.resource, "'"+id+"' is not an object ID.")
		}
		if o, ok := h.object(r.tenant(), id); ok && wants(types, o.kind()) {
			values = append(values, r.choose(h.showTyped(r, o), nil))
		}
	}
	return result{status: http.StatusOK, body: entity{"@odata.context": r.metadata(objectKind.collection), "value": values}}, nil
}

// wants reports whether a list of types names a kind; an empty one names all.
func wants(types []string, k kind) bool {
	for _, t := range types {
		if azure.EqualFold(t, k.resource) || azure.EqualFold(t, objectKind.resource) {
			return true
		}
	}
	return len(types) == 0
}
