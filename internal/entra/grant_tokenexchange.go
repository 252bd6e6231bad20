package entra

import (
	"context"
	"errors"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/token"
)

// kindAccessToken is the kind of proof of the token exchange.
const kindAccessToken = "accessToken"

// accessTokenType names access tokens in a token exchange (RFC 8693, section 3).
const accessTokenType = "urn:ietf:params:oauth:token-type:access_token" //nolint:gosec // a name, no credential

// actAction is what a principal needs on an identity to have a resource run as
// it; here it is the program that runs.
const actAction = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"

// Errors of the token exchange. Entra has no such grant: the numbers are those
// of its nearest refusals.
var (
	errSubjectToken = fault{50027, http.StatusBadRequest, invalidRequest,
		"the subject token is not one of this cloud's for Resource Manager",
		"The subject_token is not a valid access token of this cloud for its Resource Manager."}
	errSubjectTokenType = fault{90100, http.StatusBadRequest, invalidRequest,
		"another type of subject token",
		"The subject_token_type must be '" + accessTokenType + "'."}
	errRequestedSubject = fault{700016, http.StatusBadRequest, unauthorizedClient,
		"the requested subject is no user-assigned identity",
		"No user-assigned identity with the client ID '%s' was found in the directory '%s'."}
	errMayNotAct = fault{50105, http.StatusForbidden, accessDenied,
		"the caller may not act as the identity",
		"The client '%s' with object id '%s' does not have authorization to perform action '" + actAction + "' over scope '%s'. " +
			"Assign it the role Managed Identity Operator there."}
)

// accessDenied is the OAuth error code for a right that is missing.
const accessDenied = "access_denied"

// tokenExchange is the grant by which a principal gets a token of a
// user-assigned identity that it may assign, as a machine with the identity
// would: RFC 8693 with an access token for Resource Manager as the proof of who
// asks, and requested_subject (the identity's client ID) for whom. It is
// Lanyard's own, and absent in strict mode.
//
// It opens nothing that the caller could not have: whoever may assign an
// identity can run a program under it on a machine of its own.
var tokenExchange = grant{
	name: "urn:ietf:params:oauth:grant-type:token-exchange",
	run: func(h *Handler, ctx context.Context, x *exchange) *azure.Error {
		var e *azure.Error
		if x.audience, e = x.protocol.audience(x.form); e != nil {
			return e
		}
		var caller azure.Caller
		e = h.step(ctx, "authenticate", func(context.Context) (e *azure.Error) {
			caller, e = h.actor(x)
			return e
		})
		if e != nil {
			return e
		}
		wanted, e := x.form.require("requested_subject")
		if e != nil {
			return e
		}
		if x.clientID = azure.Fold(wanted); !azure.IsGUID(x.clientID) {
			x.clientID = ""
			return errRequestedSubject.new(wanted, displayName(x.tenant))
		}
		client, ok := h.directory.Client(x.tenant.ID, x.clientID)
		if !ok || client.Principal.ServicePrincipalType != directory.ManagedIdentityPrincipal || client.Principal.SystemAssigned {
			return errRequestedSubject.new(wanted, displayName(x.tenant))
		}
		if client.Principal.Disabled {
			return errClientDisabled.new(x.clientID, client.Principal.DisplayName)
		}
		e = h.step(ctx, "authorize", func(ctx context.Context) *azure.Error { return h.mayAct(ctx, caller, client.Principal) })
		if e != nil {
			return e
		}
		x.client, x.subject, x.lifetime = client, client.Principal, lifetimeOf(client)
		return nil
	},
}

// actor verifies the subject token: who asks.
func (h *Handler) actor(x *exchange) (azure.Caller, *azure.Error) {
	kind, e := x.form.require("subject_token_type")
	if e != nil {
		return azure.Caller{}, e
	}
	if kind != accessTokenType {
		return azure.Caller{}, errSubjectTokenType.new()
	}
	raw, e := x.form.require("subject_token")
	if e != nil {
		return azure.Caller{}, e
	}
	caller, err := h.actors.Verify(raw)
	if err != nil {
		return azure.Caller{}, errSubjectToken.because(err)
	}
	if caller.TenantID != x.tenant.ID {
		return azure.Caller{}, errSubjectToken.because(errors.New("the subject token is another tenant's"))
	}
	x.proof = proof{kind: kindAccessToken, name: caller.TokenID, acr: token.ACRCertificate}
	x.note("actor", caller.ObjectID)
	return caller, nil
}

// mayAct asks the guard whether the caller may assign the identity.
func (h *Handler) mayAct(ctx context.Context, caller azure.Caller, identity directory.Principal) *azure.Error {
	scope, err := azure.ParseResourceID(identity.ResourceID)
	if err != nil {
		return errInternal.because(err)
	}
	decision, err := h.guard.Check(ctx, rbac.Request{Caller: caller, Action: actAction, Scope: scope})
	if err != nil {
		return errUnavailable.because(err)
	}
	if !decision.Allowed {
		return errMayNotAct.new(caller.DisplayName(), caller.ObjectID, identity.ResourceID)
	}
	return nil
}
