package entra

import (
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// openIDConfiguration is the OpenID Connect discovery document, with the
// members that Entra's has.
type openIDConfiguration struct {
	TokenEndpoint                   string   `json:"token_endpoint"`
	TokenEndpointAuthMethods        []string `json:"token_endpoint_auth_methods_supported"`
	JWKSURI                         string   `json:"jwks_uri"`
	ResponseModes                   []string `json:"response_modes_supported"`
	SubjectTypes                    []string `json:"subject_types_supported"`
	IDTokenSigningAlgorithms        []string `json:"id_token_signing_alg_values_supported"`
	ResponseTypes                   []string `json:"response_types_supported"`
	Scopes                          []string `json:"scopes_supported"`
	Issuer                          string   `json:"issuer"`
	RequestURIParameter             bool     `json:"request_uri_parameter_supported"`
	UserinfoEndpoint                string   `json:"userinfo_endpoint"`
	AuthorizationEndpoint           string   `json:"authorization_endpoint"`
	DeviceAuthorizationEndpoint     string   `json:"device_authorization_endpoint"`
	HTTPLogout                      bool     `json:"http_logout_supported"`
	FrontchannelLogout              bool     `json:"frontchannel_logout_supported"`
	EndSessionEndpoint              string   `json:"end_session_endpoint"`
	Claims                          []string `json:"claims_supported"`
	KerberosEndpoint                string   `json:"kerberos_endpoint"`
	TenantRegionScope               *string  `json:"tenant_region_scope"`
	CloudInstanceName               string   `json:"cloud_instance_name"`
	CloudGraphHostName              string   `json:"cloud_graph_host_name"`
	MicrosoftGraphHost              string   `json:"msgraph_host"`
	RoleBasedAccessControlServerURL string   `json:"rbac_url"`
}

// anyTenant stands for the tenant's identifier in the documents of /common and
// /organizations, literally: clients put the token's tid in its place.
const anyTenant = "{tenantid}"

// openIDConfigurationV2 serves the version 2 document. Its issuer is under the
// host that the client came by, since clients refuse an issuer that is neither
// there nor on their own list; at the canonical host it is therefore the iss of
// version 2 tokens, which no alias changes.
func (h *Handler) openIDConfigurationV2(w http.ResponseWriter, r *http.Request, tenant string) {
	id, segment, region, e := h.discoveryTenant(tenant)
	if e != nil {
		h.writeError(w, r, e)
		return
	}
	base := h.base(r)
	h.writeDocument(w, r, h.document(base+"/"+id+"/v2.0", base+"/"+segment, "/v2.0", region))
}

// openIDConfigurationV1 serves the version 1 document. Its issuer is the iss of
// version 1 tokens at every host: it lies under a host of its own on Azure too,
// and no client library compares it with the authority.
func (h *Handler) openIDConfigurationV1(w http.ResponseWriter, r *http.Request, tenant string) {
	id, segment, region, e := h.discoveryTenant(tenant)
	if e != nil {
		h.writeError(w, r, e)
		return
	}
	h.writeDocument(w, r, h.document(h.cloud.IssuerV1(id), h.base(r)+"/"+segment, "", region))
}

// openIDConfigurationADFS serves the document of /adfs. Its issuer is that of
// the version 2 document of the tenant behind it.
func (h *Handler) openIDConfigurationADFS(w http.ResponseWriter, r *http.Request, segment string) {
	t, e := h.adfsTenant()
	if e != nil {
		h.writeError(w, r, inDiscovery(e))
		return
	}
	base, region := h.base(r), regionScope
	h.writeDocument(w, r, h.document(base+"/"+t.ID+"/v2.0", base+"/"+segment, "", &region))
}

// regionScope is the region of every tenant: a cloud of one place serves the
// world, which is what Entra calls WW.
const regionScope = "WW"

// document gives the document of an issuer whose endpoints are below root, of a
// version: "/v2.0", or "" for the first. Interactive sign-in is not offered; its
// endpoints are named all the same, since clients refuse a document without an
// authorization endpoint.
func (h *Handler) document(issuer, root, version string, region *string) openIDConfiguration {
	graph, oauth := hostOf(h.cloud.Graph()), root+"/oauth2"+version
	return openIDConfiguration{
		Issuer:                      issuer,
		TokenEndpoint:               oauth + "/token",
		AuthorizationEndpoint:       oauth + "/authorize",
		DeviceAuthorizationEndpoint: oauth + "/devicecode",
		EndSessionEndpoint:          oauth + "/logout",
		JWKSURI:                     root + "/discovery" + version + "/keys",
		TokenEndpointAuthMethods:    []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		ResponseModes:               []string{"query", "fragment", "form_post"},
		SubjectTypes:                []string{"pairwise"},
		IDTokenSigningAlgorithms:    []string{"RS256"},
		ResponseTypes:               []string{"code", "id_token", "code id_token", "id_token token"},
		Scopes:                      []string{"openid", "profile", "email", "offline_access"},
		UserinfoEndpoint:            h.cloud.Graph() + "/oidc/userinfo",
		HTTPLogout:                  true,
		FrontchannelLogout:          true,
		Claims: []string{"sub", "iss", "aud", "exp", "iat", "nbf", "name", "oid",
			"preferred_username", "tid", "ver"},
		KerberosEndpoint:                root + "/kerberos",
		TenantRegionScope:               region,
		CloudInstanceName:               h.cloud.Domain,
		CloudGraphHostName:              graph,
		MicrosoftGraphHost:              graph,
		RoleBasedAccessControlServerURL: h.cloud.ResourceManager(),
	}
}

// discoveryTenant resolves the tenant of a discovery path: its identifier in
// issuers, its segment in endpoints, and its region.
func (h *Handler) discoveryTenant(name string) (id, segment string, region *string, e *azure.Error) {
	if folded := azure.Fold(name); folded == common || folded == organizations {
		return anyTenant, folded, nil, nil
	}
	t, e := h.tenant(name)
	if e != nil {
		return "", "", nil, inDiscovery(e)
	}
	scope := regionScope
	return t.ID, t.ID, &scope, nil
}

// inDiscovery gives a tenant's error the code that discovery has for it.
func inDiscovery(e *azure.Error) *azure.Error {
	e.Code = invalidTenant
	return e
}

// writeDocument writes a public document that clients may keep for a day.
func (h *Handler) writeDocument(w http.ResponseWriter, r *http.Request, doc any) {
	cacheForADay(w)
	h.writeJSON(w, r, http.StatusOK, doc)
}

func cacheForADay(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "max-age=86400, private")
	allowOrigins(w)
}

