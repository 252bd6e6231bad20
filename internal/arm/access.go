package arm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/token"
)

// authenticate verifies the access token. Each reason to refuse has the code
// that Azure gives it, and WWW-Authenticate tells where to get a token.
func (x *exchange) authenticate() (azure.Caller, error) {
	raw, err := token.Bearer(x.r.Header)
	if errors.Is(err, token.ErrNoBearer) {
		return azure.Caller{}, x.challenge("", "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	if err != nil {
		return azure.Caller{}, x.challenge("invalid_request", "AuthenticationFailedInvalidHeader",
			"Authentication failed. The 'Authorization' header is provided in an invalid format.")
	}
	caller, err := x.engine.cfg.Verifier.Verify(raw)
	if err == nil {
		return caller, nil
	}
	code, message := x.refusal(err)
	return azure.Caller{}, x.challenge("invalid_token", code, message)
}

// refusal words a failed verification.
func (x *exchange) refusal(err error) (code, message string) {
	ve, ok := errors.AsType[*token.VerifyError](err)
	if !ok {
		return "InvalidAuthenticationToken", "The access token is invalid."
	}
	switch {
	case ve.Reason == token.WrongAudience && ve.Claims != nil:
		svc := x.engine.cfg.Cloud.Service(azure.ServiceResourceManager)
		return "InvalidAuthenticationTokenAudience", fmt.Sprintf(
			"The access token has been obtained for wrong audience or resource '%s'. It should exactly match with one of the allowed audiences '%s'.",
			ve.Claims.Audience, strings.Join(svc.URIs, "','"))
	case ve.Reason == token.Expired && ve.Claims != nil:
		return "ExpiredAuthenticationToken", fmt.Sprintf(
			"The access token expiry UTC time '%s' is earlier than current UTC time '%s'.",
			clock(time.Unix(ve.Claims.Expiry, 0)), clock(x.now))
	case ve.Reason == token.WrongIssuer && ve.Claims != nil:
		return "InvalidAuthenticationTokenTenant", fmt.Sprintf(
			"The access token is from the wrong issuer '%s'. It must match one of the tenants of this cloud.", ve.Claims.Issuer)
	case ve.Reason == token.NotYetValid:
		return "InvalidAuthenticationToken", "The access token is not yet valid."
	case ve.Reason == token.Malformed:
		return "InvalidAuthenticationToken", "The access token is malformed."
	case ve.Reason == token.Incomplete:
		return "InvalidAuthenticationToken", "The access token names no principal: it lacks 'oid', 'sub' or 'tid'."
	default:
		return "InvalidAuthenticationToken", "The access token is invalid."
	}
}

// clock prints a time as Azure does in this message.
func clock(t time.Time) string { return t.UTC().Format("1/2/2006 3:04:05 PM") }

// challenge makes a 401 and its WWW-Authenticate. The tenant in it is the one
// of the subscription in the path, which clients without a tenant discover so.
func (x *exchange) challenge(oauth, code, message string) error {
	tenant := "common"
	if sub, ok := x.engine.cfg.Directory.Subscription(x.target.id.SubscriptionID()); ok {
		tenant = sub.TenantID
	}
	value := fmt.Sprintf(`Bearer authorization_uri="%s/%s"`, x.engine.cfg.Cloud.ActiveDirectory(), tenant)
	if oauth != "" {
		value += fmt.Sprintf(`, error="%s", error_description="%s"`, oauth, quotable(message))
	}
	x.w.Header().Set("WWW-Authenticate", value)
	return azure.Errorf(http.StatusUnauthorized, code, "%s", message)
}

// quotable keeps a text within a quoted-string: what a token claims may hold
// anything.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, s)
}

