package rbac

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// PutDefinition creates or changes a custom role. It completes d: the canonical
// GUID, the times. UpdatedBy names who does it. created tells a creation from a
// change. Errors are *azure.Error in Azure's words:
//
//   - InvalidRoleDefinitionId, InvalidRoleDefinitionType,
//     RoleDefinitionNameNullOrEmpty, InvalidRoleDefinitionName,
//     InvalidRoleDefinitionDescription, MissingAssignableScopes,
//     InvalidAssignableScopes, LinkedInvalidPropertyId,
//     InvalidActionOrNotAction, InvalidDataActionOrNotDataAction,
//     InvalidRoleAssignmentCondition (400): a malformed part
//   - RoleDefinitionExists (409): the ID of a built-in role
//   - RoleDefinitionWithSameNameExists (409): the name of another role
//   - RoleDefinitionLimitExceeded (400)
//
// That the caller may write role definitions at every assignable scope is the
// caller's duty to check.
func (g *Guard) PutDefinition(tx *store.Tx, d RoleDefinition) (stored RoleDefinition, created bool, err error) {
	if d, err = normalizeDefinition(d); err != nil {
		return RoleDefinition{}, false, err
	}
	key := definitionKey(d.TenantID, d.ID)
	old, _, err := store.GetJSON[RoleDefinition](tx, key)
	created = errors.Is(err, store.ErrNotFound)
	if err != nil && !created {
		return RoleDefinition{}, false, err
	}
	if err := takeRoleName(tx, d, old.RoleName); err != nil {
		return RoleDefinition{}, false, err
	}
	d.UpdatedOn = g.now().UTC()
	if created {
		d.CreatedOn, d.CreatedBy = d.UpdatedOn, d.UpdatedBy
		n, err := count(tx, roleCountKey(d.TenantID), 1)
		if err != nil {
			return RoleDefinition{}, false, err
		}
		if n > g.limits.CustomRoles {
			return RoleDefinition{}, false, azure.Errorf(http.StatusBadRequest, "RoleDefinitionLimitExceeded",
				"Role definition limit exceeded. No more role definitions can be created.")
		}
	} else {
		d.CreatedOn, d.CreatedBy = old.CreatedOn, old.CreatedBy
	}
	return d, created, store.PutJSON(tx, key, d)
}

// takeRoleName makes the role's name its own, and gives its old one free.
func takeRoleName(tx *store.Tx, d RoleDefinition, old string) error {
	if old != "" && azure.EqualFold(old, d.RoleName) {
		return nil
	}
	taken := azure.Errorf(http.StatusConflict, "RoleDefinitionWithSameNameExists",
		"A custom role with the same name already exists in this directory. Use a different name")
	if _, ok := builtIns().byName[azure.Fold(d.RoleName)]; ok {
		return taken
	}
	if old != "" {
		tx.Delete(roleNameKey(d.TenantID, old))
	}
	return tx.Create(roleNameKey(d.TenantID, d.RoleName), []byte(d.ID), taken)
}

// DeleteDefinition removes a custom role. An absent one is a 404
// RoleDefinitionDoesNotExist. One that is assigned stays: 400
// RoleDefinitionHasAssignments; so does a built-in one.
func (g *Guard) DeleteDefinition(tx *store.Tx, tenantID, id string) error {
	if r, ok := BuiltIn(id); ok {
		return azure.Errorf(http.StatusBadRequest, "InvalidRoleDefinitionType",
			"The role definition '%s' (%s) is built-in and can't be deleted.", r.ID, r.RoleName)
	}
	d, err := g.DefinitionIn(tx, tenantID, id)
	if err != nil {
		return err
	}
	uses, err := tx.List(usesKey(tenantID, d.ID))
	if err != nil {
		return err
	}
	if len(uses) > 0 {
		return azure.Errorf(http.StatusBadRequest, "RoleDefinitionHasAssignments",
			"There are existing role assignments referencing role (code: RoleDefinitionHasAssignments).")
	}
	tx.Delete(definitionKey(tenantID, d.ID))
	tx.Delete(roleNameKey(tenantID, d.RoleName))
	_, err = count(tx, roleCountKey(tenantID), -1)
	return err
}

// DefinitionIn reads a role definition in a transaction, a built-in one too. An
// absent one is a 404 RoleDefinitionDoesNotExist.
func (g *Guard) DefinitionIn(tx *store.Tx, tenantID, id string) (RoleDefinition, error) {
	guid, ok := parseGUID(id)
	if !ok {
		return RoleDefinition{}, errRoleNotFound(id)
	}
	if r, ok := builtInRole(guid); ok {
		return *r.def, nil
	}
	d, _, err := store.GetJSON[RoleDefinition](tx, definitionKey(tenantID, guid))
	if errors.Is(err, store.ErrNotFound) {
		return RoleDefinition{}, errRoleNotFound(id)
	}
	return d, err
}

// GetDefinition reads a role definition, linearizably, a built-in one too. An
// absent one is a 404 RoleDefinitionDoesNotExist.
func (g *Guard) GetDefinition(ctx context.Context, tenantID, id string) (RoleDefinition, error) {
	guid, ok := parseGUID(id)
	if !ok {
		return RoleDefinition{}, errRoleNotFound(id)
	}
	if r, ok := builtInRole(guid); ok {
		return *r.def, nil
	}
	e, err := g.store.Get(ctx, definitionKey(tenantID, guid))
	if errors.Is(err, store.ErrNotFound) {
		return RoleDefinition{}, errRoleNotFound(id)
	}
	if err != nil {
		return RoleDefinition{}, fmt.Errorf("reading role definition %s: %w", id, err)
	}
	return decode[RoleDefinition](e)
}

// ListDefinitions reads a tenant's custom roles, linearizably, in the order of
// their IDs. [BuiltIns] gives the others.
func (g *Guard) ListDefinitions(ctx context.Context, tenantID string) ([]RoleDefinition, error) {
	return list[RoleDefinition](ctx, g.store, tenantKey(tenantID, kindDefinition))
}