// jwksV2 serves the keys with the issuer of version 2 tokens.
func (h *Handler) jwksV2(w http.ResponseWriter, r *http.Request, tenant string) {
	h.jwks(w, r, tenant, h.cloud.IssuerV2)
}

// jwksV1 serves the keys with the issuer of version 1 tokens.
func (h *Handler) jwksV1(w http.ResponseWriter, r *http.Request, tenant string) {
	h.jwks(w, r, tenant, h.cloud.IssuerV1)
}

func (h *Handler) jwks(w http.ResponseWriter, r *http.Request, tenant string, issuer func(string) string) {
	id, _, _, e := h.discoveryTenant(tenant)
	if e != nil {
		h.writeError(w, r, e)
		return
	}
	h.writeKeys(w, issuer(id))
}

// jwksADFS serves the keys to clients that take the service for AD FS.
func (h *Handler) jwksADFS(w http.ResponseWriter, r *http.Request, _ string) {
	t, e := h.adfsTenant()
	if e != nil {
		h.writeError(w, r, inDiscovery(e))
		return
	}
	h.writeKeys(w, h.cloud.IssuerV2(t.ID))
}

// writeKeys writes the keys with the canonical issuer, by which resource
// servers tell which tokens a key may sign.
func (h *Handler) writeKeys(w http.ResponseWriter, issuer string) {
	cacheForADay(w)
	h.write(w, http.StatusOK, h.keys.JWKS(issuer))
}
