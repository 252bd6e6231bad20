package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/rbac"
)

// roleDefinitions is Microsoft.Authorization/roleDefinitions: the built-in
// roles, which every scope shows, and a tenant's custom ones.
func roleDefinitions(cfg Config) arm.Type {
	p := definitionProvider{guard: cfg.Guard}
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.Authorization/roleDefinitions",
		Versions: []string{
			"2022-05-01-preview", "2022-04-01", "2018-07-01", "2018-01-01-preview", "2017-09-01", "2016-07-01", "2015-07-01", "2015-06-01",
		},
		In: arm.AtAnyScope,
	}, arm.VirtualHooks{Get: p.get, List: p.list, Put: p.put, Delete: p.delete, Linked: p.linked})
}

type definitionProvider struct{ guard *rbac.Guard }

// definitionBody is the body of a PUT.
type definitionBody struct {
	Properties *struct {
		RoleName         string            `json:"roleName"`
		Type             string            `json:"type"`
		Description      string            `json:"description"`
		AssignableScopes []string          `json:"assignableScopes"`
		Permissions      []rbac.Permission `json:"permissions"`
	} `json:"properties"`
}

// parse makes the custom role that a PUT asks for.
func (definitionProvider) parse(r *arm.Request, body json.RawMessage) (rbac.RoleDefinition, error) {
	malformed := azure.Errorf(http.StatusBadRequest, "BadRequestFormat", "The request was incorrectly formatted.")
	var b definitionBody
	if err := json.Unmarshal(body, &b); err != nil || b.Properties == nil {
		return rbac.RoleDefinition{}, malformed
	}
	if t := b.Properties.Type; t != "" && !azure.EqualFold(t, "CustomRole") {
		return rbac.RoleDefinition{}, malformed
	}
	return rbac.RoleDefinition{
		ID: r.Name, TenantID: r.TenantID, RoleName: b.Properties.RoleName, Description: b.Properties.Description,
		Custom: true, AssignableScopes: b.Properties.AssignableScopes, Permissions: b.Properties.Permissions,
		UpdatedBy: r.Caller.ObjectID,
	}, nil
}

// linked asks for the same action on each of the role's assignable scopes, the
// old ones and the new: a role is as powerful in all of them, wherever the
// request came by.
func (p definitionProvider) linked(ctx context.Context, r *arm.Request, operation string, body json.RawMessage) ([]arm.Linked, error) {
	var scopes []string
	switch old, err := p.guard.GetDefinition(ctx, r.TenantID, r.Name); {
	case err == nil && old.Custom:
		scopes = append(scopes, old.AssignableScopes...)
	case err != nil && !notFound(err):
		return nil, err
	}
	if operation == "write" {
		d, err := p.parse(r, body)
		if err != nil {
			return nil, err
		}
		scopes = append(scopes, d.AssignableScopes...)
	}
	var linked []arm.Linked
	for _, text := range scopes {
		// A scope that cannot be read is refused by the guard, with its reason.
		if scope, err := azure.ParseResourceID(text); err == nil {
			linked = append(linked, arm.Linked{Action: "Microsoft.Authorization/roleDefinitions/" + operation, Scope: scope})
		}
	}
	return linked, nil
}

// find gives the role that a request names, if it has to do with the scope.
func (p definitionProvider) find(ctx context.Context, r *arm.Request) (rbac.RoleDefinition, error) {
	d, err := named(ctx, r, p.guard.DefinitionIn, p.guard.GetDefinition)
	if err != nil {
		return rbac.RoleDefinition{}, err
	}
	if !assignable(d, r.ID.Scope(), true) {
		return rbac.RoleDefinition{}, azure.Errorf(http.StatusNotFound, "RoleDefinitionDoesNotExist",
			"The specified role definition with ID '%s' does not exist.", r.Name)
	}
	return d, nil
}

func (p definitionProvider) get(ctx context.Context, r *arm.Request) (any, error) {
	d, err := p.find(ctx, r)
	if err != nil {
		return nil, err
	}
	return showDefinition(d, r.ID.Scope()), nil
}

func (p definitionProvider) put(_ context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
	d, err := p.parse(r, body)
	if err != nil {
		return 0, nil, err
	}
	if d, _, err = p.guard.PutDefinition(r.Tx, d); err != nil {
		return 0, nil, err
	}
	// 201 also for a change: clients take nothing else.
	return http.StatusCreated, showDefinition(d, r.ID.Scope()), nil
}

