package rbac

import (
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Permission is one permission of a role definition; its JSON is Azure
// Resource Manager's. NotActions and NotDataActions subtract within this one
// permission only: another permission, or another role, may grant the same.
type Permission struct {
	// Actions are patterns of control plane actions, as [Match] reads them.
	Actions []string `json:"actions"`
	// NotActions are taken out of Actions.
	NotActions []string `json:"notActions"`
	// DataActions are patterns of data plane actions. No control plane pattern,
	// not even Owner's "*", covers one.
	DataActions []string `json:"dataActions"`
	// NotDataActions are taken out of DataActions.
	NotDataActions []string `json:"notDataActions"`
	// Condition narrows the permission; empty: none.
	Condition string `json:"condition,omitempty"`
	// ConditionVersion is "2.0" or, in one built-in role, "1.0".
	ConditionVersion string `json:"conditionVersion,omitempty"`
}

// RoleDefinition is a role: built-in (the same in every tenant, TenantID "") or
// custom. Its JSON is the stored form of a custom role. The values that this
// package hands out share their slices: do not change them.
type RoleDefinition struct {
	// ID is the GUID that names the role.
	ID string `json:"id"`
	// TenantID is the tenant of a custom role; empty for a built-in one.
	TenantID string `json:"tenantId,omitempty"`
	// RoleName is the display name: unique in the tenant, without regard to case.
	RoleName    string `json:"roleName"`
	Description string `json:"description,omitempty"`
	// Custom tells a custom role from a built-in one.
	Custom bool `json:"custom,omitempty"`
	// AssignableScopes are the scopes at and below which the role can be
	// assigned: "/" for a built-in role.
	AssignableScopes []string     `json:"assignableScopes"`
	Permissions      []Permission `json:"permissions"`
	CreatedOn        time.Time    `json:"createdOn,omitzero"`
	UpdatedOn        time.Time    `json:"updatedOn,omitzero"`
	// CreatedBy and UpdatedBy are object IDs.
	CreatedBy string `json:"createdBy,omitempty"`
	UpdatedBy string `json:"updatedBy,omitempty"`
}

// Assignment is a role assignment: this principal has this role at this scope
// and below. Its JSON is the stored form.
type Assignment struct {
	// Name is the GUID that names the assignment, unique in the tenant.
	Name string `json:"name"`
	// TenantID is the tenant of the scope.
	TenantID string `json:"tenantId"`
	// Scope is where the role holds, and everything below it.
	Scope azure.ResourceID `json:"scope"`
	// RoleDefinitionID is the role's GUID alone; [FormatRoleDefinitionID] makes
	// the resource ID that Azure shows.
	RoleDefinitionID string `json:"roleDefinitionId"`
	// PrincipalID is an object ID. It may name no principal of the directory:
	// one that is yet to come, or one that was deleted.
	PrincipalID   string              `json:"principalId"`
	PrincipalType azure.PrincipalType `json:"principalType,omitempty"`
	Description   string              `json:"description,omitempty"`
	// Condition narrows what the role grants; empty: none.
	Condition        string `json:"condition,omitempty"`
	ConditionVersion string `json:"conditionVersion,omitempty"`
	// DelegatedManagedIdentityResourceID is kept for the client; nothing is
	// decided from it.
	DelegatedManagedIdentityResourceID string    `json:"delegatedManagedIdentityResourceId,omitempty"`
	CreatedOn                          time.Time `json:"createdOn,omitzero"`
	UpdatedOn                          time.Time `json:"updatedOn,omitzero"`
	// CreatedBy and UpdatedBy are object IDs.
	CreatedBy string `json:"createdBy,omitempty"`
	UpdatedBy string `json:"updatedBy,omitempty"`
}

// Request is a question to the guard.
type Request struct {
	// Caller is who asks, as its verified token says.
	Caller azure.Caller
	// Action is what the caller wants to do, such as
	// "Microsoft.Authorization/roleAssignments/write". Case does not matter.
	Action string
	// Data tells a data plane action from a control plane one.
	Data bool
	// Scope is the resource, or the scope above it, that the action is on.
	Scope azure.ResourceID
	// TenantID is the tenant whose scope it is, where the scope lies outside of
	// subscriptions; empty: the caller's own. A caller of another is denied.
	TenantID string
	// Unconditional lets only assignments and permissions count that have no
	// condition: for actions which a condition's author could not have thought
	// of, and by which whatever the condition withholds could be had.
	Unconditional bool
	// RequestAttributes and ResourceAttributes are what conditions may ask for
	// as @Request[name] and @Resource[name], by name:
	// "Microsoft.Authorization/roleAssignments:RoleDefinitionId". The suboperation
	// of a data action is the request attribute [SubOperation]. A comparison
	// with an attribute that is absent is never satisfied.
	RequestAttributes, ResourceAttributes map[string][]string
}

// SubOperation names the request attribute that holds the suboperation
// ("Blob.List"), for conditions with SubOperationMatches.
const SubOperation = "subOperation"

// Decision is the answer, with what explains it. Assignment and Role are
// shared: do not change what they point to.
type Decision struct {
	// Allowed is the answer; the zero Decision denies.
	Allowed bool
	// Assignment is what allowed it; nil when denied.
	Assignment *Assignment
	// Role is the assignment's role; nil when denied.
	Role *RoleDefinition
	// Reason says in words for people why it is allowed or denied. It names only
	// the caller's own role assignments.
	Reason string
}
