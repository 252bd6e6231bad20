package graph

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
)

// actions is what the actions of the plane begin with. They lie in
// Microsoft.Authorization so that roles which give everything but access, such
// as Contributor, do not give these.
const actions = "Microsoft.Authorization/directory/"

// The verbs, which follow the collection. Contributor's notActions know "write"
// and "delete" and no other, so that nothing that writes may be called
// differently.
const (
	read   = "/read"
	write  = "/write"
	remove = "/delete"
)

// authorize decides a request at the tenant's root.
func (h *Handler) authorize(ctx context.Context, r *request, rt route) error {
	action := actions + rt.collection + rt.verb
	if rt.self && h.isSelf(r) {
		err := h.cfg.Audit.Write(ctx, audit.Record{
			Kind: audit.KindAuthorization, Result: audit.ResultAllowed,
			TenantID: r.caller.TenantID, ObjectID: r.caller.ObjectID, AppID: r.caller.AppID,
			Action: action, Scope: azure.Root().String(), Reason: "a principal may read itself",
		})
		if err != nil {
			return undecided(err)
		}
		return nil
	}
	decision, err := h.cfg.Guard.Check(ctx, rbac.Request{
		Caller: r.caller, Action: action, Scope: azure.Root(), Unconditional: rt.verb != read,
	})
	if err != nil {
		return undecided(err)
	}
	if decision.Allowed {
		return nil
	}
	return h.denied(r.caller, action)
}

// isSelf reports whether the path names the caller: by object ID, as the service
// principal of its client ID, as a user by name, or as "me".
func (h *Handler) isSelf(r *request) bool {
	if len(r.keys) == 0 {
		return true // /me
	}
	switch k := r.keys[0]; {
	case k.name == "appId":
		return r.caller.Type != azure.User && azure.EqualFold(k.value, r.caller.AppID)
	case k.name != "":
		return false
	case azure.EqualFold(k.value, r.caller.ObjectID):
		return true
	case !strings.Contains(k.value, "@"):
		return false
	default:
		p, ok := h.cfg.Directory.User(r.tenant(), k.value)
		return ok && azure.EqualFold(p.ObjectID, r.caller.ObjectID)
	}
}

// denied is Graph's refusal; unless strict it says what was missing, and of whom.
func (h *Handler) denied(c azure.Caller, action string) error {
	e := azure.Errorf(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	if h.cfg.Strict {
		return e
	}
	how, who := "", " or Reader"
	if !strings.HasSuffix(action, read) {
		how, who = " without a condition", ""
	}
	e.Message += fmt.Sprintf(" The client '%s' with object id '%s' needs a role assignment at '/'%s that grants '%s', such as Owner%s.",
		c.DisplayName(), c.ObjectID, how, action, who)
	return e
}

// undecided is the answer when no decision can be made or kept.
func undecided(err error) error {
	e := azure.Errorf(http.StatusServiceUnavailable, "serviceNotAvailable", "Access cannot be decided at the moment. Please retry.")
	e.Err = err
	return e
}

// keepAdministrator refuses to take away the last service principal that can
// manage access at the root, after which nobody could mend anything.
func (h *Handler) keepAdministrator(tx *store.Tx, tenantID, objectID string) error {
	last, err := h.cfg.Guard.IsLastAdministrator(tx, tenantID, objectID)
	if err != nil {
		return err
	}
	if last {
		return badRequest("The service principal '%s' is the last one that is Owner or User Access Administrator at '/'. "+
			"Assign one of these roles at '/' to another service principal first.", objectID)
	}
	return nil
}
