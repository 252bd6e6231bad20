package entra

import (
	"errors"
	"fmt"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/token"
)

// federationAudience is the audience that federated credentials have by
// default, and the resource for which a managed identity gets a token that it
// presents as an assertion.
const federationAudience = "api://AzureADTokenExchange"

// checkManagedIdentity proves an application by a token of this cloud. One kind
// is accepted: of a managed identity of the same tenant, for the token exchange,
// where a federated credential of the application names the tenant's canonical
// version 2 issuer and the identity's object ID. Every other token of this
// cloud, or of Microsoft's, is refused before anything else is looked at.
func (h *Handler) checkManagedIdentity(x *exchange, a *token.Assertion, raw string) *azure.Error {
	x.proof.kind = kindManagedIdentity
	if x.client.Application == nil || a.Issuer != h.cloud.IssuerV2(x.tenant.ID) {
		return errFederatedOwnIssuer.new()
	}
	audience := a.Audience
	if len(audience) == 1 && audience[0] == azure.ServiceTokenExchange {
		// A version 2 token names its resource by the application ID; a
		// credential names it by the URI.
		audience = []string{federationAudience}
	}
	c, e := h.propagated(x.client, a, func(client directory.Client) (directory.FederatedCredential, *azure.Error) {
		return matchFederated(client, a.Issuer, a.Subject, audience)
	})
	if e != nil {
		return e
	}
	x.proof.name = c.Name
	caller, err := h.exchange.Verify(raw)
	if err != nil {
		return h.refusedToken(err, a)
	}
	subject, ok := h.directory.Principal(caller.TenantID, caller.ObjectID)
	switch {
	// What was matched was read by another parser than what was verified.
	case caller.TenantID != x.tenant.ID || caller.ObjectID != c.Subject:
		return badSignature(errors.New("the verified token is not the one that was matched"), a.KeyID)
	case !ok || subject.Disabled:
		return errFederatedNotManaged.because(fmt.Errorf("principal %s is deleted or disabled", caller.ObjectID))
	case subject.ServicePrincipalType != directory.ManagedIdentityPrincipal:
		return errFederatedNotManaged.because(fmt.Errorf("principal %s is no managed identity", caller.ObjectID))
	}
	x.proof.acr = token.ACRCertificate
	return nil
}

// refusedToken maps the refusal of a token of this cloud that is presented as
// an assertion.
func (h *Handler) refusedToken(err error, a *token.Assertion) *azure.Error {
	refusal, ok := errors.AsType[*token.VerifyError](err)
	if !ok {
		return errInternal.because(fmt.Errorf("verifying a token of this cloud: %w", err))
	}
	switch refusal.Reason {
	case token.Expired, token.NotYetValid:
		return outOfTime(a, h.now())
	case token.WrongAudience:
		return errFederatedExchange.because(err)
	case token.WrongIssuer:
		return errFederatedOwnIssuer.because(err)
	case token.Malformed, token.Incomplete:
		return errAssertionMalformed.because(err)
	default:
		return badSignature(err, a.KeyID)
	}
}
