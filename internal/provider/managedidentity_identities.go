package provider

import (
	"context"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// systemAssignedIdentities are Microsoft.ManagedIdentity/identities: under each
// resource that has an identity of its own there is "default", which says whose
// principal that is. It is read only: the identity comes and goes with the
// resource's identity block, which the engine keeps.
func systemAssignedIdentities() arm.Type {
	return arm.Virtual(arm.Spec{
		Name:     "Microsoft.ManagedIdentity/identities",
		Versions: managedIdentityVersions,
		In:       arm.AtAnyScope,
	}, arm.VirtualHooks{Get: getSystemAssigned})
}

// systemAssigned is a resource's own identity on the wire. Azure adds a
// clientSecretUrl, the address at which the machine itself gets its credential;
// there is none here.
type systemAssigned struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Location   string            `json:"location"`
	Tags       map[string]string `json:"tags"`
	Properties struct {
		TenantID    string `json:"tenantId"`
		PrincipalID string `json:"principalId"`
		ClientID    string `json:"clientId"`
	} `json:"properties"`
}

func getSystemAssigned(ctx context.Context, r *arm.Request) (any, error) {
	const name = "default"
	if !azure.EqualFold(r.Name, name) {
		return nil, azure.Errorf(http.StatusNotFound, "ResourceNotFound",
			"The system assigned identity '%s' was not found: it is always named '%s'.", r.Name, name)
	}
	scope := r.ID.Parent()
	env, identity, err := r.IdentityOf(ctx, scope)
	if err != nil {
		return nil, err
	}
	if identity == nil || !identity.SystemAssigned {
		return nil, azure.Errorf(http.StatusNotFound, "ResourceNotFound", "The resource '%s' has no system assigned identity.", env.ID)
	}
	shown := systemAssigned{
		ID: env.ID + "/providers/" + r.Type + "/" + name, Name: name, Type: r.Type, Location: env.Location, Tags: env.Tags,
	}
	if shown.Tags == nil {
		shown.Tags = map[string]string{}
	}
	shown.Properties.TenantID, shown.Properties.PrincipalID, shown.Properties.ClientID = r.TenantID, identity.PrincipalID, identity.ClientID
	return shown, nil
}
