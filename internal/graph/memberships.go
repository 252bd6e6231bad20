package graph

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// membershipRoutes serves in which groups a principal is: below each of the
// collections that have principals, and for "me".
func membershipRoutes() []route {
	var all []route
	for _, base := range []struct{ path, collection string }{
		{"directoryObjects/{}", objectKind.collection}, {"servicePrincipals/{}", servicePrincipalKind.collection},
		{"users/{}", userKind.collection}, {"groups/{}", groupKind.collection}, {"me", userKind.collection},
	} {
		c := base.collection
		all = append(all,
			route{http.MethodPost, base.path + "/getMemberGroups", c, read, true, (*Handler).getMemberGroups},
			route{http.MethodPost, base.path + "/checkMemberGroups", c, read, true, (*Handler).checkMemberGroups},
			route{http.MethodPost, base.path + "/getMemberObjects", c, read, true, (*Handler).getMemberGroups},
			route{http.MethodPost, base.path + "/checkMemberObjects", c, read, true, (*Handler).checkMemberGroups},
			route{http.MethodGet, base.path + "/memberOf", c, read, true, (*Handler).listMemberOf},
			route{http.MethodGet, base.path + "/transitiveMemberOf", c, read, true, (*Handler).listTransitiveMemberOf},
		)
	}
	return all
}

// member gives the object ID of the principal that the path names.
func (h *Handler) member(r *request) (string, error) {
	switch r.root {
	case servicePrincipalKind.collection:
		p, err := h.servicePrincipal(r)
		return p.ObjectID, err
	case userKind.collection:
		p, err := h.user(r)
		return p.ObjectID, err
	case groupKind.collection:
		p, err := h.group(r)
		return p.ObjectID, err
	case objectKind.collection:
		o, err := h.directoryObject(r)
		return o.objectID(), err
	default: // me
		return r.caller.ObjectID, onlyUsers(r)
	}
}

// memberGroups gives the groups that hold the principal, directly or through
// others.
func (h *Handler) memberGroups(r *request) ([]string, error) {
	id, err := h.member(r)
	if err != nil {
		return nil, err
	}
	return h.cfg.Directory.GroupsOf(r.tenant(), id), nil
}

// membership gives the same, and the body that asks about them.
func (h *Handler) membership(r *request) (groups []string, body map[string]json.RawMessage, err error) {
	if groups, err = h.memberGroups(r); err != nil {
		return nil, nil, err
	}
	body, err = readBody(r, false)
	return groups, body, err
}

// getMemberGroups answers with group IDs. All groups are security groups, so
// that securityEnabledOnly makes no difference.
func (h *Handler) getMemberGroups(r *request) (result, error) {
	groups, b, err := h.membership(r)
	if err != nil {
		return result{}, err
	}
	var securityEnabledOnly bool
	if err := json.Unmarshal(b["securityEnabledOnly"], &securityEnabledOnly); b["securityEnabledOnly"] != nil && err != nil {
		return result{}, malformedBody("The member 'securityEnabledOnly' is true or false.")
	}
	return groupIDs(r, groups), nil
}

// maxChecked is how many groups one request may ask about, as in Graph.
const maxChecked = 20

func (h *Handler) checkMemberGroups(r *request) (result, error) {
	groups, b, err := h.membership(r)
	if err != nil {
		return result{}, err
	}
	asked := b["groupIds"]
	if asked == nil {
		asked = b["ids"] // checkMemberObjects
	}
	var ids []string
	if err := json.Unmarshal(asked, &ids); err != nil || len(ids) == 0 || len(ids) > maxChecked {
		return result{}, invalidValue("groupIds", objectKind.resource, "It is a list of 1 to 20 group IDs.")
	}
	var in []string
	for _, id := range ids {
		if id = azure.Fold(id); slices.Contains(groups, id) && !slices.Contains(in, id) {
			in = append(in, id)
		}
	}
	return groupIDs(r, in), nil
}

func groupIDs(r *request, ids []string) result {
	return result{status: http.StatusOK, body: entity{
		"@odata.context": r.origin + "/" + versionV1 + "/$metadata#Collection(Edm.String)", "value": nonNil(ids),
	}}
}

func (h *Handler) listMemberOf(r *request) (result, error) {
	id, err := h.member(r)
	if err != nil {
		return result{}, err
	}
	return h.listObjects(r, h.resolve(r.tenant(), h.cfg.Directory.DirectGroupsOf(r.tenant(), id)))
}

func (h *Handler) listTransitiveMemberOf(r *request) (result, error) {
	groups, err := h.memberGroups(r)
	if err != nil {
		return result{}, err
	}
	return h.listObjects(r, h.resolve(r.tenant(), groups))
}
