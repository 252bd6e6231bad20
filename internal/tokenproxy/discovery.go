package tokenproxy

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// instances is the answer to instance discovery, with the members that MSALs read.
type instances struct {
	TenantDiscoveryEndpoint string     `json:"tenant_discovery_endpoint"`
	APIVersion              string     `json:"api-version"`
	Metadata                []instance `json:"metadata"`
}

type instance struct {
	PreferredNetwork string   `json:"preferred_network"`
	PreferredCache   string   `json:"preferred_cache"`
	Aliases          []string `json:"aliases"`
}

// openIDConfiguration is a tenant's discovery document, with the members that
// MSALs read.
type openIDConfiguration struct {
	Issuer                   string   `json:"issuer"`
	TokenEndpoint            string   `json:"token_endpoint"`
	AuthorizationEndpoint    string   `json:"authorization_endpoint"`
	JWKSURI                  string   `json:"jwks_uri"`
	TokenEndpointAuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	ResponseTypes            []string `json:"response_types_supported"`
	SubjectTypes             []string `json:"subject_types_supported"`
	IDTokenAlgorithms        []string `json:"id_token_signing_alg_values_supported"`
}

// hostForm is a host name with or without a port.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?$`)

// instanceDiscovery tells a client that its authority is one, whichever it is:
// this endpoint has taken the authority's place, and the client sends nothing to
// it. Asking the token service itself would take a way out of the cluster.
func (p *Proxy) instanceDiscovery(w http.ResponseWriter, r *http.Request) {
	endpoint, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil || endpoint.Scheme != "https" || !hostForm.MatchString(endpoint.Host) {
		writeError(w, invalidRequest("The query must have authorization_endpoint, an https URL."), "")
		return
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(endpoint.Path, "/"), "/")
	tenant, refused := p.tenant(tenant)
	if refused != nil {
		writeError(w, refused, "")
		return
	}
	writeJSON(w, http.StatusOK, instances{
		TenantDiscoveryEndpoint: "https://" + endpoint.Host + "/" + tenant + "/v2.0/.well-known/openid-configuration", APIVersion: "1.1",
		Metadata: []instance{{PreferredNetwork: endpoint.Host, PreferredCache: endpoint.Host, Aliases: []string{endpoint.Host}}},
	})
}

// tenantDiscovery gives the endpoints of a tenant, under the authority's name, as
// clients require; they send their requests here nevertheless.
func (p *Proxy) tenantDiscovery(w http.ResponseWriter, r *http.Request) {
	tenant, refused := p.tenant(r.PathValue("tenant"))
	if refused != nil {
		writeError(w, refused, "")
		return
	}
	base := "https://" + p.authorityName(r) + "/" + tenant
	writeJSON(w, http.StatusOK, openIDConfiguration{
		Issuer: base + "/v2.0", TokenEndpoint: base + "/oauth2/v2.0/token",
		AuthorizationEndpoint: base + "/oauth2/v2.0/authorize", JWKSURI: base + "/discovery/v2.0/keys",
		TokenEndpointAuthMethods: []string{"private_key_jwt"}, ResponseTypes: []string{"code"},
		SubjectTypes: []string{"pairwise"}, IDTokenAlgorithms: []string{"RS256"},
	})
}

// authorityName is the authority that the client believes it speaks to. Go's SDK
// says it in the Host header, others have the token proxy's own name there: then it
// is the one that the token proxy itself knows.
func (p *Proxy) authorityName(r *http.Request) string {
	name := r.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	own := net.ParseIP(strings.Trim(name, "[]")) != nil || strings.HasPrefix(name, p.cfg.Service+".") || name == p.cfg.Service ||
		name == "localhost" || slices.ContainsFunc(p.cfg.DNSNames, func(n string) bool { return azure.EqualFold(n, name) })
	if own || !hostForm.MatchString(r.Host) {
		return p.authority.Host
	}
	return r.Host
}

// tenant checks a path's tenant and gives the form in which it is asked for.
func (p *Proxy) tenant(name string) (string, *azure.Error) {
	folded := azure.Fold(name)
	if slices.Contains(p.cfg.Tenants, folded) {
		return folded, nil
	}
	return "", azure.Errorf(http.StatusBadRequest, "invalid_tenant", "This token proxy does not serve the tenant '%s'. AZURE_TENANT_ID and --tenant of the token proxy say which it serves.", limited(name))
}
