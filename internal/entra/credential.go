package entra

import (
	"context"
	"net/http"
	"net/url"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The kinds of credential, as metrics and audit records name them.
const (
	kindSecret          = "secret"
	kindFederated       = "federated"
	kindManagedIdentity = "managedIdentity"
	kindCertificate     = "certificate"
)

// basicCredentials are the client credentials of an Authorization header.
type basicCredentials struct{ id, secret string }

// readBasic reads HTTP Basic client credentials: identifier and secret, each
// form-encoded, as RFC 6749 section 2.3.1 has it. Other schemes are not the
// token endpoint's.
func readBasic(r *http.Request) (*basicCredentials, bool) {
	id, secret, ok := r.BasicAuth()
	if !ok {
		return nil, true
	}
	id, err := url.QueryUnescape(id)
	if err != nil {
		return nil, false
	}
	secret, err = url.QueryUnescape(secret)
	if err != nil {
		return nil, false
	}
	return &basicCredentials{id: id, secret: secret}, true
}

// findClient finds the client that the request says it comes from. It must
// exist and be enabled; nothing is proved yet.
func (h *Handler) findClient(x *exchange) *azure.Error {
	id := x.form["client_id"]
	if x.basic != nil {
		if id != "" && id != x.basic.id {
			return h.withHint(errMalformed.new(), "The client_id of the body is not the one of the Authorization header.")
		}
		id = x.basic.id
	}
	if id == "" {
		return errMissing.new("client_id")
	}
	// Anything but a GUID stays out of the records: what people put here by
	// mistake is a secret.
	if folded := azure.Fold(id); azure.IsGUID(folded) {
		x.clientID = folded
		if client, ok := h.directory.Client(x.tenant.ID, folded); ok {
			x.client = client
			if client.Principal.Disabled {
				return errClientDisabled.new(folded, client.Principal.DisplayName)
			}
			return nil
		}
		if _, ok := h.directory.ApplicationByAppID(x.tenant.ID, folded); ok {
			return errClientNoPrincipal.new(folded, x.tenant.ID)
		}
	}
	return errClientNotFound.new(id, displayName(x.tenant))
}

// authenticate proves that the request comes from the client, by exactly one
// credential.
func (h *Handler) authenticate(ctx context.Context, x *exchange) *azure.Error {
	secret := x.form["client_secret"]
	if x.basic != nil {
		if secret != "" && secret != x.basic.secret {
			return h.withHint(errMalformed.new(), "The client_secret of the body is not the one of the Authorization header.")
		}
		secret = x.basic.secret
	}
	assertion, assertionType := x.form["client_assertion"], x.form["client_assertion_type"]
	switch {
	case secret != "" && assertion != "":
		return h.withHint(errCredentialMissing.new(), "It must contain one of them, not both.")
	case secret != "":
		return h.checkSecret(x, secret)
	case assertion != "":
		return h.checkAssertion(ctx, x, assertion)
	case assertionType != "":
		return errMissing.new("client_assertion")
	default:
		return errCredentialMissing.new()
	}
}
