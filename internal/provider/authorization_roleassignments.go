package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
)

// roleAssignments is Microsoft.Authorization/roleAssignments: the wire of what
// the guard keeps. It extends any scope.
func roleAssignments(cfg Config) arm.Type {
	p := assignmentProvider{guard: cfg.Guard}
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.Authorization/roleAssignments",
		Versions: []string{
			"2022-04-01", "2022-01-01-preview", "2021-04-01-preview", "2020-10-01-preview", "2020-08-01-preview",
			"2020-04-01-preview", "2020-03-01-preview", "2018-09-01-preview", "2018-01-01-preview", "2017-10-01-preview",
			"2015-07-01", "2015-06-01",
		},
		In: arm.AtAnyScope, CheckName: checkAssignmentName,
	}, arm.VirtualHooks{Get: p.get, List: p.list, Put: p.put, Delete: p.delete, Attributes: p.attributes})
}

type assignmentProvider struct{ guard *rbac.Guard }

func checkAssignmentName(name string) error {
	if azure.IsGUID(name) {
		return nil
	}
	return azure.Errorf(http.StatusBadRequest, "InvalidRoleAssignmentId",
		"The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", name)
}

// assignmentBody is the body of a PUT.
type assignmentBody struct {
	Properties *struct {
		RoleDefinitionID                   string `json:"roleDefinitionId"`
		PrincipalID                        string `json:"principalId"`
		PrincipalType                      string `json:"principalType"`
		Description                        string `json:"description"`
		Condition                          string `json:"condition"`
		ConditionVersion                   string `json:"conditionVersion"`
		DelegatedManagedIdentityResourceID string `json:"delegatedManagedIdentityResourceId"`
	} `json:"properties"`
}

// parse makes the assignment that a PUT asks for.
func (assignmentProvider) parse(r *arm.Request, body json.RawMessage) (rbac.Assignment, error) {
	var b assignmentBody
	if err := json.Unmarshal(body, &b); err != nil || b.Properties == nil {
		return rbac.Assignment{}, azure.Errorf(http.StatusBadRequest, "BadRequestFormat", "The request was incorrectly formatted.")
	}
	role, err := rbac.ParseRoleDefinitionID(b.Properties.RoleDefinitionID)
	if err != nil {
		return rbac.Assignment{}, err
	}
	return rbac.Assignment{
		Name: r.Name, TenantID: r.TenantID, Scope: r.ID.Scope(), RoleDefinitionID: role,
		PrincipalID: b.Properties.PrincipalID, PrincipalType: azure.PrincipalType(b.Properties.PrincipalType),
		Description: b.Properties.Description, Condition: b.Properties.Condition, ConditionVersion: b.Properties.ConditionVersion,
		DelegatedManagedIdentityResourceID: b.Properties.DelegatedManagedIdentityResourceID,
		UpdatedBy:                          r.Caller.ObjectID,
	}, nil
}

// attributes tells the guard what is being assigned or taken away, for the
// conditions by which Azure delegates role assignment. A body that cannot be
// read gives none, which satisfies no condition.
func (p assignmentProvider) attributes(ctx context.Context, method string, r *arm.Request, body json.RawMessage) (request, resource map[string][]string) {
	switch method {
	case http.MethodPut:
		if a, err := p.parse(r, body); err == nil {
			request = p.guard.AssignmentAttributes(a)
		}
	case http.MethodDelete:
		if a, err := p.guard.GetAssignment(ctx, r.TenantID, r.Name); err == nil && a.Scope.Equal(r.ID.Scope()) {
			resource = p.guard.AssignmentAttributes(a)
		}
	}
	return request, resource
}

// find gives the assignment that a request names. Names are unique in the
// tenant, so that the tenant's own scope finds one wherever it is; any other
// scope must be the assignment's, or a permission at one scope would reach to
// another.
func (p assignmentProvider) find(ctx context.Context, r *arm.Request) (rbac.Assignment, error) {
	if err := checkAssignmentName(r.Name); err != nil {
		return rbac.Assignment{}, err
	}
	a, err := named(ctx, r, p.guard.AssignmentIn, p.guard.GetAssignment)
	if err != nil {
		return rbac.Assignment{}, err
	}
	if at := r.ID.Scope(); !at.IsRoot() && !at.Equal(a.Scope) {
		return rbac.Assignment{}, azure.Errorf(http.StatusNotFound, "RoleAssignmentNotFound",
			"The role assignment '%s' is not found.", r.Name)
	}
	return a, nil
}

// named reads what a request names in its tenant: in its transaction, where it has
// one.
func named[T any](ctx context.Context, r *arm.Request,
	in func(tx *store.Tx, tenantID, name string) (T, error), get func(ctx context.Context, tenantID, name string) (T, error)) (T, error) {
	if r.Tx != nil {
		return in(r.Tx, r.TenantID, r.Name)
	}
	return get(ctx, r.TenantID, r.Name)
}

