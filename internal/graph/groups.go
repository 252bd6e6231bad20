package graph

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// groupRoutes serves security groups and their members.
func groupRoutes() []route {
	const c = "groups"
	return []route{
		{http.MethodGet, "groups", c, read, false, (*Handler).listGroups},
		{http.MethodPost, "groups", c, write, false, (*Handler).createGroup},
		{http.MethodGet, "groups/{}", c, read, false, (*Handler).getGroup},
		{http.MethodPatch, "groups/{}", c, write, false, (*Handler).updateGroup},
		{http.MethodDelete, "groups/{}", c, remove, false, (*Handler).deleteGroup},
		{http.MethodGet, "groups/{}/members", c, read, false, (*Handler).listMembers},
		{http.MethodPost, "groups/{}/members/$ref", c, write, false, (*Handler).addMember},
		{http.MethodDelete, "groups/{}/members/{}/$ref", c, write, false, (*Handler).removeMember},
		{http.MethodGet, "groups/{}/transitiveMembers", c, read, false, (*Handler).listTransitiveMembers},
	}
}

// group gives the group that the path names.
func (h *Handler) group(r *request) (directory.Principal, error) {
	k := r.keys[0]
	if k.name != "" && k.name != "id" {
		return directory.Principal{}, badKey(k, groupKind)
	}
	id, err := objectID(k.value)
	if err != nil {
		return directory.Principal{}, err
	}
	p, ok := h.cfg.Directory.Principal(r.tenant(), id)
	if !ok || p.Type != azure.Group {
		return directory.Principal{}, notFound(k.value)
	}
	return p, nil
}

func (h *Handler) listGroups(r *request) (result, error) {
	return h.listKind(r, groupKind, h.principals(r, azure.Group))
}

func (h *Handler) getGroup(r *request) (result, error) {
	p, err := h.group(r)
	if err != nil {
		return result{}, err
	}
	return one(r, http.StatusOK, groupKind.collection, h.show(r, object{principal: p}), nil), nil
}

// groupWrite is what a client writes of a group.
type groupWrite struct {
	displayName *string
	// mail and security are mailEnabled and securityEnabled, nil where not given.
	mail, security *bool
	members        []string // to add
	kept           body
}

func readGroup(r *request, current entity) (groupWrite, error) {
	b, err := readBody(r, false)
	if err != nil {
		return groupWrite{}, err
	}
	w := groupWrite{kept: b}
	if err := w.kept.takeReadOnly(current, "id", "createdDateTime", "deletedDateTime", "mail", "securityIdentifier", "renewedDateTime"); err != nil {
		return w, err
	}
	var name string
	if given, err := w.kept.takeName(groupKind.resource, "displayName", &name); err != nil {
		return w, err
	} else if given {
		w.displayName = &name
	}
	for _, f := range []struct {
		name string
		into **bool
	}{{"mailEnabled", &w.mail}, {"securityEnabled", &w.security}} {
		var v bool
		if given, err := w.kept.takeInto(groupKind.resource, f.name, &v); err != nil {
			return w, err
		} else if given {
			*f.into = &v
		}
	}
	var types []string
	if _, err := w.kept.takeInto(groupKind.resource, "groupTypes", &types); err != nil {
		return w, err
	}
	if len(types) > 0 || w.mail != nil && *w.mail || w.security != nil && !*w.security {
		return w, badRequest("Only security groups are possible: mailEnabled must be false, securityEnabled true, and groupTypes empty.")
	}
	w.members, err = w.kept.takeReferences(groupKind.resource, "members@odata.bind")
	return w, err
}

// apply brings a group up to date with a write, but for its members.
func (w groupWrite) apply(p *directory.Principal) (err error) {
	if w.displayName != nil {
		p.DisplayName = *w.displayName
	}
	p.Properties, err = groupSchema.merge(p.Properties, w.kept)
	return err
}

func (h *Handler) createGroup(r *request) (result, error) {
	w, err := readGroup(r, nil)
	if err != nil {
		return result{}, err
	}
	owners, err := h.newOwners(r, w.kept, groupKind.resource)
	if err != nil {
		return result{}, err
	}
	for _, required := range []struct {
		name  string
		given bool
	}{
		{"displayName", w.displayName != nil}, {"mailEnabled", w.mail != nil}, {"mailNickname", w.kept.has("mailNickname")},
		{"securityEnabled", w.security != nil},
	} {
		if !required.given {
			return result{}, invalidValue(required.name, groupKind.resource, "It must be given.")
		}
	}
	var made directory.Principal
	err = h.update(r.http.Context(), func(tx *store.Tx) error {
		p, err := h.cfg.Directory.CreateGroup(tx, r.tenant(), *w.displayName)
		if err != nil {
			return err
		}
		made, err = h.cfg.Directory.ChangePrincipal(tx, r.tenant(), p.ObjectID, func(p *directory.Principal) error {
			p.Owners = owners
			return w.apply(p)
		})
		if err != nil {
			return err
		}
		return h.addMembers(tx, made, w.members)
	})
	if err != nil {
		return result{}, err
	}
	res := one(r, http.StatusCreated, groupKind.collection, h.show(r, object{principal: made}), nil)
	res.location = r.location(made.ObjectID)
	return res, nil
}

