package azure

import "strings"

// Service is a protected resource of the cloud itself: one for which tokens can
// be asked in every tenant, and the audiences that name it.
type Service struct {
	// Name is the display name that Azure gives to the service's principal.
	Name string
	// AppID is the service's application ID, the same as on Azure.
	AppID string
	// URIs are the identifier URIs, without a trailing slash. The first is the
	// one that Lanyard's own documents name.
	URIs []string
	// TokenVersion is the version of the access tokens that are issued for the
	// service, whatever endpoint they are asked for at: 2, or 1, which 0 stands
	// for.
	TokenVersion int
}

// Names reports whether audience (an aud claim or the resource part of a scope)
// names the service: its application ID or one of its URIs, with or without one
// trailing slash.
func (s Service) Names(audience string) bool {
	if EqualFold(audience, s.AppID) {
		return true
	}
	audience = strings.TrimSuffix(audience, "/")
	for _, uri := range s.URIs {
		if EqualFold(audience, uri) {
			return true
		}
	}
	return false
}

// The services' identifiers in [Cloud.Services].
const (
	ServiceResourceManager = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
	ServiceGraph           = "00000003-0000-0000-c000-000000000000"
	ServiceKeyVault        = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
	ServiceStorage         = "e406a681-f3d4-42a8-90b6-c2b029497af1"
	ServiceRegistry        = "6a0ec4d3-30cb-4a83-91c0-ae56bc0e3d26"
	ServicePostgreSQL      = "123cd850-d9df-40bd-94d5-c9f07b7fa203"
	ServiceTokenExchange   = "fb60f99c-7a34-4190-8149-302f77469936" //nolint:gosec // a public identifier
)

// Services lists the cloud's own protected resources, each with Azure's public
// identifiers beside those under the domain: which host a token opens follows
// from its issuer and this cloud's keys, so the public names grant nothing on
// Azure and unchanged configurations keep working.
func (c Cloud) Services() []Service {
	return []Service{
		{Name: "Windows Azure Service Management API", AppID: ServiceResourceManager, URIs: []string{
			c.ResourceManager(), "https://management.azure.com", "https://management.core.windows.net"}},
		{Name: "Microsoft Graph", AppID: ServiceGraph, URIs: []string{
			c.Graph(), "https://graph.microsoft.com"}},
		{Name: "Azure Key Vault", AppID: ServiceKeyVault, URIs: []string{
			"https://" + c.VaultSuffix(), "https://vault." + c.Domain, "https://vault.azure.net"}},
		{Name: "Azure Storage", AppID: ServiceStorage, URIs: []string{
			"https://storage." + c.Domain, "https://storage.azure.com"}},
		{Name: "Azure Container Registry", AppID: ServiceRegistry, URIs: []string{
			"https://containerregistry." + c.Domain, "https://containerregistry.azure.net"}},
		{Name: "OSSRDBMS AAD", AppID: ServicePostgreSQL, URIs: []string{
			"https://ossrdbms-aad.database." + c.Domain, "https://ossrdbms-aad.database.windows.net"}},
		{Name: "AAD Token Exchange Endpoint: Public", AppID: ServiceTokenExchange, URIs: []string{
			"api://AzureADTokenExchange"}, TokenVersion: 2},
	}
}

// Service gives the service with the given application ID. It panics if there
// is none: the argument is one of the constants above.
func (c Cloud) Service(appID string) Service {
	for _, s := range c.Services() {
		if s.AppID == appID {
			return s
		}
	}
	panic("azure: no service " + appID)
}
