package azure

import (
	"net"
	"strconv"
)

// Cloud is the set of names under which one Lanyard is reached. All hosts share
// one HTTPS port; the port is part of every URL and DNS suffix that a client is
// given, except 443.
type Cloud struct {
	// Domain is the parent of every host name, "lanyard.localhost" by default.
	Domain string
	// Port is the HTTPS port.
	Port int
	// Aliases are Azure's own host names and suffixes that the operator enabled
	// ("login-us.microsoftonline.com", "*.vault.azure.net").
	Aliases []string
}

// hostPort gives name under the domain, with the port unless it is 443.
func (c Cloud) hostPort(name string) string {
	host := name + "." + c.Domain
	if c.Port == 443 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(c.Port))
}

// ResourceManager is the base URL of Azure Resource Manager.
func (c Cloud) ResourceManager() string { return "https://" + c.hostPort("management") }

// ActiveDirectory is the base URL of the token service.
func (c Cloud) ActiveDirectory() string { return "https://" + c.hostPort("login") }

// Graph is the base URL of Microsoft Graph.
func (c Cloud) Graph() string { return "https://" + c.hostPort("graph") }

// OIDC is the base URL below which the issuers of attached clusters lie.
func (c Cloud) OIDC() string { return "https://" + c.hostPort("oidc") }

// Agents is the base URL of the channel to the agents of attached clusters.
func (c Cloud) Agents() string { return "https://" + c.hostPort("agents") }

// Portal is the base URL of the web console.
func (c Cloud) Portal() string { return "https://" + c.hostPort("console") }

// VaultSuffix is what follows "{vault}." in a vault's host, with the port and
// without a leading dot.
func (c Cloud) VaultSuffix() string { return c.hostPort("vault") }

// RegistrySuffix is what follows "{registry}." in a login server.
func (c Cloud) RegistrySuffix() string { return c.hostPort("azurecr") }

// BlobSuffix is what follows "{account}." in a blob endpoint.
func (c Cloud) BlobSuffix() string { return c.hostPort("blob") }

// VaultURI is a vault's base URL, with the trailing slash that Azure gives it.
func (c Cloud) VaultURI(vault string) string {
	return "https://" + Fold(vault) + "." + c.VaultSuffix() + "/"
}

// IssuerV1 is the iss of version 1 access tokens of a tenant: the one canonical
// value, whatever alias the client came by. Azure's is
// "https://sts.windows.net/{tenant}/".
func (c Cloud) IssuerV1(tenantID string) string {
	return "https://" + c.hostPort("sts") + "/" + tenantID + "/"
}

// IssuerV2 is the iss of version 2 tokens. Azure's is
// "https://login.microsoftonline.com/{tenant}/v2.0".
func (c Cloud) IssuerV2(tenantID string) string {
	return c.ActiveDirectory() + "/" + tenantID + "/v2.0"
}
