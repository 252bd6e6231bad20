package rbac

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// PutAssignment creates a role assignment or changes what may be changed of
// one: its description and condition. It completes a: the canonical form of
// GUIDs, the principal's type, the times. UpdatedBy names who does it. created
// tells a creation from a change. Errors are *azure.Error in Azure's words:
//
//   - InvalidRoleAssignmentId, InvalidPrincipalId, BadRequestFormat,
//     InvalidRoleAssignmentCondition (400): a malformed part
//   - RoleDefinitionDoesNotExist (404)
//   - RoleAssignmentScopeNotAssignableToRoleDefinition,
//     InvalidCreateRoleAssignmentRequest (400): a custom role that can't be
//     assigned at the scope
//   - PrincipalNotFound, UnmatchedPrincipalType (400)
//   - RoleAssignmentUpdateNotPermitted (400): the name belongs to another
//     assignment
//   - RoleAssignmentExists (409): the same under another name
//   - RoleAssignmentLimitExceeded (400)
//   - CannotDeleteLastRbacAdminAssignment (400): a condition on the last
//     assignment by which an enabled service principal manages access at the root
//
// That the scope exists, and that the caller may write there, is the caller's
// duty to check.
func (g *Guard) PutAssignment(tx *store.Tx, a Assignment) (stored Assignment, created bool, err error) {
	if a, err = normalizeAssignment(a); err != nil {
		return Assignment{}, false, err
	}
	if s, ok := g.directory.Subscription(a.Scope.SubscriptionID()); ok && !azure.EqualFold(s.TenantID, a.TenantID) {
		return Assignment{}, false, fmt.Errorf("rbac: the subscription of %s is not the tenant's %s", a.Scope, a.TenantID)
	}
	old, _, err := store.GetJSON[Assignment](tx, assignmentKey(a.TenantID, a.Name))
	switch {
	case err == nil:
		return g.updateAssignment(tx, old, a)
	case !errors.Is(err, store.ErrNotFound):
		return Assignment{}, false, err
	}
	if err := g.checkRole(tx, a); err != nil {
		return Assignment{}, false, err
	}
	if a.PrincipalType, err = g.checkPrincipal(a); err != nil {
		return Assignment{}, false, err
	}
	if same, err := tx.Get(tripleKey(a)); err == nil {
		return Assignment{}, false, azure.Errorf(http.StatusConflict, "RoleAssignmentExists",
			"The role assignment already exists. The ID of the existing role assignment is %s.", compact(string(same.Value)))
	} else if !errors.Is(err, store.ErrNotFound) {
		return Assignment{}, false, err
	}
	a.CreatedOn, a.CreatedBy = g.now().UTC(), a.UpdatedBy
	a.UpdatedOn = a.CreatedOn
	if err := g.index(tx, a); err != nil {
		return Assignment{}, false, err
	}
	return a, true, store.PutJSON(tx, assignmentKey(a.TenantID, a.Name), a)
}

