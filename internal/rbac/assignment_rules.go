package rbac

import (
	"errors"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// maxDescription is Azure's limit on descriptions of assignments and roles, in
// bytes.
const maxDescription = 2048

// principalTypes are the values of principalType.
var principalTypes = []azure.PrincipalType{
	azure.User, azure.Group, azure.ServicePrincipal, azure.ForeignGroup, azure.Device,
}

// normalizeAssignment checks what can be checked of an assignment by itself,
// and gives its GUIDs, types and versions their canonical form.
func normalizeAssignment(a Assignment) (Assignment, error) {
	name, ok := parseGUID(a.Name)
	if !ok || len(a.Name) != len(name) { // a name is part of a path: it has one form
		return a, azure.Errorf(http.StatusBadRequest, "InvalidRoleAssignmentId",
			"The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", a.Name)
	}
	if a.RoleDefinitionID, ok = parseGUID(a.RoleDefinitionID); !ok {
		return a, azure.Errorf(http.StatusBadRequest, "BadRequestFormat", "The request was incorrectly formatted.")
	}
	principal, ok := parseGUID(a.PrincipalID)
	if !ok {
		return a, azure.Errorf(http.StatusBadRequest, "InvalidPrincipalId",
			"The Principal ID '%s' is not valid. Principal ID must be a GUID.", a.PrincipalID)
	}
	a.PrincipalID = principal
	if a.PrincipalType != "" {
		if a.PrincipalType, ok = canonicalType(a.PrincipalType); !ok {
			return a, azure.Errorf(http.StatusBadRequest, "BadRequestFormat",
				"The request was incorrectly formatted. The principal type must be User, Group, ServicePrincipal, ForeignGroup or Device.")
		}
	}
	if len(a.Description) > maxDescription {
		return a, azure.Errorf(http.StatusBadRequest, "InvalidRoleAssignmentDescription",
			"The description of the role assignment is longer than %d bytes.", maxDescription)
	}
	switch {
	case a.Condition == "":
		a.ConditionVersion = ""
	case a.ConditionVersion == "":
		a.ConditionVersion = "2.0"
	}
	if err := checkCondition(a.Condition, a.ConditionVersion); err != nil {
		return a, errCondition("role assignment", err)
	}
	return a, nil
}

func canonicalType(t azure.PrincipalType) (azure.PrincipalType, bool) {
	for _, known := range principalTypes {
		if azure.EqualFold(string(t), string(known)) {
			return known, true
		}
	}
	return t, false
}

// errCondition is Azure's error for a condition that can't be read, with what
// is wrong with it, which Azure leaves out.
func errCondition(of string, err error) error {
	return azure.Errorf(http.StatusBadRequest, "InvalidRoleAssignmentCondition",
		"The given %s condition is invalid. It can't be read: %v.", of, err)
}

// checkRole checks that the role exists and can be assigned at the scope. The
// transaction depends on it.
func (g *Guard) checkRole(tx *store.Tx, a Assignment) error {
	if _, ok := builtInRole(a.RoleDefinitionID); ok {
		return nil // everywhere
	}
	def, _, err := store.GetJSON[RoleDefinition](tx, definitionKey(a.TenantID, a.RoleDefinitionID))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errRoleNotFound(compact(a.RoleDefinitionID)) // so Azure prints it here, and only here
	case err != nil:
		return err
	case isManagementGroup(a.Scope) && hasDataActions(&def):
		return azure.Errorf(http.StatusBadRequest, "InvalidCreateRoleAssignmentRequest",
			"Role assignments to Management Groups can not be made to custom role definitions with DataActions")
	case !assignableAt(&def, a.TenantID, a.Scope):
		return azure.Errorf(http.StatusBadRequest, "RoleAssignmentScopeNotAssignableToRoleDefinition",
			"The role definition '%s' (%s) can't be assigned at the scope '%s'. Its assignable scopes are %s.",
			def.ID, def.RoleName, a.Scope, quoteList(def.AssignableScopes))
	}
	return nil
}

func errRoleNotFound(id string) error {
	return azure.Errorf(http.StatusNotFound, "RoleDefinitionDoesNotExist",
		"The specified role definition with ID '%s' does not exist.", id)
}

// checkPrincipal gives the type of the assignment's principal. A principal that
// the directory does not know is accepted where the client gives its type, as
// Azure does for principals that were created a moment ago; a client ID in the
// principal's place never is, since what it would grant, it would grant to
// nobody. Azure calls that PrincipalNotFound, and so does strict mode.
func (g *Guard) checkPrincipal(a Assignment) (azure.PrincipalType, error) {
	p, kind := g.directory.FindByClientOrObjectID(a.TenantID, a.PrincipalID)
	switch {
	case kind == directory.ObjectID:
		if a.PrincipalType != "" && a.PrincipalType != p.Type {
			return "", errUnmatchedType(a.PrincipalID, p.Type, a.PrincipalType)
		}
		return p.Type, nil
	case kind != directory.UnknownID && !g.strict:
		return "", azure.Errorf(http.StatusBadRequest, "InvalidPrincipalId",
			"The Principal ID '%s' is not valid. It is the %s of %s, and a role assignment takes the object ID: use '%s'.",
			a.PrincipalID, kind, describe(p), p.ObjectID)
	case a.PrincipalType == "":
		return "", azure.Errorf(http.StatusBadRequest, "PrincipalNotFound",
			"Principal %s does not exist in the directory %s. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
			compact(a.PrincipalID), a.TenantID)
	}
	return a.PrincipalType, nil
}

// describe names a service principal for people.
func describe(p directory.Principal) string {
	switch {
	case p.ServicePrincipalType != directory.ManagedIdentityPrincipal:
		return "the application '" + p.DisplayName + "'"
	case p.SystemAssigned:
		return "the system-assigned identity of '" + p.ResourceID + "'"
	default:
		return "the managed identity '" + p.ResourceID + "'"
	}
}

// errUnmatchedType has Azure's own spelling, the blank before the comma and
// "PrinciaplType" included.
func errUnmatchedType(principal string, is, given azure.PrincipalType) error {
	return azure.Errorf(http.StatusBadRequest, "UnmatchedPrincipalType",
		"The PrincipalId '%s' has type '%s' , which is different from specified PrinciaplType '%s'.",
		compact(principal), is, given)
}
