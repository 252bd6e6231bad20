package entra

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// instances is the answer to instance discovery.
type instances struct {
	TenantDiscoveryEndpoint string `json:"tenant_discovery_endpoint"`
	APIVersion              string `json:"api-version"`
	// Metadata is absent in api-version 1.0.
	Metadata []instance `json:"metadata,omitempty"`
}

// instance is a group of hosts that clients may take for one another: they send
// requests to the preferred network host and keep tokens under the preferred
// cache name.
type instance struct {
	PreferredNetwork string   `json:"preferred_network"`
	PreferredCache   string   `json:"preferred_cache"`
	Aliases          []string `json:"aliases"`
}

// instanceDiscovery tells a client whether the authority that it was configured
// with is one, before it sends a secret there. The authorities here are this
// service's own hosts; every one is in an entry of its own, since a client that
// is told of an alias goes to the preferred one, which it may not be able to
// reach.
func (h *Handler) instanceDiscovery(w http.ResponseWriter, r *http.Request, tenant string) {
	if azure.Fold(tenant) != common {
		h.notFound(w, r)
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["api-version"]) != 1 || len(query["authorization_endpoint"]) != 1 {
		h.writeError(w, r, h.withHint(errInstanceRequest.new(), "It needs api-version and authorization_endpoint, once each."))
		return
	}
	version := query.Get("api-version")
	if version != "1.0" && version != "1.1" {
		h.writeError(w, r, h.withHint(errInstanceRequest.new(), "The api-version is 1.0 or 1.1."))
		return
	}
	endpoint, e := parseAuthorizationEndpoint(query.Get("authorization_endpoint"))
	if e != nil {
		h.writeError(w, r, e)
		return
	}
	host, ok := h.authority(r, endpoint.host)
	if !ok {
		h.writeError(w, r, errInstance.new())
		return
	}
	answer := instances{
		TenantDiscoveryEndpoint: "https://" + host + "/" + endpoint.tenant + endpoint.version + "/.well-known/openid-configuration",
		APIVersion:              version,
	}
	if version == "1.1" {
		answer.Metadata = h.entries(host, strings.TrimPrefix(h.base(r), "https://"))
	}
	h.writeDocument(w, r, answer)
}

// entries gives an entry for each host: those asked for, then the service's.
func (h *Handler) entries(hosts ...string) []instance {
	var all []instance
	for _, host := range append(hosts, h.hosts...) {
		entry := instance{PreferredNetwork: host, PreferredCache: host, Aliases: []string{host}}
		if !slices.ContainsFunc(all, func(e instance) bool { return e.PreferredNetwork == host }) {
			all = append(all, entry)
		}
	}
	return all
}

// authorizationEndpoint is what instance discovery is asked about.
type authorizationEndpoint struct {
	host, tenant string
	version      string // "/v2.0", or empty for version 1
}

// parseAuthorizationEndpoint takes apart https://{host}/{tenant}/oauth2/v2.0/authorize,
// or the version 1 form without /v2.0.
func parseAuthorizationEndpoint(raw string) (authorizationEndpoint, *azure.Error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return authorizationEndpoint{}, errInstance.new()
	}
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	a := authorizationEndpoint{host: u.Host, tenant: tenant}
	switch rest {
	case "oauth2/v2.0/authorize":
		a.version = "/v2.0"
	case "oauth2/authorize":
	default:
		return authorizationEndpoint{}, errInstance.new()
	}
	if folded := azure.Fold(tenant); !azure.IsGUID(folded) && !isDomain(folded) &&
		folded != common && folded != organizations && folded != consumers {
		return authorizationEndpoint{}, errTenantName.new(tenant)
	}
	return a, nil
}
