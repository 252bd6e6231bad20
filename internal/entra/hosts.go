package entra

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// azureAuthorities are the host names of Microsoft's own token services, in
// every cloud: the names that Azure's client libraries trust without asking,
// and so the only aliases under which this service can be reached. Tokens of
// these issuers, and of hosts below them, are never federated assertions.
var azureAuthorities = []string{
	"login.microsoftonline.com",
	"login.windows.net",
	"login.microsoft.com",
	"sts.windows.net",
	"login-us.microsoftonline.com",
	"login.microsoftonline.us",
	"login.usgovcloudapi.net",
	"login.microsoftonline.de",
	"login.partner.microsoftonline.cn",
	"login.chinacloudapi.cn",
	"login.sovcloud-identity.fr",
	"login.sovcloud-identity.de",
	"login.sovcloud-identity.sg",
}

// Hosts gives the hosts of the token service: its own two, with the port
// unless that is 443, and those of Azure's authority names that the operator
// enabled as aliases. The first is the canonical one.
func Hosts(cloud azure.Cloud) []string {
	hosts := []string{hostOf(cloud.ActiveDirectory()), hostOf(cloud.IssuerV1(""))}
	for _, alias := range cloud.Aliases {
		if slices.Contains(azureAuthorities, azure.Fold(alias)) {
			hosts = append(hosts, azure.Fold(alias))
		}
	}
	return hosts
}

// hostOf gives the host, with its port, of a URL that the cloud itself made.
func hostOf(rawURL string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(rawURL, "https://"), "/")
	return host
}

// withoutPort gives the host name of a host that may carry a port.
func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// base is the URL that the request's client knows this service by. Documents
// name their endpoints under it, since clients go only where their authority
// is.
func (h *Handler) base(r *http.Request) string {
	if r.Host == "" { // HTTP/1.0 without a Host field
		return h.cloud.ActiveDirectory()
	}
	return "https://" + r.Host
}

// authority finds which host of this service the client means by host, as it
// stands in an authorization endpoint. Some clients drop the port when they
// ask: an own host gets the right one back.
func (h *Handler) authority(r *http.Request, host string) (string, bool) {
	for _, known := range h.hosts {
		switch {
		case azure.EqualFold(known, host):
			return host, true
		case azure.EqualFold(withoutPort(known), withoutPort(host)):
			if known == withoutPort(known) {
				return host, true // an alias: reached by whatever port the client says
			}
			return known, true
		}
	}
	return host, azure.EqualFold(host, r.Host)
}

// isAuthority reports whether an issuer is this token service, under any of
// its names, or one of Microsoft's.
func (h *Handler) isAuthority(issuer string) bool {
	u, err := url.Parse(issuer)
	if err != nil {
		return false
	}
	name := strings.TrimSuffix(azure.Fold(u.Hostname()), ".")
	for _, host := range h.hosts {
		if name == azure.Fold(withoutPort(host)) {
			return true
		}
	}
	for _, host := range azureAuthorities {
		if name == host || strings.HasSuffix(name, "."+host) {
			return true
		}
	}
	return false
}
