package server

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// plane is a part of the cloud that has host names of its own. The value
// labels metrics and logs.
type plane string

const (
	planeNone     plane = "none"     // no host of this cloud
	planeSelf     plane = "self"     // health and metrics, under the bare domain or an address
	planeEntra    plane = "entra"    // login.D, sts.D
	planeARM      plane = "arm"      // management.D
	planeKeyVault plane = "keyvault" // {vault}.vault.D
	planeGraph    plane = "graph"    // graph.D
	planeIssuers  plane = "issuers"  // oidc.D: documents of the issuers of attached clusters
	planeAgents   plane = "agents"   // agents.D: agents of attached clusters
)

// alias is one of Azure's own names under which a plane can answer.
type alias struct {
	name  string // a host name, or "*." and the parent of host names
	plane plane
}

// aliases are those of the planes that this build serves.
var aliases = []alias{
	{"login-us.microsoftonline.com", planeEntra},
	{"login.microsoftonline.com", planeEntra},
	{"login.microsoftonline.us", planeEntra},
	{"login.microsoft.com", planeEntra},
	{"login.windows.net", planeEntra},
	{"sts.windows.net", planeEntra},
	{"management.azure.com", planeARM},
	{"*.vault.azure.net", planeKeyVault},
	{"graph.microsoft.com", planeGraph},
}

// KnownAliases lists the names that [Config.Aliases] may hold.
func KnownAliases() []string {
	names := make([]string, 0, len(aliases))
	for _, a := range aliases {
		names = append(names, a.name)
	}
	return names
}

// checkAliases gives the configured aliases folded, sorted and each once.
func checkAliases(configured []string) ([]string, error) {
	known := KnownAliases()
	var names []string
	for _, name := range configured {
		name = azure.Fold(name)
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("alias %q is not one that this cloud can answer to: those are %s",
				name, strings.Join(known, ", "))
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// router finds the plane that a host name belongs to.
type router struct {
	domain  string           // folded
	exact   map[string]plane // host name to plane
	parents map[string]plane // ".parent" to plane, for any one label below it
}

func newRouter(cloud azure.Cloud) *router {
	d := azure.Fold(cloud.Domain)
	r := &router{
		domain: d,
		exact: map[string]plane{
			"login." + d:      planeEntra,
			"sts." + d:        planeEntra,
			"management." + d: planeARM,
			"graph." + d:      planeGraph,
			"oidc." + d:       planeIssuers,
			"agents." + d:     planeAgents,
			d:                 planeSelf,
			"localhost":       planeSelf,
		},
		parents: map[string]plane{".vault." + d: planeKeyVault},
	}
	for _, a := range aliases {
		if !slices.Contains(cloud.Aliases, a.name) {
			continue
		}
		if parent, ok := strings.CutPrefix(a.name, "*"); ok {
			r.parents[parent] = a.plane
		} else {
			r.exact[a.name] = a.plane
		}
	}
	return r
}

// route gives the plane of a request's Host, whose port does not matter: a
// client that comes by a proxy, a load balancer or an alias names another one.
func (r *router) route(host string) plane {
	name := hostname(host)
	if p, ok := r.exact[name]; ok {
		return p
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		if p, ok := r.parents[name[i:]]; ok {
			return p
		}
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return planeSelf
	}
	return planeNone
}

// hostname is a Host without port, trailing dot, brackets and case.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return azure.Fold(strings.TrimSuffix(host, "."))
}

// unserved are hosts that Lanyard has a name for and this build no service.
var unserved = map[string]string{
	"console": "the web console", "azurecr": "container registries", "blob": "blob storage",
}

// explain says why a host has no service, and which hosts have one.
func (r *router) explain(host string) string {
	name := hostname(host)
	below, ours := strings.CutSuffix(name, "."+r.domain)
	if ours {
		last := below[strings.LastIndexByte(below, '.')+1:]
		if what, ok := unserved[last]; ok {
			return fmt.Sprintf("This build of Lanyard does not serve %s, so there is nothing at %q.", what, clip(name, 256))
		}
	}
	return fmt.Sprintf("No service of this cloud has the host name %q. There are login.%s, management.%s, graph.%s, {vault}.vault.%s, oidc.%s and agents.%s, "+
		"and the names that the configuration enables under aliases.", clip(name, 256), r.domain, r.domain, r.domain, r.domain, r.domain, r.domain)
}
