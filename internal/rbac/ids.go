package rbac

import (
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

const (
	namespace       = "Microsoft.Authorization"
	roleDefinitions = "roleDefinitions"
)

// ParseRoleDefinitionID gives the GUID that a role assignment's
// roleDefinitionId names. Azure takes the ID of a role definition under any
// scope, or under none; roles are told apart by the GUID alone. Anything else,
// a bare GUID too, is a 400 BadRequestFormat.
func ParseRoleDefinitionID(s string) (string, error) {
	malformed := azure.Errorf(http.StatusBadRequest, "BadRequestFormat", "The request was incorrectly formatted.")
	malformed.Target = "properties.roleDefinitionId"
	id, err := azure.ParseResourceID(s)
	if err != nil {
		malformed.Err = err
		return "", malformed
	}
	if !azure.EqualFold(id.Type(), namespace+"/"+roleDefinitions) {
		return "", malformed
	}
	guid, ok := parseGUID(id.Name())
	if !ok {
		return "", malformed
	}
	return guid, nil
}

// FormatRoleDefinitionID gives the resource ID under which Azure shows a role
// at a scope: that of the scope's subscription or, above subscriptions, the one
// without a scope.
func FormatRoleDefinitionID(scope azure.ResourceID, guid string) string {
	parent := azure.Root()
	if s := scope.SubscriptionID(); s != "" {
		parent = azure.SubscriptionScope(s)
	}
	return parent.Resource(namespace, roleDefinitions, guid).String()
}

// AssignmentAttributes gives the condition attributes of a role assignment, for
// the guard's decision on writing it (as request attributes) or deleting it (as
// resource attributes): the role's GUID, the principal's object ID and the
// principal's type. Conditions by which Azure delegates role assignment ask for
// these. [Guard.AssignmentAttributes] also knows the type where the client left
// it out.
func AssignmentAttributes(a Assignment) map[string][]string {
	const prefix = namespace + "/roleAssignments:"
	attributes := map[string][]string{
		prefix + "RoleDefinitionId": {a.RoleDefinitionID},
		prefix + "PrincipalId":      {a.PrincipalID},
	}
	if a.PrincipalType != "" {
		attributes[prefix+"PrincipalType"] = []string{string(a.PrincipalType)}
	}
	return attributes
}

// isManagementGroup reports whether the scope is a management group.
func isManagementGroup(scope azure.ResourceID) bool {
	return azure.EqualFold(scope.Type(), "Microsoft.Management/managementGroups") && scope.Scope().IsRoot()
}

// assignableAt reports whether a role can be assigned at a scope: one of its
// assignable scopes is the scope or above it. The management group that has the
// tenant's ID for its name is the tenant's root group, and above everything.
func assignableAt(def *RoleDefinition, tenantID string, scope azure.ResourceID) bool {
	for _, text := range def.AssignableScopes {
		assignable, err := azure.ParseResourceID(text)
		if err != nil {
			continue
		}
		if assignable.Contains(scope) {
			return true
		}
		if isManagementGroup(assignable) && azure.EqualFold(assignable.Name(), tenantID) && !scope.IsRoot() {
			return true
		}
	}
	return false
}

// hasDataActions reports whether any permission of the role has data actions.
func hasDataActions(def *RoleDefinition) bool {
	for _, p := range def.Permissions {
		if len(p.DataActions) > 0 {
			return true
		}
	}
	return false
}

// quoteList joins values for an error message.
func quoteList(values []string) string { return "'" + strings.Join(values, "', '") + "'" }
