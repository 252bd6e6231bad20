package graph

import (
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
)

// object is an object of the directory: an application, or a principal.
type object struct {
	app       *directory.Application // nil: a principal
	principal directory.Principal
	// registration is the application of a service principal, nil for others.
	registration *directory.Application
}

// kind is a type of directory object.
type kind struct {
	// collection is the name in paths and contexts, resource that in errors.
	collection, resource string
	odataType            string
	// fields are the properties that $filter may name.
	fields map[string]func(object) any
	show   func(h *Handler, r *request, o object) entity
	// defaults are the properties that are shown without $select; nil: all.
	defaults []string
}

// The kinds of directory objects.
var (
	applicationKind = kind{
		collection: "applications", resource: "Application", odataType: "#microsoft.graph.application",
		fields: map[string]func(object) any{
			"id": object.id, "displayName": object.name,
			"appId":          func(o object) any { return o.app.AppID },
			"identifierUris": func(o object) any { return o.app.IdentifierURIs },
		},
		show: (*Handler).showApplication,
	}
	servicePrincipalKind = kind{
		collection: "servicePrincipals", resource: "ServicePrincipal", odataType: "#microsoft.graph.servicePrincipal",
		fields: map[string]func(object) any{
			"id": object.id, "displayName": object.name,
			"appId":                 func(o object) any { return o.principal.AppID },
			"accountEnabled":        func(o object) any { return !o.principal.Disabled },
			"servicePrincipalType":  func(o object) any { return o.principal.ServicePrincipalType },
			"alternativeNames":      func(o object) any { return alternativeNames(o.principal) },
			"servicePrincipalNames": func(o object) any { return servicePrincipalNames(o) },
		},
		show: (*Handler).showServicePrincipal,
	}
	userKind = kind{
		collection: "users", resource: "User", odataType: "#microsoft.graph.user",
		fields: map[string]func(object) any{
			"id": object.id, "displayName": object.name,
			"accountEnabled":    func(o object) any { return !o.principal.Disabled },
			"userPrincipalName": func(o object) any { return o.principal.UserPrincipalName },
			"mail":              func(o object) any { return keptText(o.principal.Properties, "mail") },
			"mailNickname":      func(o object) any { return keptText(o.principal.Properties, "mailNickname") },
			"givenName":         func(o object) any { return keptText(o.principal.Properties, "givenName") },
			"surname":           func(o object) any { return keptText(o.principal.Properties, "surname") },
		},
		show: (*Handler).showUser,
		defaults: []string{"businessPhones", "displayName", "givenName", "id", "jobTitle", "mail", "mobilePhone",
			"officeLocation", "preferredLanguage", "surname", "userPrincipalName"},
	}
	groupKind = kind{
		collection: "groups", resource: "Group", odataType: "#microsoft.graph.group",
		fields: map[string]func(object) any{
			"id": object.id, "displayName": object.name,
			"mailEnabled":     func(object) any { return false },
			"mailNickname":    func(o object) any { return keptText(o.principal.Properties, "mailNickname") },
			"securityEnabled": func(object) any { return true },
		},
		show: (*Handler).showGroup,
	}
	// objectKind is that of lists which hold several kinds.
	objectKind = kind{
		collection: "directoryObjects", resource: "DirectoryObject",
		fields: map[string]func(object) any{"id": object.id, "displayName": object.name},
	}
)

func (o object) id() any {
	return o.objectID()
}

func (o object) objectID() string {
	if o.app != nil {
		return o.app.ObjectID
	}
	return o.principal.ObjectID
}

func (o object) name() any {
	if o.app != nil {
		return o.app.DisplayName
	}
	return o.principal.DisplayName
}

func (o object) kind() kind {
	switch {
	case o.app != nil:
		return applicationKind
	case o.principal.Type == azure.User:
		return userKind
	case o.principal.Type == azure.Group:
		return groupKind
	default:
		return servicePrincipalKind
	}
}

// show gives an object with all its properties.
func (h *Handler) show(r *request, o object) entity {
	k := o.kind()
	e := k.show(h, r, o)
	if metadataLevel(r.http) == "full" {
		e["@odata.type"] = k.odataType
		e["@odata.id"] = r.origin + "/" + versionV1 + "/directoryObjects/" + o.objectID()
	}
	return e
}

// listKind answers with objects of one kind.
func (h *Handler) listKind(r *request, k kind, objects []object) (result, error) {
	return page(r, k.collection, source[object]{
		resource: k.resource, id: object.objectID, fields: k.fields, defaults: k.defaults,
		show: func(o object) entity { return h.show(r, o) },
	}, objects)
}

// listObjects answers with objects of any kind, each with its type.
func (h *Handler) listObjects(r *request, objects []object) (result, error) {
	return page(r, objectKind.collection, source[object]{
		resource: objectKind.resource, id: object.objectID, fields: objectKind.fields,
		show: func(o object) entity { return h.showTyped(r, o) },
	}, objects)
}

// showTyped shows an object where others of another kind may stand beside it.
func (h *Handler) showTyped(r *request, o object) entity {
	e := h.show(r, o)
	if defaults := o.kind().defaults; defaults != nil && r.query.selected == nil {
		e = r.choose(e, defaults)
	}
	e["@odata.type"] = o.kind().odataType
	return e
}

// principals gives a tenant's principals of one type.
func (h *Handler) principals(r *request, of azure.PrincipalType) []object {
	var found []object
	for _, p := range h.cfg.Directory.Principals(r.tenant()) {
		if p.Type == of {
			found = append(found, h.principalObject(p))
		}
	}
	return found
}

// principalObject makes an object of a principal.
func (h *Handler) principalObject(p directory.Principal) object {
	o := object{principal: p}
	if p.ServicePrincipalType == directory.ApplicationPrincipal {
		if app, ok := h.cfg.Directory.ApplicationByAppID(p.TenantID, p.AppID); ok {
			o.registration = &app
		}
	}
	return o
}

// object gives the directory object with an object ID.
func (h *Handler) object(tenantID, id string) (object, bool) {
	if p, ok := h.cfg.Directory.Principal(tenantID, id); ok {
		return h.principalObject(p), true
	}
	if app, ok := h.cfg.Directory.Application(tenantID, id); ok {
		return object{app: &app}, true
	}
	return object{}, false
}

// resolve gives the objects of the IDs that still stand for one.
func (h *Handler) resolve(tenantID string, ids []string) []object {
	objects := make([]object, 0, len(ids))
	for _, id := range ids {
		if o, ok := h.object(tenantID, id); ok {
			objects = append(objects, o)
		}
	}
	return objects
}

// instant is a time as Graph writes it: in UTC, to the second.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
