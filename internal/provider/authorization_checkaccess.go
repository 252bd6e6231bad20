package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/rbac"
)

const (
	// maxCheckedActions is how many actions one request may ask about.
	maxCheckedActions = 200
	// checkAccessTTL is for how long an answer may be kept, in milliseconds.
	checkAccessTTL = 300000
)

// checkAccess is POST {resource}/providers/Microsoft.Authorization/checkaccess:
// what another principal may do. Kubernetes' authorization webhook ("Azure RBAC
// for Kubernetes") asks it, by the action that reads role assignments: who may
// see them can work out the answer anyway.
func checkAccess(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.Authorization/checkaccess", Versions: []string{"2018-09-01-preview"}, In: arm.AtAnyScope,
	}, arm.VirtualHooks{
		Action: func(*arm.Request, string) string { return "Microsoft.Authorization/roleAssignments/read" },
		Post: func(ctx context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			return answerCheckAccess(ctx, cfg.Guard, r, body)
		},
	})
}

type checkAccessBody struct {
	Subject struct {
		Attributes struct {
			ObjectID string `json:"ObjectId"`
			Groups   []string
		}
	}
	Actions []struct {
		ID           string `json:"Id"`
		IsDataAction bool
	}
	Resource struct {
		ID string `json:"Id"`
	}
}

type checkAccessAnswer struct {
	AccessDecision string          `json:"accessDecision"`
	ActionID       string          `json:"actionId"`
	IsDataAction   bool            `json:"isDataAction"`
	RoleAssignment *checkAccessRef `json:"roleAssignment,omitempty"`
	TimeToLiveInMs int             `json:"timeToLiveInMs"`
}

type checkAccessRef struct {
	ID               string `json:"id"`
	RoleDefinitionID string `json:"roleDefinitionId"`
	PrincipalID      string `json:"principalId"`
	PrincipalType    string `json:"principalType"`
	Scope            string `json:"scope"`
}

func answerCheckAccess(ctx context.Context, guard *rbac.Guard, r *arm.Request, body json.RawMessage) (int, any, error) {
	b, scope, err := parseCheckAccess(r, body)
	if err != nil {
		return 0, nil, err
	}
	subject := azure.Caller{
		TenantID: r.TenantID, ObjectID: b.Subject.Attributes.ObjectID, Groups: b.Subject.Attributes.Groups,
	}
	answers := make([]checkAccessAnswer, len(b.Actions))
	for i, action := range b.Actions {
		d, err := guard.Check(ctx, rbac.Request{Caller: subject, Action: action.ID, Data: action.IsDataAction, Scope: scope})
		if err != nil {
			return 0, nil, fmt.Errorf("checking access for %s: %w", subject.ObjectID, err)
		}
		answers[i] = checkAccessAnswer{
			AccessDecision: "NotAllowed", ActionID: action.ID, IsDataAction: action.IsDataAction, TimeToLiveInMs: checkAccessTTL,
		}
		if d.Allowed {
			answers[i].AccessDecision, answers[i].RoleAssignment = "Allowed", refer(d.Assignment)
		}
	}
	return http.StatusOK, answers, nil
}

func refer(a *rbac.Assignment) *checkAccessRef {
	return &checkAccessRef{
		ID: a.Name, RoleDefinitionID: a.RoleDefinitionID, PrincipalID: a.PrincipalID,
		PrincipalType: string(a.PrincipalType), Scope: a.Scope.String(),
	}
}

// parseCheckAccess reads the question. Its resource must lie within the scope of
// the request, where the caller's permission was checked.
func parseCheckAccess(r *arm.Request, body json.RawMessage) (checkAccessBody, azure.ResourceID, error) {
	bad := func(format string, args ...any) error {
		return azure.Errorf(http.StatusBadRequest, "BadRequest", format, args...)
	}
	var b checkAccessBody
	if err := json.Unmarshal(body, &b); err != nil {
		return b, r.ID, bad("The request was incorrectly formatted.")
	}
	if uuid.Validate(b.Subject.Attributes.ObjectID) != nil {
		return b, r.ID, bad("The subject's ObjectId '%s' is not a GUID.", b.Subject.Attributes.ObjectID)
	}
	if len(b.Actions) == 0 || len(b.Actions) > maxCheckedActions {
		return b, r.ID, bad("There must be from 1 to %d actions.", maxCheckedActions)
	}
	scope := r.ID
	if b.Resource.ID != "" {
		asked, err := azure.ParseResourceID(b.Resource.ID)
		if err != nil {
			return b, scope, bad("The resource's Id is not valid: %s.", err)
		}
		if !r.ID.Contains(asked) {
			return b, scope, bad("The resource '%s' is not within the scope '%s'.", asked, r.ID)
		}
		scope = asked
	}
	return b, scope, nil
}
