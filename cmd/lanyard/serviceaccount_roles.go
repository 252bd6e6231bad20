package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
)

const (
	roleAssignmentVersion  = "?api-version=2022-04-01"
	roleDefinitionVersion  = "?api-version=2022-04-01"
	authorizationProvider  = "/providers/Microsoft.Authorization/"
	roleAssignmentsAtScope = authorizationProvider + "roleAssignments"
	roleDefinitionsAtScope = authorizationProvider + "roleDefinitions"
)

func checkRole(r *accountRun) error {
	switch {
	case r.scope == "" || r.role == "":
		return errors.New("--azure-scope and --azure-role are required")
	case r.principalObjectID == "" && r.principalName == "":
		return errors.Join(checkScope(r), checkIdentity(r))
	}
	return checkScope(r)
}

func checkScope(r *accountRun) error {
	if r.scope == "" {
		return nil
	}
	if _, err := azure.ParseResourceID(r.scope); err != nil {
		return fmt.Errorf("--azure-scope: %w", err)
	}
	return nil
}

// roleHolder gives who gets the role: empty while the identity is only planned.
func (r *accountRun) roleHolder(ctx context.Context) (string, error) {
	if r.principalObjectID != "" {
		return r.principalObjectID, nil
	}
	if r.principalName != "" {
		g, err := r.graph(ctx)
		if err != nil {
			return "", err
		}
		return g.servicePrincipalCalled(ctx, r.principalName)
	}
	i, err := r.there(ctx)
	if err != nil {
		return "", err
	}
	known := i.facts()
	if known.exists && known.principalID == "" && !r.planned {
		return "", fmt.Errorf("the %s has no service principal: the phase %s makes it", i, phaseIdentity)
	}
	return known.principalID, nil
}

// roleAssignment is one on the wire.
type roleAssignment struct {
	ID         string `json:"id"`
	Properties struct {
		RoleDefinitionID string           `json:"roleDefinitionId"`
		PrincipalID      string           `json:"principalId"`
		Scope            azure.ResourceID `json:"scope"`
	} `json:"properties"`
}

// roleAssignments lists those of a principal at, above and below a scope.
func (c *armClient) roleAssignments(ctx context.Context, scope azure.ResourceID, principalID string) ([]roleAssignment, error) {
	return list[roleAssignment](ctx, c, scopePath(scope)+roleAssignmentsAtScope+roleAssignmentVersion+
		"&$filter="+url.QueryEscape("principalId eq "+quoted(principalID)))
}

// scopePath is a scope in front of a provider: the root's is nothing.
func scopePath(scope azure.ResourceID) string {
	if scope.IsRoot() {
		return ""
	}
	return scope.String()
}

// assigned finds the assignment of a role to a principal at a scope itself.
func (c *armClient) assigned(ctx context.Context, scope azure.ResourceID, role roleDefinition, principalID string) (*roleAssignment, error) {
	all, err := c.roleAssignments(ctx, scope, principalID)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.Properties.Scope.Equal(scope) && azure.EqualFold(lastSegment(a.Properties.RoleDefinitionID), role.Name) && azure.EqualFold(a.Properties.PrincipalID, principalID) {
			return &a, nil
		}
	}
	return nil, nil
}

func lastSegment(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

// roleDefinition is a role on the wire. Its Name is a GUID.
type roleDefinition struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Properties struct {
		RoleName string `json:"roleName"`
	} `json:"properties"`
}

// findRole finds a role that can be assigned at a scope, by its name, GUID or
// resource ID.
func (c *armClient) findRole(ctx context.Context, scope azure.ResourceID, role string) (roleDefinition, error) {
	var found roleDefinition
	if id := lastSegment(role); azure.IsGUID(id) {
		err := c.do(ctx, http.MethodGet, scopePath(scope)+roleDefinitionsAtScope+"/"+id+roleDefinitionVersion, nil, &found)
		return found, err
	}
	all, err := list[roleDefinition](ctx, c, scopePath(scope)+roleDefinitionsAtScope+roleDefinitionVersion+
		"&$filter="+url.QueryEscape("roleName eq "+quoted(role)))
	if err != nil {
		return found, err
	}
	if len(all) != 1 {
		return found, fmt.Errorf("%d roles that can be assigned at %s are called %q: name one by its ID", len(all), scope, role)
	}
	return all[0], nil
}