func (p assignmentProvider) get(ctx context.Context, r *arm.Request) (any, error) {
	a, err := p.find(ctx, r)
	if err != nil {
		return nil, err
	}
	return showAssignment(a, r.APIVersion), nil
}

func (p assignmentProvider) put(_ context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
	a, err := p.parse(r, body)
	if err != nil {
		return 0, nil, err
	}
	a, created, err := p.guard.PutAssignment(r.Tx, a)
	if err != nil {
		return 0, nil, err
	}
	// Clients of the older versions take nothing but 201, also for a repetition.
	status := http.StatusCreated
	if !created && r.APIVersion >= "2022-04-01" {
		status = http.StatusOK
	}
	return status, showAssignment(a, r.APIVersion), nil
}

func (p assignmentProvider) delete(ctx context.Context, r *arm.Request) (int, any, error) {
	a, err := p.find(ctx, r)
	if notFound(err) {
		return http.StatusNoContent, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	if err := p.guard.DeleteAssignment(r.Tx, r.TenantID, a.Name); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, showAssignment(a, r.APIVersion), nil
}

// notFound reports whether an error is a 404 that a client would see.
func notFound(err error) bool {
	e, ok := errors.AsType[*azure.Error](err)
	return ok && e.Status == http.StatusNotFound
}

// assignmentFilters is what Azure's error says of the filters.
const assignmentFilters = "'atScope()' or 'principalId eq '{value}' or assignedTo('{value}')'"

// list gives the assignments at, above and below the scope, narrowed by
// $filter: atScope() leaves out those below, principalId keeps one principal's,
// assignedTo also those of the groups that hold it.
func (p assignmentProvider) list(ctx context.Context, r *arm.Request) ([]any, error) {
	filter := r.Query.Get("$filter")
	terms, ok := parseFilter(filter)
	if !ok {
		return nil, unsupportedFilter(filter, assignmentFilters)
	}
	var f rbac.Filter
	for _, t := range terms {
		switch {
		case t.name == "atscope" && t.call && t.value == "":
			f.AtScope = true
		case t.name == "principalid" && !t.call && t.value != "" && f.PrincipalID == "":
			f.PrincipalID = t.value
		case t.name == "assignedto" && t.call && t.value != "" && f.AssignedTo == nil:
			f.AssignedTo = p.guard.PrincipalsOf(r.TenantID, t.value)
		default:
			return nil, unsupportedFilter(filter, assignmentFilters)
		}
	}
	all, err := p.guard.ListAssignments(ctx, r.TenantID)
	if err != nil {
		return nil, err
	}
	items := []any{}
	for _, a := range rbac.FilterAssignments(all, r.ID, f) {
		items = append(items, showAssignment(a, r.APIVersion))
	}
	return items, nil
}

// assignmentResource is a role assignment on the wire. What is not set is null,
// not left out, as clients that compare expect it.
type assignmentResource struct {
	Properties any    `json:"properties"`
	ID         string `json:"id"`
	Type       string `json:"type"`
	Name       string `json:"name"`
}

// assignmentCore is what api-versions before 2018-09-01-preview know.
type assignmentCore struct {
	RoleDefinitionID string     `json:"roleDefinitionId"`
	PrincipalID      string     `json:"principalId"`
	Scope            string     `json:"scope"`
	CreatedOn        *time.Time `json:"createdOn"`
	UpdatedOn        *time.Time `json:"updatedOn"`
	CreatedBy        *string    `json:"createdBy"`
	UpdatedBy        *string    `json:"updatedBy"`
}

type assignmentProperties struct {
	assignmentCore
	PrincipalType                      string  `json:"principalType"`
	DelegatedManagedIdentityResourceID *string `json:"delegatedManagedIdentityResourceId"`
	Description                        *string `json:"description"`
	Condition                          *string `json:"condition"`
	ConditionVersion                   *string `json:"conditionVersion"`
}

func showAssignment(a rbac.Assignment, apiVersion string) any {
	core := assignmentCore{
		RoleDefinitionID: rbac.FormatRoleDefinitionID(a.Scope, a.RoleDefinitionID),
		PrincipalID:      a.PrincipalID, Scope: a.Scope.String(),
		CreatedOn: orNull(a.CreatedOn), UpdatedOn: orNull(a.UpdatedOn),
		CreatedBy: orNull(a.CreatedBy), UpdatedBy: orNull(a.UpdatedBy),
	}
	res := assignmentResource{
		Properties: core, Type: "Microsoft.Authorization/roleAssignments", Name: a.Name,
		ID: a.Scope.Resource("Microsoft.Authorization", "roleAssignments", a.Name).String(),
	}
	if apiVersion >= "2018-09-01" {
		res.Properties = assignmentProperties{
			assignmentCore: core, PrincipalType: string(a.PrincipalType),
			DelegatedManagedIdentityResourceID: orNull(a.DelegatedManagedIdentityResourceID),
			Description:                        orNull(a.Description), Condition: orNull(a.Condition), ConditionVersion: orNull(a.ConditionVersion),
		}
	}
	return res
}

// orNull makes null of what is not set.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
