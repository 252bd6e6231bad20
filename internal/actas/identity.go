package actas

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// ErrNoSuchIdentity is what Find fails with when there is no such identity, or
// none that the caller may read.
var ErrNoSuchIdentity = errors.New("no such user-assigned identity")

// identitiesVersion is the api-version of user-assigned identities that is
// asked for.
const identitiesVersion = "2023-01-31"

// Identity is a user-assigned managed identity.
type Identity struct {
	Name       string
	ResourceID string
	ClientID   string
	ObjectID   string
	TenantID   string
}

// document is an identity as Resource Manager shows it.
type document struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Properties struct {
		ClientID    string `json:"clientId"`
		PrincipalID string `json:"principalId"`
		TenantID    string `json:"tenantId"`
	} `json:"properties"`
}

func (d document) identity() Identity {
	return Identity{Name: d.Name, ResourceID: d.ID, ClientID: d.Properties.ClientID,
		ObjectID: d.Properties.PrincipalID, TenantID: d.Properties.TenantID}
}

// Find finds an identity by its resource ID, its client ID, or its name where
// only one identity in the subscription has it. The error of an unknown or
// ambiguous reference says which there are.
func (c *Client) Find(ctx context.Context, reference string) (Identity, error) {
	if strings.HasPrefix(reference, "/") {
		return c.byResourceID(ctx, reference)
	}
	all, err := c.list(ctx)
	if err != nil {
		return Identity{}, err
	}
	_, notGUID := uuid.Parse(reference)
	var found []Identity
	for _, i := range all {
		if notGUID == nil && azure.EqualFold(i.ClientID, reference) || azure.EqualFold(i.Name, reference) {
			found = append(found, i)
		}
		if notGUID == nil && azure.EqualFold(i.ObjectID, reference) {
			return Identity{}, fmt.Errorf("%s is the principal ID of identity %s; name it by its client ID %s or its name", reference, i.Name, i.ClientID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Identity{}, fmt.Errorf("%w: %q in subscription %s, among those that this caller may read%s", ErrNoSuchIdentity, reference, c.cfg.SubscriptionID, among(all, func(i Identity) string { return i.Name }))
	default:
		return Identity{}, fmt.Errorf("%d identities are named %q; name one by its resource ID%s", len(found), reference, among(found, func(i Identity) string { return i.ResourceID }))
	}
}

// among lists a few identities for an error.
func among(all []Identity, show func(Identity) string) string {
	if len(all) == 0 {
		return "; there is none"
	}
	const most = 8
	names := make([]string, 0, most)
	for _, i := range all[:min(most, len(all))] {
		names = append(names, show(i))
	}
	more := ""
	if len(all) > most {
		more = ", ..."
	}
	return "; there is " + strings.Join(names, ", ") + more
}

func (c *Client) byResourceID(ctx context.Context, reference string) (Identity, error) {
	id, err := azure.ParseResourceID(reference)
	if err != nil {
		return Identity{}, err
	}
	if !azure.EqualFold(id.Type(), "Microsoft.ManagedIdentity/userAssignedIdentities") {
		return Identity{}, fmt.Errorf("%s is a %s, not a user-assigned identity", reference, id.Type())
	}
	var d document
	if err := c.get(ctx, c.cfg.ResourceManager+id.String()+"?api-version="+identitiesVersion, &d); err != nil {
		if known, ok := errors.AsType[*azure.Error](err); ok && known.Status == http.StatusNotFound {
			return Identity{}, fmt.Errorf("%w: %s", ErrNoSuchIdentity, known.Message)
		}
		return Identity{}, err
	}
	return d.identity(), nil
}

// list gives the identities of the subscription that the caller may read.
func (c *Client) list(ctx context.Context) ([]Identity, error) {
	var all []Identity
	next := c.cfg.ResourceManager + "/subscriptions/" + url.PathEscape(c.cfg.SubscriptionID) +
		"/providers/Microsoft.ManagedIdentity/userAssignedIdentities?api-version=" + identitiesVersion
	for next != "" {
		var page struct {
			Value    []document `json:"value"`
			NextLink string     `json:"nextLink"`
		}
		if err := c.get(ctx, next, &page); err != nil {
			return nil, err
		}
		for _, d := range page.Value {
			all = append(all, d.identity())
		}
		next = page.NextLink
	}
	return all, nil
}