// lookCreateRole looks for the assignment.
func lookCreateRole(ctx context.Context, r *accountRun) (accountChange, error) {
	scope, err := azure.ParseResourceID(r.scope)
	if err != nil {
		return accountChange{}, err
	}
	c, err := r.arm(ctx)
	if err != nil {
		return accountChange{}, err
	}
	role, err := c.findRole(ctx, scope, r.role)
	if err != nil {
		return accountChange{}, err
	}
	holder, err := r.roleHolder(ctx)
	if err != nil {
		return accountChange{}, err
	}
	change := accountChange{outcome: outcomeCreate, resource: role.Properties.RoleName + " at " + scope.String()}
	if holder == "" { // it is planned
		return change, nil
	}
	have, err := c.assigned(ctx, scope, role, holder)
	if err != nil {
		return accountChange{}, err
	}
	if have != nil {
		return accountChange{outcome: outcomeExists, resource: change.resource + " (" + have.ID + ")"}, nil
	}
	change.apply = func(ctx context.Context) (string, error) {
		var made roleAssignment
		err := c.do(ctx, http.MethodPut, scopePath(scope)+roleAssignmentsAtScope+"/"+uuid.NewString()+roleAssignmentVersion, map[string]any{
			"properties": map[string]any{"roleDefinitionId": role.ID, "principalId": holder, "principalType": "ServicePrincipal"},
		}, &made)
		return change.resource + " (" + made.ID + ")", err
	}
	return change, nil
}

// checkDeleteRole: which assignments go must be said, unless the identity goes.
func checkDeleteRole(r *accountRun) error {
	switch {
	case r.assignmentID != "" && (r.role != "" || r.scope != ""):
		return errors.New("--role-assignment-id excludes --azure-role and --azure-scope")
	case r.assignmentID != "":
		id, err := azure.ParseResourceID(r.assignmentID)
		if err != nil || !azure.EqualFold(id.Type(), "Microsoft.Authorization/roleAssignments") {
			return fmt.Errorf("--role-assignment-id %q is not the ID of a role assignment", r.assignmentID)
		}
		return nil
	case (r.role == "") != (r.scope == ""):
		return errors.New("--azure-role and --azure-scope go together")
	case r.role == "" && !r.runs(phaseIdentity):
		return errors.New("say which role assignment by --role-assignment-id, or by --azure-role and --azure-scope: the identity stays, and may need the others")
	}
	return errors.Join(checkScope(r), checkIdentity(r))
}

// lookDeleteRole finds the assignments that go.
func lookDeleteRole(ctx context.Context, r *accountRun) (accountChange, error) {
	c, err := r.arm(ctx)
	if err != nil {
		return accountChange{}, err
	}
	var ids []string
	if r.assignmentID != "" {
		err := c.do(ctx, http.MethodGet, r.assignmentID+roleAssignmentVersion, nil, nil)
		if isStatus(err, http.StatusNotFound) {
			return accountChange{outcome: outcomeAbsent, resource: r.assignmentID}, nil
		}
		if err != nil {
			return accountChange{}, err
		}
		ids = []string{r.assignmentID}
	} else if ids, err = r.assignmentsOf(ctx, c); err != nil {
		return accountChange{}, err
	}
	if len(ids) == 0 {
		return accountChange{outcome: outcomeAbsent, resource: "role assignments"}, nil
	}
	return accountChange{outcome: outcomeDelete, resource: strings.Join(ids, ", "), apply: func(ctx context.Context) (string, error) {
		for i, id := range ids {
			if _, err := c.remove(ctx, id+roleAssignmentVersion); err != nil {
				return "", fmt.Errorf("%w (%d of %d role assignments were deleted)", err, i, len(ids))
			}
		}
		return strings.Join(ids, ", "), nil
	}}, nil
}

// assignmentsOf gives the IDs of the identity's assignments that go.
func (r *accountRun) assignmentsOf(ctx context.Context, c *armClient) ([]string, error) {
	i, err := r.lookup(ctx)
	if err != nil {
		return nil, err
	}
	holder := i.facts().principalID
	if holder == "" {
		return nil, nil
	}
	if r.role != "" {
		scope, err := azure.ParseResourceID(r.scope)
		if err != nil {
			return nil, err
		}
		role, err := c.findRole(ctx, scope, r.role)
		if err != nil {
			return nil, err
		}
		have, err := c.assigned(ctx, scope, role, holder)
		if err != nil || have == nil {
			return nil, err
		}
		return []string{have.ID}, nil
	}
	return c.everyRoleAssignment(ctx, holder)
}

// everyRoleAssignment lists those of a principal in all subscriptions that the
// caller sees, and above them.
func (c *armClient) everyRoleAssignment(ctx context.Context, principalID string) ([]string, error) {
	subscriptions, err := list[subscription](ctx, c, "/subscriptions"+subscriptionVersion)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range subscriptions {
		all, err := c.roleAssignments(ctx, azure.SubscriptionScope(s.SubscriptionID), principalID)
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if azure.EqualFold(a.Properties.PrincipalID, principalID) && !slices.Contains(ids, a.ID) {
				ids = append(ids, a.ID)
			}
		}
	}
	return ids, nil
}
