package entra

import (
	"fmt"
	"net/http"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/token"
)

// errFederatedUnknown is what Entra says while it does not know a federated
// credential that was written.
var errFederatedUnknown = fault{70021, http.StatusBadRequest, invalidRequest,
	"the federated credential that matches is too new to be known",
	"No matching federated identity record found for presented assertion. Assertion Issuer: '%s'. Assertion Subject: '%s'. " +
		"Assertion Audience: '%s'. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"}

// propagated matches an assertion with those of the client's federated
// credentials that the token service knows by now: all of them, unless it is
// configured to take Entra's time (Config.CredentialPropagation). An assertion
// that only matches with those it does not know is refused as Entra refuses it.
func (h *Handler) propagated(
	client directory.Client, a *token.Assertion, match func(directory.Client) (directory.FederatedCredential, *azure.Error),
) (directory.FederatedCredential, *azure.Error) {
	if h.propagation == 0 {
		return match(client)
	}
	now := h.now()
	known := client
	known.FederatedCredentials = filter(client.FederatedCredentials, func(c directory.FederatedCredential) bool {
		return !now.Before(c.Since().Add(h.propagation))
	})
	if c, e := match(known); e == nil {
		return c, nil
	}
	c, e := match(client)
	if e != nil {
		return c, e
	}
	return directory.FederatedCredential{}, h.withHint(
		errFederatedUnknown.because(fmt.Errorf("%s is known from %s on", c.Name, c.Since().Add(h.propagation).UTC().Format(time.RFC3339)),
			a.Issuer, a.Subject, joined(a.Audience)),
		fmt.Sprintf("The federated credential '%s' matches and is new: credentials take %s here to be known.", c.Name, h.propagation))
}

// maxGroups is how many groups a token names: Entra's limit for JWTs.
const maxGroups = 200

// groups are the groups that the token of a managed identity names: none,
// unless the service is configured to name them.
func (h *Handler) groups(tenantID, objectID string) []string {
	if !h.groupClaims {
		return nil
	}
	all := h.directory.GroupsOf(tenantID, objectID)
	return all[:min(len(all), maxGroups)]
}
