package keyvault

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// azureSuffix is the suffix of vaults on Azure itself, which Lanyard answers to
// where the operator enabled the alias "*.vault.azure.net".
const azureSuffix = ".vault.azure.net"

// address is what a request's Host says.
type address struct {
	vault     string // folded name
	base      string // "https://host[:port]" for the answers' own links
	resource  string // the challenge's resource
	authority string // base URL of the token service for the challenge
}

// Serves reports whether a request with this Host is the plane's: the name of
// any vault, existing or not, under one of its suffixes.
func (h *Handler) Serves(host string) bool {
	_, ok := h.parseHost(host)
	return ok
}

// parseHost reads "{vault}.vault.{domain}[:port]", or the same under the alias.
//
// SDKs refuse a challenge unless the vault's host, with its port, ends with "."
// and the host of the challenge's resource. The resource therefore carries the
// port that the client used, if that is this cloud's own or none (a load
// balancer in front of it listens on 443).
func (h *Handler) parseHost(host string) (address, bool) {
	host = azure.Fold(host)
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		var err error
		if name, port, err = net.SplitHostPort(host); err != nil {
			return address{}, false
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return address{}, false
		}
		if port == "443" {
			port = ""
		}
	}
	name = strings.TrimSuffix(name, ".")
	base := "https://" + name
	if port != "" {
		base += ":" + port
	}
	cloud := h.cfg.Cloud
	ownSuffix := ".vault." + azure.Fold(cloud.Domain)
	if vault, ok := strings.CutSuffix(name, ownSuffix); ok && vaultName.MatchString(vault) {
		resource := "https://" + cloud.VaultSuffix()
		if port == "" {
			resource = "https://" + ownSuffix[1:]
		}
		return address{vault: vault, base: base, resource: resource, authority: cloud.ActiveDirectory()}, true
	}
	if vault, ok := strings.CutSuffix(name, azureSuffix); ok && vaultName.MatchString(vault) && h.hasAlias("*"+azureSuffix) {
		return address{vault: vault, base: base, resource: "https://" + azureSuffix[1:], authority: h.aliasAuthority()}, true
	}
	return address{}, false
}

func (h *Handler) hasAlias(alias string) bool {
	return slices.ContainsFunc(h.cfg.Cloud.Aliases, func(a string) bool { return azure.EqualFold(a, alias) })
}

// aliasAuthority gives the token service's name for a client that reached the
// vault by Azure's own name: one that its SDK trusts without asking Microsoft,
// where the operator enabled one.
func (h *Handler) aliasAuthority() string {
	for _, host := range []string{"login.microsoftonline.com", "login-us.microsoftonline.com"} {
		if h.hasAlias(host) {
			return "https://" + host
		}
	}
	return h.cfg.Cloud.ActiveDirectory()
}
