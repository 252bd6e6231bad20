package entra

import (
	"maps"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// route is what stands at one path below a tenant.
type route struct {
	// method is GET, which admits HEAD, or POST.
	method string
	serve  func(h *Handler, w http.ResponseWriter, r *http.Request, tenant string)
}

// tenantRoutes are the paths below /{tenant}/, exactly as they are spelled.
func tenantRoutes() map[string]route {
	return map[string]route{
		"oauth2/v2.0/token":                     {http.MethodPost, (*Handler).tokenV2},
		"oauth2/token":                          {http.MethodPost, (*Handler).tokenV1},
		"v2.0/.well-known/openid-configuration": {http.MethodGet, (*Handler).openIDConfigurationV2},
		".well-known/openid-configuration":      {http.MethodGet, (*Handler).openIDConfigurationV1},
		"discovery/v2.0/keys":                   {http.MethodGet, (*Handler).jwksV2},
		"discovery/keys":                        {http.MethodGet, (*Handler).jwksV1},
	}
}

// adfsRoutes are the paths below /adfs/: the same service for clients that
// believe it to be Active Directory Federation Services, which has one tenant
// and is not subject to instance discovery.
func adfsRoutes() map[string]route {
	return map[string]route{
		"oauth2/token":                     {http.MethodPost, (*Handler).tokenADFS},
		"oauth2/v2.0/token":                {http.MethodPost, (*Handler).tokenADFS},
		".well-known/openid-configuration": {http.MethodGet, (*Handler).openIDConfigurationADFS},
		"discovery/v2.0/keys":              {http.MethodGet, (*Handler).jwksADFS},
		"discovery/keys":                   {http.MethodGet, (*Handler).jwksADFS},
	}
}

// commonRoutes are the paths below /common/ and /organizations/, which stand
// for any tenant.
func commonRoutes() map[string]route {
	routes := maps.Clone(tenantRoutes())
	routes["discovery/instance"] = route{http.MethodGet, (*Handler).instanceDiscovery}
	return routes
}

// Names that stand in the tenant's place of a path.
const (
	adfs          = "adfs"
	common        = "common"
	organizations = "organizations"
	consumers     = "consumers"
)

// ServeHTTP answers a request to any host of [Hosts]. Paths are matched exactly
// and as they were sent, without cleaning or redirects: a request for a token
// must reach the token endpoint at the first try or fail.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = h.begin(w, r)
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	routes := h.tenantRoutes
	switch azure.Fold(tenant) {
	case adfs:
		routes = h.adfsRoutes
	case common, organizations:
		routes = h.commonRoutes
	}
	found, ok := routes[rest]
	switch {
	case !ok || tenant == "":
		h.notFound(w, r)
	case r.Method == found.method, r.Method == http.MethodHead && found.method == http.MethodGet:
		if span := h.tracer.Current(r.Context()); span.Recording() {
			span.Route(r.Method, "/{tenant}/"+rest)
		}
		found.serve(h, w, r, tenant)
	case r.Method == http.MethodOptions:
		h.options(w, found)
	default:
		w.Header().Set("Allow", found.allow())
		h.writeError(w, r, errMethod.new(found.method, r.Method))
	}
}

// allow lists the methods of a route.
func (t route) allow() string {
	if t.method == http.MethodGet {
		return "GET, HEAD, OPTIONS"
	}
	return t.method + ", OPTIONS"
}

// options answers OPTIONS. Scripts of any origin may read the public documents;
// none may ask for a token, since only clients that can keep a secret get one.
func (h *Handler) options(w http.ResponseWriter, t route) {
	w.Header().Set("Allow", t.allow())
	if t.method == http.MethodGet {
		allowOrigins(w)
		w.Header().Set("Access-Control-Allow-Methods", "GET, OPTIONS")
	}
	w.WriteHeader(http.StatusNoContent)
}

// allowOrigins lets scripts of any origin read a public document.
func allowOrigins(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
}

// notFound answers a path that leads nowhere. It is not one of Entra's errors,
// and so has no number; the shape is the same.
func (h *Handler) notFound(w http.ResponseWriter, r *http.Request) {
	h.writeError(w, r, azure.Errorf(http.StatusNotFound, invalidRequest,
		"There is no endpoint at %s. The token service has {tenant}/oauth2/v2.0/token, {tenant}/oauth2/token, "+
			"{tenant}/v2.0/.well-known/openid-configuration and {tenant}/discovery/v2.0/keys; "+
			"interactive sign-in is not offered.", shorten(r.URL.EscapedPath())))
}