// updateAssignment changes an assignment in place. Azure does not look at the
// principal again: it may have been deleted meanwhile.
func (g *Guard) updateAssignment(tx *store.Tx, old, a Assignment) (Assignment, bool, error) {
	if tripleKey(old) != tripleKey(a) {
		return Assignment{}, false, azure.Errorf(http.StatusBadRequest, "RoleAssignmentUpdateNotPermitted",
			"Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
	}
	if p, ok := g.directory.Principal(a.TenantID, a.PrincipalID); ok && a.PrincipalType != "" && a.PrincipalType != p.Type {
		return Assignment{}, false, errUnmatchedType(a.PrincipalID, p.Type, a.PrincipalType)
	}
	if a.Description == old.Description && a.Condition == old.Condition && a.ConditionVersion == old.ConditionVersion {
		return old, false, nil
	}
	if a.Condition != "" && old.Condition == "" { // which takes as much as its deletion
		if err := g.keepAdministration(tx, old); err != nil {
			return Assignment{}, false, err
		}
	}
	changed := old
	changed.Description, changed.Condition, changed.ConditionVersion = a.Description, a.Condition, a.ConditionVersion
	changed.UpdatedOn, changed.UpdatedBy = g.now().UTC(), a.UpdatedBy
	return changed, false, store.PutJSON(tx, assignmentKey(old.TenantID, old.Name), changed)
}

// index writes the guard and index keys of a new assignment, within the limit.
func (g *Guard) index(tx *store.Tx, a Assignment) error {
	name := []byte(azure.Fold(a.Name))
	if s := a.Scope.SubscriptionID(); s != "" {
		n, err := count(tx, assignmentCountKey(a.TenantID, s), 1)
		if err != nil {
			return err
		}
		if n > g.limits.AssignmentsPerSubscription {
			return azure.Errorf(http.StatusBadRequest, "RoleAssignmentLimitExceeded",
				"The number of role assignments for the subscription exceeds the limit.")
		}
	}
	tx.Put(tripleKey(a), name)
	if _, builtIn := builtInRole(a.RoleDefinitionID); !builtIn {
		tx.Put(usesKey(a.TenantID, a.RoleDefinitionID)+string(name), nil)
	}
	if managesAccess(a) {
		tx.Put(adminsKey(a.TenantID, a.Scope.SubscriptionID())+string(name), nil)
	}
	return nil
}

// unindex removes an assignment with its keys, but for the count.
func unindex(tx *store.Tx, a Assignment) {
	tx.Delete(assignmentKey(a.TenantID, a.Name))
	tx.Delete(tripleKey(a))
	if _, builtIn := builtInRole(a.RoleDefinitionID); !builtIn {
		tx.Delete(usesKey(a.TenantID, a.RoleDefinitionID) + azure.Fold(a.Name))
	}
	if managesAccess(a) {
		tx.Delete(adminsKey(a.TenantID, a.Scope.SubscriptionID()) + azure.Fold(a.Name))
	}
}

// managesAccess reports whether the assignment makes its principal an
// administrator of the subscription's access, at the subscription itself.
func managesAccess(a Assignment) bool {
	s := a.Scope.SubscriptionID()
	return s != "" && a.Scope.Equal(azure.SubscriptionScope(s)) &&
		(a.RoleDefinitionID == azure.RoleOwner || a.RoleDefinitionID == azure.RoleUserAccessAdministrator)
}

// count adds to a counter and gives its new value.
func count(tx *store.Tx, key string, delta int) (int, error) {
	n, _, err := store.GetJSON[int](tx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	n = max(0, n+delta)
	if n == 0 {
		tx.Delete(key)
		return 0, nil
	}
	return n, store.PutJSON(tx, key, n)
}

// AssignmentIn reads a role assignment in a transaction. An absent one is a 404
// RoleAssignmentNotFound.
func (g *Guard) AssignmentIn(tx *store.Tx, tenantID, name string) (Assignment, error) {
	a, _, err := store.GetJSON[Assignment](tx, assignmentKey(tenantID, name))
	if errors.Is(err, store.ErrNotFound) {
		return Assignment{}, errAssignmentNotFound(name)
	}
	return a, err
}

// DeleteAssignment removes a role assignment. An absent one is a 404
// RoleAssignmentNotFound. The last Owner or User Access Administrator at a
// subscription stays, and so does the last one at the root that is an enabled
// service principal: 400 CannotDeleteLastRbacAdminAssignment.
func (g *Guard) DeleteAssignment(tx *store.Tx, tenantID, name string) error {
	a, err := g.AssignmentIn(tx, tenantID, name)
	if err != nil {
		return err
	}
	s := a.Scope.SubscriptionID()
	if managesAccess(a) {
		admins, err := tx.List(adminsKey(tenantID, s))
		if err != nil {
			return err
		}
		if len(admins) <= 1 {
			return azure.Errorf(http.StatusBadRequest, "CannotDeleteLastRbacAdminAssignment",
				"Cannot delete the last RBAC admin assignment")
		}
	}
	if err := g.keepAdministration(tx, a); err != nil {
		return err
	}
	unindex(tx, a)
	if s != "" {
		_, err = count(tx, assignmentCountKey(tenantID, s), -1)
	}
	return err
}

// MaxDeleteBelow is how many assignments [Guard.DeleteBelow] removes at most:
// with their indexes they leave room in a transaction for a caller's own keys.
const MaxDeleteBelow = 16

// DeleteBelow removes up to limit assignments at or below a scope that is going
// away, the last administrators included; more tells that others are left. A
// limit of 0, or above [MaxDeleteBelow], means MaxDeleteBelow.
func (g *Guard) DeleteBelow(tx *store.Tx, tenantID string, scope azure.ResourceID, limit int) (more bool, err error) {
	if limit <= 0 || limit > MaxDeleteBelow {
		limit = MaxDeleteBelow
	}
	triples, err := tx.List(triplesKey(tenantID, scope))
	if err != nil {
		return false, err
	}
	removed := map[string]int{} // by subscription
	for _, e := range triples[:min(limit, len(triples))] {
		a, ok := parseTriple(tenantID, e.Key)
		if !ok {
			return false, fmt.Errorf("rbac: malformed key %s", e.Key)
		}
		a.Name = string(e.Value)
		unindex(tx, a)
		if s := a.Scope.SubscriptionID(); s != "" {
			removed[s]++
		}
	}
	for s, n := range removed {
		if _, err := count(tx, assignmentCountKey(tenantID, s), -n); err != nil {
			return false, err
		}
	}
	return len(triples) > limit, nil
}

// GetAssignment reads a role assignment, linearizably. An absent one is a 404
// RoleAssignmentNotFound.
func (g *Guard) GetAssignment(ctx context.Context, tenantID, name string) (Assignment, error) {
	e, err := g.store.Get(ctx, assignmentKey(tenantID, name))
	if errors.Is(err, store.ErrNotFound) {
		return Assignment{}, errAssignmentNotFound(name)
	}
	if err != nil {
		return Assignment{}, fmt.Errorf("reading role assignment %s: %w", name, err)
	}
	return decode[Assignment](e)
}

// ListAssignments reads all role assignments of a tenant, linearizably, in the
// order of their names. [FilterAssignments] narrows them to a scope.
func (g *Guard) ListAssignments(ctx context.Context, tenantID string) ([]Assignment, error) {
	return list[Assignment](ctx, g.store, tenantKey(tenantID, kindAssignment))
}

func errAssignmentNotFound(name string) error {
	return azure.Errorf(http.StatusNotFound, "RoleAssignmentNotFound", "The role assignment '%s' is not found.", name)
}

func decode[T any](e store.Entry) (T, error) {
	var v T
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return v, fmt.Errorf("decoding %s: %w", e.Key, err)
	}
	return v, nil
}

func list[T any](ctx context.Context, st *store.Store, prefix string) ([]T, error) {
	page, err := st.List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", prefix, err)
	}
	all := make([]T, 0, len(page.Entries))
	for _, e := range page.Entries {
		v, err := decode[T](e)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}
