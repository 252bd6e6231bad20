package rbac

import (
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// keyPrefix starts all keys of the package. Under it lie, by tenant:
//
//	assignments/NAME       the role assignment (JSON)
//	triples/SCOPE/#ROLE/PRINCIPAL
//	                       guard: there is one assignment of a role to a
//	                       principal at a scope, whose name is the value; also
//	                       the index by scope, for cascades
//	definitions/ID         the custom role (JSON)
//	names/NAME             guard: the ID of the custom role of that folded name
//	uses/ROLE/NAME         the custom role is used by the assignment
//	admins/SUBSCRIPTION/NAME
//	                       the assignment of a role that manages access, at the
//	                       subscription itself
//	counts/SUBSCRIPTION    how many role assignments the subscription has
//	counts/roles           how many custom roles the tenant has
//
// All parts are folded. "#" is in no resource ID, so that a triple's key can't
// be taken for one at another scope.
const keyPrefix = "rbac/"

const (
	kindAssignment = "assignments"
	kindDefinition = "definitions"
)

func tenantKey(tenantID, kind string) string {
	return keyPrefix + azure.Fold(tenantID) + "/" + kind + "/"
}

func assignmentKey(tenantID, name string) string {
	return tenantKey(tenantID, kindAssignment) + azure.Fold(name)
}

func definitionKey(tenantID, id string) string {
	return tenantKey(tenantID, kindDefinition) + azure.Fold(id)
}

func roleNameKey(tenantID, name string) string {
	return tenantKey(tenantID, "names") + azure.Fold(name)
}

// triplesKey starts the keys of all triples at a scope and below.
func triplesKey(tenantID string, scope azure.ResourceID) string {
	kind := tenantKey(tenantID, "triples")
	if scope.IsRoot() {
		return kind
	}
	return kind + scope.Key()[1:] + "/"
}

func tripleKey(a Assignment) string {
	return triplesKey(a.TenantID, a.Scope) + "#" + azure.Fold(a.RoleDefinitionID) + "/" + azure.Fold(a.PrincipalID)
}

// parseTriple gives what a triple's key says.
func parseTriple(tenantID, key string) (a Assignment, ok bool) {
	rest, ok := strings.CutPrefix(key, tenantKey(tenantID, "triples"))
	if !ok {
		return a, false
	}
	scope, rest, ok := strings.Cut("/"+rest, "/#")
	if !ok {
		return a, false
	}
	role, principal, ok := strings.Cut(rest, "/")
	if !ok {
		return a, false
	}
	id, err := azure.ParseResourceID("/" + strings.TrimPrefix(scope, "/"))
	return Assignment{TenantID: tenantID, Scope: id, RoleDefinitionID: role, PrincipalID: principal}, err == nil
}

// usesKey starts the keys of all assignments of a custom role.
func usesKey(tenantID, roleID string) string {
	return tenantKey(tenantID, "uses") + azure.Fold(roleID) + "/"
}

// adminsKey starts the keys of all assignments by which a subscription's access
// is managed.
func adminsKey(tenantID, subscriptionID string) string {
	return tenantKey(tenantID, "admins") + azure.Fold(subscriptionID) + "/"
}

func assignmentCountKey(tenantID, subscriptionID string) string {
	return tenantKey(tenantID, "counts") + azure.Fold(subscriptionID)
}

func roleCountKey(tenantID string) string { return tenantKey(tenantID, "counts") + "roles" }
