package entra

import (
	"context"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/token"
)

// grant is one grant_type. The pipeline has parsed the request and found the
// tenant; the grant establishes who the token is for, and the pipeline goes on
// with the resource, the record and the signature. A grant is one file and one
// line in [grants].
type grant struct {
	// name is the grant_type parameter.
	name string
	// run authenticates what the grant requires and fills in x.client, x.proof,
	// x.subject and x.lifetime.
	run func(h *Handler, ctx context.Context, x *exchange) *azure.Error
}

// grants are the supported grants by name: Entra's, and with extensions
// Lanyard's own.
func grants(extensions bool) map[string]*grant {
	table := map[string]*grant{clientCredentials.name: &clientCredentials}
	if extensions {
		table[tokenExchange.name] = &tokenExchange
	}
	return table
}

// exchange is one token request on its way through the pipeline. Each step
// reads what those before it have filled in.
type exchange struct {
	protocol protocol
	// host is the host by which the client came, with its port.
	host string
	// tenantName is the tenant as the path spells it.
	tenantName string
	tenant     directory.Tenant
	form       form
	// basic is the client's identifier and secret from an Authorization header.
	basic *basicCredentials
	grant *grant
	// clientID is the client's identifier, as sent, if that is a GUID.
	clientID string
	client   directory.Client
	proof    proof
	// capabilities are what the client says it can do: xms_cc of the claims
	// parameter.
	capabilities []string
	// audience is the resource as the client spelled it.
	audience string
	// subject is who the token is for.
	subject directory.Principal
	// lifetime is how long the token shall last.
	lifetime lifetime
	// claims are the claims of the token that was minted.
	claims token.Claims
	// raw is the token.
	raw string
	// notes are facts for the audit record: never a secret, an assertion or a
	// token.
	notes map[string]string
}

// note keeps a fact for the audit record.
func (x *exchange) note(name, value string) {
	if value == "" {
		return
	}
	if x.notes == nil {
		x.notes = map[string]string{}
	}
	x.notes[name] = shorten(value)
}

// proof is how a client proved who it is.
type proof struct {
	// kind is the kind of credential: one of the names of [credentialKinds].
	kind string
	// name names the credential among the client's own, for the audit record.
	name string
	// acr is what the token says of it: one of token's ACR values.
	acr string
}