// tenant finds the tenant of the scope: the subscription's, which must be the
// caller's own.
func (x *exchange) tenant(caller azure.Caller) (string, error) {
	id := x.target.id.SubscriptionID()
	if id == "" {
		return x.tenantAtRoot(caller)
	}
	sub, ok := x.engine.cfg.Directory.Subscription(id)
	if !ok {
		return "", azure.Errorf(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", id)
	}
	if sub.TenantID != caller.TenantID {
		cloud := x.engine.cfg.Cloud
		return "", x.challenge("invalid_token", "InvalidAuthenticationTokenTenant", fmt.Sprintf(
			"The access token is from the wrong issuer '%s'. It must match the tenant '%s' associated with this subscription. Please use the authority (URL) '%s/%s' to get the token. Note, if the subscription is transferred to another tenant there is no impact to the services, but information about new tenant could take time to propagate (up to an hour). If you just transferred your subscription and see this error message, please try back later.",
			caller.Issuer, cloud.IssuerV1(sub.TenantID), cloud.ActiveDirectory(), sub.TenantID))
	}
	return sub.TenantID, nil
}

// tenantAtRoot finds the tenant of what lies outside of subscriptions: the
// caller's own, or the operator's. A token outlives its tenant, and opens
// nothing then.
func (x *exchange) tenantAtRoot(caller azure.Caller) (string, error) {
	if _, ok := x.engine.cfg.Directory.Tenant(caller.TenantID); !ok {
		return "", x.challenge("invalid_token", "InvalidAuthenticationTokenTenant", fmt.Sprintf(
			"The access token is from the wrong issuer '%s'. The tenant '%s' does not exist any more.", caller.Issuer, caller.TenantID))
	}
	if t := x.target.typ; t != nil && t.spec.CloudWide {
		return x.engine.cfg.OperatorTenant, nil
	}
	return caller.TenantID, nil
}

// listing says how much of a list the caller may see: all of it, or, with
// action set, the items at which they may do that.
type listing struct{ action string }

// authorize asks the guard. A list of a whole subscription is filtered instead
// of refused for callers who have a role somewhere in it, as Azure does.
func (x *exchange) authorize(operation string) (listing, error) {
	t, r := x.target, x.request
	action := x.rbacAction(operation)
	question := rbac.Request{Caller: r.Caller, Action: action, Scope: t.id}
	if t.typ.spec.CloudWide {
		question.TenantID, question.Unconditional = r.TenantID, true
	}
	if v := t.typ.virtual; v != nil {
		if v.hooks.NoCheck[operation] {
			return listing{}, nil
		}
		if v.hooks.Attributes != nil {
			body, err := x.readBody()
			if err != nil {
				return listing{}, err
			}
			question.RequestAttributes, question.ResourceAttributes = v.hooks.Attributes(x.ctx, x.r.Method, r, body)
		}
	}
	decision, err := x.engine.cfg.Guard.Check(x.ctx, question)
	if err != nil {
		return listing{}, errUnavailable(err)
	}
	if decision.Allowed {
		return listing{}, nil
	}
	filtered := t.typ.virtual != nil && t.typ.virtual.hooks.Filters ||
		t.typ.stored != nil && t.id.Equal(azure.SubscriptionScope(t.id.SubscriptionID()))
	if t.collection && operation == "read" && filtered && x.engine.cfg.Guard.Reaches(r.Caller, t.id) {
		return listing{action: action}, nil
	}
	return listing{}, errForbidden(r.Caller, action, t.id)
}

// Authorize asks the guard whether the request's caller may do action at scope,
// where a hook needs more than the engine has asked. It gives 403
// AuthorizationFailed, or 503 where no decision can be made. It writes an audit
// record, so it is not for hooks in transactions: those use Hooks.Linked.
func (r *Request) Authorize(ctx context.Context, action string, scope azure.ResourceID) error {
	decision, err := r.engine.cfg.Guard.Check(ctx, rbac.Request{Caller: r.Caller, Action: action, Scope: scope})
	if err != nil {
		return errUnavailable(err)
	}
	if !decision.Allowed {
		return errForbidden(r.Caller, action, scope)
	}
	return nil
}

// rbacAction names the action that the operation takes.
func (x *exchange) rbacAction(operation string) string {
	typ := x.target.typ
	if typ.virtual != nil && typ.virtual.hooks.Action != nil {
		if action := typ.virtual.hooks.Action(x.request, operation); action != "" {
			return action
		}
	}
	return typ.spec.action() + "/" + operation
}

// action is the prefix of the type's RBAC actions.
func (s *Spec) action() string {
	if s.Action != "" {
		return s.Action
	}
	return s.Name
}

func errForbidden(c azure.Caller, action string, scope azure.ResourceID) error {
	return azure.Errorf(http.StatusForbidden, "AuthorizationFailed",
		"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		c.DisplayName(), c.ObjectID, action, scope)
}

// checkLinked asks the guard about the linked scopes that checked doesn't hold
// yet, and notes them there. All that fail are named in one quoted list: pod
// identity's controller reads it, drops those identities and tries again.
func (x *exchange) checkLinked(linked []Linked, operation string, checked map[string]bool) error {
	var action string
	var failed []string
	for _, l := range linked {
		key := l.Action + " " + l.Scope.Key()
		if checked[key] {
			continue
		}
		decision, err := x.engine.cfg.Guard.Check(x.ctx, rbac.Request{Caller: x.request.Caller, Action: l.Action, Scope: l.Scope})
		if err != nil {
			return errUnavailable(err)
		}
		if decision.Allowed {
			checked[key] = true
			continue
		}
		// One error names one action; the scopes of another action follow when
		// the client has mended these.
		if action == "" || action == l.Action {
			action = l.Action
			failed = append(failed, l.Scope.String())
		}
	}
	if len(failed) == 0 {
		return nil
	}
	c := x.request.Caller
	return azure.Errorf(http.StatusForbidden, "LinkedAuthorizationFailed",
		"The client '%s' with object id '%s' has permission to perform action '%s' on scope '%s'; however, it does not have permission to perform action '%s' on the linked scope(s) '%s' or the linked scope(s) are invalid.",
		c.DisplayName(), c.ObjectID, x.rbacAction(operation), x.target.id, action, strings.Join(failed, ","))
}
