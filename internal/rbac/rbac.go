// Package rbac decides what a principal may do at a scope: built-in and custom
// roles, role assignments, the pure Allow, and Guard.Check, the only door: it
// decides and audits.
package rbac

import (
	"context"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// Permission of a role definition; JSON as ARM's.
type Permission struct {
	Actions          []string `json:"actions"`
	NotActions       []string `json:"notActions"`
	DataActions      []string `json:"dataActions"`
	NotDataActions   []string `json:"notDataActions"`
	Condition        string   `json:"condition,omitempty"`
	ConditionVersion string   `json:"conditionVersion,omitempty"`
}

// RoleDefinition: built-in (TenantID "") or custom.
type RoleDefinition struct {
	ID, TenantID, RoleName, Description string // ID: GUID
	Custom                              bool
	AssignableScopes                    []string
	Permissions                         []Permission
	CreatedOn, UpdatedOn                time.Time
	CreatedBy, UpdatedBy                string
}

// Assignment is a role assignment.
type Assignment struct {
	Name, TenantID                                                               string // Name: GUID, unique in the tenant
	Scope                                                                        azure.ResourceID
	RoleDefinitionID                                                             string // GUID
	PrincipalID                                                                  string
	PrincipalType                                                                azure.PrincipalType
	Description, Condition, ConditionVersion, DelegatedManagedIdentityResourceID string
	CreatedOn, UpdatedOn                                                         time.Time
	CreatedBy, UpdatedBy                                                         string
}

// Match reports whether an action pattern covers an action: whole, folded, "*" any run of characters, "/*/" also a single "/".
func Match(pattern, action string) bool { panic("unwritten") }

// BuiltIn gives a built-in role by GUID; BuiltIns all 928, sorted by name.
func BuiltIn(id string) (RoleDefinition, bool) { panic("unwritten") }
func BuiltIns() []RoleDefinition               { panic("unwritten") }

// Request is a question to the guard.
type Request struct {
	Caller azure.Caller
	Action string
	Data   bool // a data action
	Scope  azure.ResourceID
	// Attributes for conditions: "@Request[...]"/"@Resource[...]" names to values, e.g.
	// "Microsoft.Authorization/roleAssignments:RoleDefinitionId".
	RequestAttributes, ResourceAttributes map[string][]string
}

// Decision is the answer, with what explains it.
type Decision struct {
	Allowed    bool
	Assignment *Assignment // that allowed it
	Role       *RoleDefinition
	Reason     string // words for people: why allowed or denied
}

// Guard holds the views of definitions and assignments.
type Guard struct{ _ int }

func NewGuard(ctx context.Context, st *store.Store, dir *directory.Directory, log *audit.Log, now func() time.Time) (*Guard, error) {
	panic("unwritten")
}

// Check decides and audits. The error is non-nil when no decision can be made
// or kept (stale views, audit refused): treat as 503, never as allowed.
// A scope in another tenant's subscription is denied.
func (g *Guard) Check(ctx context.Context, r Request) (Decision, error) { panic("unwritten") }

// Filter reports, without an audit record of each, which of the scopes the caller may do action at: for lists that Azure filters.
func (g *Guard) Filter(ctx context.Context, c azure.Caller, action string, scopes []azure.ResourceID) ([]bool, error) {
	panic("unwritten")
}

// Reaches reports whether the caller has any assignment at, above or below the scope (subscription lists).
func (g *Guard) Reaches(c azure.Caller, scope azure.ResourceID) bool { panic("unwritten") }

// Permissions gives the caller's effective permissions at a scope, one per role.
func (g *Guard) Permissions(c azure.Caller, scope azure.ResourceID) []Permission { panic("unwritten") }

// Role gives a role definition by GUID as seen in a tenant (view).
func (g *Guard) Role(tenantID, id string) (RoleDefinition, bool) { panic("unwritten") }

// --- persistence, in transactions; errors are *azure.Error in ARM's words ---
// PutAssignment checks names, triples, immutables, limits (4,000), role exists and assignable at scope, and writes.
func (g *Guard) PutAssignment(tx *store.Tx, a Assignment) (stored Assignment, created bool, err error) {
	panic("unwritten")
}
func (g *Guard) DeleteAssignment(tx *store.Tx, tenantID, name string) error { panic("unwritten") }

// GetAssignment, ListAssignments read linearizably.
func (g *Guard) GetAssignment(ctx context.Context, tenantID, name string) (Assignment, error) {
	panic("unwritten")
}
func (g *Guard) ListAssignments(ctx context.Context, tenantID string) ([]Assignment, error) {
	panic("unwritten")
}

// DeleteBelow removes up to limit assignments at or below scope; more tells that there are others left (cascades).
func (g *Guard) DeleteBelow(tx *store.Tx, tenantID string, scope azure.ResourceID, limit int) (more bool, err error) {
	panic("unwritten")
}
func (g *Guard) PutDefinition(tx *store.Tx, d RoleDefinition) (stored RoleDefinition, created bool, err error) {
	panic("unwritten")
}
func (g *Guard) DeleteDefinition(tx *store.Tx, tenantID, id string) error { panic("unwritten") }
func (g *Guard) ListDefinitions(ctx context.Context, tenantID string) ([]RoleDefinition, error) {
	panic("unwritten")
} // custom ones
