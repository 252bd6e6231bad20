package directory

import (
	"net/url"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The layout in the store. IDs and names are folded. The first group are the
// records, which the view follows; the second are guards, which only
// transactions read: creating one fails where the name is taken.
//
//	directory/tenants/{tenant}                     Tenant
//	directory/subscriptions/{subscription}         Subscription
//	directory/principals/{tenant}/{object ID}      Principal
//	directory/applications/{tenant}/{object ID}    Application
//	directory/credentials/{tenant}/{owner}         []FederatedCredential
//
//	directory/clients/{client ID}                  clientGuard
//	directory/objects/{object ID}                  tenant
//	directory/domains/{domain}                     tenant
//	directory/names/{tenant}/{user principal name} object ID
//	directory/uris/{tenant}/{identifier URI}       client ID
//	directory/ended/{tenant}                       Tenant, while what it had is removed
//
// An owner's federated credentials are one record, because every rule about
// them (how many, which names, which issuer and subject) is about all of them:
// the record is its own guard.
const (
	prefix        = "directory/"
	tenants       = "tenants"
	subscriptions = "subscriptions"
	principals    = "principals"
	applications  = "applications"
	credentials   = "credentials"
	clients       = "clients"
	objects       = "objects"
	domains       = "domains"
	names         = "names"
	uris          = "uris"
	ended         = "ended"
)

// clientGuard is the value of a client ID's key, and leads a transaction from
// the client ID to the objects.
type clientGuard struct {
	TenantID    string `json:"tenantId"`
	Principal   string `json:"principal"`
	Application string `json:"application,omitempty"` // object ID; empty for managed identities
}

// key joins the folded parts to a key of the given kind.
func key(kind string, parts ...string) string {
	return azure.Fold(prefix + kind + "/" + strings.Join(parts, "/"))
}

func uriKey(tenantID, uri string) string {
	return key(uris, tenantID, url.PathEscape(foldURI(uri)))
}

// foldURI is the form under which identifier URIs are compared: case and one
// trailing slash do not count, as clients add and drop both.
func foldURI(uri string) string {
	return azure.Fold(strings.TrimSuffix(uri, "/"))
}

// splitKey takes a key apart that [key] has made of one or two parts.
func splitKey(k string) (kind, first, second string) {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(k, prefix), "/")
	first, second, _ = strings.Cut(rest, "/")
	return kind, first, second
}