func (p definitionProvider) delete(ctx context.Context, r *arm.Request) (int, any, error) {
	d, err := p.find(ctx, r)
	if notFound(err) {
		return http.StatusNoContent, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	if err := p.guard.DeleteDefinition(r.Tx, r.TenantID, d.ID); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, showDefinition(d, r.ID.Scope()), nil
}

const definitionFilters = "'atScopeAndBelow()' or 'roleName eq '{value}'' or 'type eq '{value}''"

// list gives the roles that can be assigned at the scope, narrowed by $filter;
// with atScopeAndBelow() also the custom ones that can be assigned below it.
func (p definitionProvider) list(ctx context.Context, r *arm.Request) ([]any, error) {
	filter := r.Query.Get("$filter")
	terms, ok := parseFilter(filter)
	if !ok {
		return nil, unsupportedFilter(filter, definitionFilters)
	}
	below, name, kind := false, "", ""
	for _, t := range terms {
		switch {
		case t.name == "atscope" && t.call && t.value == "":
		case t.name == "atscopeandbelow" && t.call && t.value == "":
			below = true
		case t.name == "rolename" && !t.call && t.value != "" && name == "":
			name = t.value
		case t.name == "type" && !t.call && kind == "" &&
			(azure.EqualFold(t.value, "BuiltInRole") || azure.EqualFold(t.value, "CustomRole")):
			kind = azure.Fold(t.value)
		default:
			return nil, unsupportedFilter(filter, definitionFilters)
		}
	}
	custom, err := p.guard.ListDefinitions(ctx, r.TenantID)
	if err != nil {
		return nil, err
	}
	items := []any{}
	for _, d := range slices.Concat(rbac.BuiltIns(), custom) {
		if kind != "" && kind != azure.Fold(definitionType(d)) || name != "" && !azure.EqualFold(name, d.RoleName) {
			continue
		}
		if assignable(d, r.ID, below) {
			items = append(items, showDefinition(d, r.ID))
		}
	}
	return items, nil
}

// assignable reports whether a role can be assigned at a scope or, with below,
// somewhere in it.
func assignable(d rbac.RoleDefinition, at azure.ResourceID, below bool) bool {
	return slices.ContainsFunc(d.AssignableScopes, func(text string) bool {
		scope, err := azure.ParseResourceID(text)
		return err == nil && (scope.Contains(at) || below && at.Contains(scope))
	})
}

func definitionType(d rbac.RoleDefinition) string {
	if d.Custom {
		return "CustomRole"
	}
	return "BuiltInRole"
}

// definitionResource is a role definition on the wire.
type definitionResource struct {
	Properties definitionProperties `json:"properties"`
	ID         string               `json:"id"`
	Type       string               `json:"type"`
	Name       string               `json:"name"`
}

type definitionProperties struct {
	RoleName         string            `json:"roleName"`
	Type             string            `json:"type"`
	Description      string            `json:"description"`
	AssignableScopes []string          `json:"assignableScopes"`
	Permissions      []rbac.Permission `json:"permissions"`
	CreatedOn        *time.Time        `json:"createdOn"`
	UpdatedOn        *time.Time        `json:"updatedOn"`
	CreatedBy        *string           `json:"createdBy"`
	UpdatedBy        *string           `json:"updatedBy"`
}

func showDefinition(d rbac.RoleDefinition, at azure.ResourceID) definitionResource {
	return definitionResource{
		Properties: definitionProperties{
			RoleName: d.RoleName, Type: definitionType(d), Description: d.Description,
			AssignableScopes: d.AssignableScopes, Permissions: showPermissions(d.Permissions),
			CreatedOn: orNull(d.CreatedOn), UpdatedOn: orNull(d.UpdatedOn),
			CreatedBy: orNull(d.CreatedBy), UpdatedBy: orNull(d.UpdatedBy),
		},
		ID: rbac.FormatRoleDefinitionID(at, d.ID), Type: "Microsoft.Authorization/roleDefinitions", Name: d.ID,
	}
}

// showPermissions gives lists where there are none: clients fail on null.
func showPermissions(permissions []rbac.Permission) []rbac.Permission {
	shown := make([]rbac.Permission, len(permissions))
	for i, p := range permissions {
		for _, list := range []*[]string{&p.Actions, &p.NotActions, &p.DataActions, &p.NotDataActions} {
			if *list == nil {
				*list = []string{}
			}
		}
		shown[i] = p
	}
	return shown
}
