package keyvault

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/rbac"
)

// scope is what a decision is about: the secret itself where the request names
// one, so that a role on one secret says nothing of its neighbour; else the
// vault.
func (r *request) scope() azure.ResourceID {
	if r.target.name == "" {
		return r.vault.ID
	}
	return r.vault.ID.Child(r.target.collection, r.target.name)
}

// authorize decides by role assignments or by access policies, whichever the
// vault is set to; never by both.
func (h *Handler) authorize(ctx context.Context, r *request, op operation) error {
	if r.vault.RBAC {
		return h.authorizeByRole(ctx, r, op)
	}
	return h.authorizeByPolicy(ctx, r, op)
}

func (h *Handler) authorizeByRole(ctx context.Context, r *request, op operation) error {
	decision, err := h.cfg.Guard.Check(ctx, rbac.Request{Caller: r.caller, Action: op.action, Data: true, Scope: r.scope()})
	if err != nil {
		return undecided(err)
	}
	if decision.Allowed {
		return nil
	}
	return forbidden("ForbiddenByRbac", "Caller is not authorized to perform action on resource.\r\n"+
		"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\n"+
		"Caller: %s\r\nAction: '%s'\r\nResource: '%s'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\n"+
		"DecisionReason: null \r\nVault: %s\r\n",
		describe(r.caller), op.action, r.scope().Key(), r.vault.describe())
}

func (h *Handler) authorizeByPolicy(ctx context.Context, r *request, op operation) error {
	allowed := h.policyAllows(r.caller, r.vault, op)
	reason := "no access policy grants " + op.noun + " " + op.permission
	if allowed {
		reason = "an access policy grants " + op.noun + " " + op.permission
	}
	if err := h.record(ctx, r.caller, op.action, r.scope(), allowed, reason); err != nil {
		return err
	}
	if allowed {
		return nil
	}
	return forbidden("ForbiddenByPolicy", "The user, group or application '%s' does not have %s %s permission on key vault '%s'. "+
		"For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
		describe(r.caller), op.noun, op.permission, r.vault.describe())
}

// policyAllows reports whether any of the caller's entries has the permission:
// entries for the principal itself and for every group that holds it.
func (h *Handler) policyAllows(c azure.Caller, v Vault, op operation) bool {
	var groups []string
	for _, p := range v.AccessPolicies {
		if p.ApplicationID != "" && (c.Type != azure.User || !azure.EqualFold(p.ApplicationID, c.AppID)) {
			continue
		}
		if !op.grantedBy(p) {
			continue
		}
		if azure.EqualFold(p.ObjectID, c.ObjectID) {
			return true
		}
		if groups == nil {
			groups = h.cfg.Guard.Groups(c)
		}
		if slices.ContainsFunc(groups, func(g string) bool { return azure.EqualFold(g, p.ObjectID) }) {
			return true
		}
	}
	return false
}

// checkNetwork applies the vault's firewall to the peer's address.
func (h *Handler) checkNetwork(r *http.Request, c azure.Caller, v Vault) error {
	peer := peerAddress(r)
	if v.Network.allows(peer) {
		return nil
	}
	if err := h.record(r.Context(), c, "Microsoft.KeyVault/vaults/connect", v.ID, false, "the vault's firewall refuses "+peer.String()); err != nil {
		return err
	}
	if v.Network.Disabled {
		return forbidden("ForbiddenByConnection", "Public network access is disabled and request is not from a trusted service "+
			"nor via an approved private link.\r\nCaller: %s\r\nVault: %s", describe(c), v.describe())
	}
	return forbidden("ForbiddenByFirewall", "Client address is not authorized and caller is not a trusted service.\r\n"+
		"Client address: %s\r\nCaller: %s\r\nVault: %s", peer, describe(c), v.describe())
}

// record audits a decision that is the plane's own.
func (h *Handler) record(ctx context.Context, c azure.Caller, action string, scope azure.ResourceID, allowed bool, reason string) error {
	decided := audit.ResultDenied
	if allowed {
		decided = audit.ResultAllowed
	}
	err := h.cfg.Audit.Write(ctx, audit.Record{
		Time: h.cfg.Now(), Kind: audit.KindAuthorization, Result: decided,
		TenantID: c.TenantID, ObjectID: c.ObjectID, AppID: c.AppID,
		Action: action, Scope: scope.String(), Reason: reason,
	})
	if err != nil {
		return undecided(err)
	}
	return nil
}

// describe prints the caller as Key Vault's errors do.
func describe(c azure.Caller) string {
	var b strings.Builder
	fmt.Fprintf(&b, "appid=%s;oid=%s;iss=%s", c.AppID, c.ObjectID, c.Issuer)
	if c.IdentityResourceID != "" {
		fmt.Fprintf(&b, ";xms_mirid=%s", c.IdentityResourceID)
	}
	if c.HostResourceID != "" {
		fmt.Fprintf(&b, ";xms_az_rid=%s", c.HostResourceID)
	}
	return b.String()
}

func (v Vault) describe() string { return v.Name + ";location=" + v.Location }

func forbidden(inner, format string, args ...any) error {
	e := azure.Errorf(http.StatusForbidden, "Forbidden", format, args...)
	e.InnerCode = inner
	return e
}

// undecided is the answer when no decision can be made or kept.
func undecided(err error) error {
	e := azure.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable",
		"Access cannot be decided at the moment. Please retry.")
	e.Err = err
	return e
}