// maxBind is how many members one request may add, as in Graph.
const maxBind = 20

func (h *Handler) addMembers(tx *store.Tx, group directory.Principal, members []string) error {
	if len(members) > maxBind {
		return invalidValue("members@odata.bind", groupKind.resource, fmt.Sprintf("It has more than %d entries.", maxBind))
	}
	for _, id := range members {
		if err := h.cfg.Directory.AddMember(tx, group.TenantID, group.ObjectID, id); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) updateGroup(r *request) (result, error) {
	p, err := h.group(r)
	if err != nil {
		return result{}, err
	}
	w, err := readGroup(r, h.show(r, object{principal: p}))
	if err != nil {
		return result{}, err
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		if _, err := h.cfg.Directory.ChangePrincipal(tx, r.tenant(), p.ObjectID, w.apply); err != nil {
			return err
		}
		return h.addMembers(tx, p, w.members)
	})
}

func (h *Handler) deleteGroup(r *request) (result, error) {
	p, err := h.group(r)
	if err != nil {
		return result{}, err
	}
	return noContent, h.deletePrincipal(r, p)
}

func (h *Handler) listMembers(r *request) (result, error) {
	p, err := h.group(r)
	if err != nil {
		return result{}, err
	}
	return h.listObjects(r, h.resolve(r.tenant(), p.Members))
}

// listTransitiveMembers walks down; each group is visited once, so that circles
// end.
func (h *Handler) listTransitiveMembers(r *request) (result, error) {
	p, err := h.group(r)
	if err != nil {
		return result{}, err
	}
	seen := map[string]bool{p.ObjectID: true}
	var found []object
	for next := p.Members; len(next) > 0; {
		id := next[0]
		next = next[1:]
		if seen[id] {
			continue
		}
		seen[id] = true
		if member, ok := h.cfg.Directory.Principal(r.tenant(), id); ok {
			found = append(found, h.principalObject(member))
			next = slices.Concat(next, member.Members)
		}
	}
	return h.listObjects(r, found)
}

func (h *Handler) addMember(r *request) (result, error) {
	p, err := h.group(r)
	if err != nil {
		return result{}, err
	}
	member, err := readReference(r)
	if err != nil {
		return result{}, err
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		return h.cfg.Directory.AddMember(tx, r.tenant(), p.ObjectID, member)
	})
}

func (h *Handler) removeMember(r *request) (result, error) {
	p, err := h.group(r)
	if err != nil {
		return result{}, err
	}
	member, err := objectID(r.keys[1].value)
	if err != nil {
		return result{}, err
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		return h.cfg.Directory.RemoveMember(tx, r.tenant(), p.ObjectID, member)
	})
}

// securityIdentifier is the SID that Microsoft Entra derives from an object ID:
// S-1-12-1 and the GUID's bytes, as Windows stores them, in four numbers.
func securityIdentifier(id string) any {
	g, err := uuid.Parse(id)
	if err != nil {
		return nil
	}
	// The first three fields of a GUID are little-endian there.
	return fmt.Sprintf("S-1-12-1-%d-%d-%d-%d", binary.BigEndian.Uint32(g[0:]),
		uint32(binary.BigEndian.Uint16(g[6:]))<<16|uint32(binary.BigEndian.Uint16(g[4:])),
		binary.LittleEndian.Uint32(g[8:]), binary.LittleEndian.Uint32(g[12:]))
}

// showGroup gives a group with all its properties.
func (h *Handler) showGroup(_ *request, o object) entity {
	p := o.principal
	e := entity{}
	groupSchema.show(e, p.Properties)
	e["id"], e["displayName"] = p.ObjectID, p.DisplayName
	e["createdDateTime"], e["renewedDateTime"] = instant(p.Created), instant(p.Created)
	e["securityIdentifier"] = securityIdentifier(p.ObjectID)
	return e
}

// groupSchema is what clients keep with a group and nothing here acts upon.
var groupSchema = schema{
	resource: "Group",
	fixed: map[string]string{
		"creationOptions": "[]", "deletedDateTime": "null", "expirationDateTime": "null", "groupTypes": "[]", "mail": "null",
		"mailEnabled": "false", "onPremisesSyncEnabled": "null", "proxyAddresses": "[]", "securityEnabled": "true",
	},
	properties: []property{
		{name: "classification", form: formText, initial: "null"},
		{name: "description", form: formText, initial: "null"},
		{name: "isAssignableToRole", form: formBool, initial: "null"},
		{name: "mailNickname", form: formText, initial: "null"},
		{name: "preferredDataLocation", form: formText, initial: "null"},
		{name: "preferredLanguage", form: formText, initial: "null"},
		{name: "resourceBehaviorOptions", form: formList, initial: "[]"},
		{name: "resourceProvisioningOptions", form: formList, initial: "[]"},
		{name: "theme", form: formText, initial: "null"},
		{name: "visibility", form: formText, initial: "null"},
	},
}
