package provider

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Limits of a vault's firewall, Azure's own.
const (
	maxIPRules      = 1000
	maxNetworkRules = 200
)

// vaultNetworkACLs is a vault's firewall. The data plane enforces it by the
// peer's address. Rules for virtual networks are kept, and match no one: no
// caller of Lanyard comes from one. Likewise "AzureServices" in Bypass.
type vaultNetworkACLs struct {
	Bypass              string             `json:"bypass"`
	DefaultAction       string             `json:"defaultAction"`
	IPRules             []vaultIPRule      `json:"ipRules"`
	VirtualNetworkRules []vaultNetworkRule `json:"virtualNetworkRules"`
}

type vaultIPRule struct {
	Value string `json:"value"` // an address or a prefix ("10.0.0.0/8")
}

type vaultNetworkRule struct {
	ID                               string `json:"id"`
	IgnoreMissingVnetServiceEndpoint *bool  `json:"ignoreMissingVnetServiceEndpoint,omitempty"`
}

// checkNetwork checks and completes the firewall.
func (v *vaultProperties) checkNetwork(strict bool) error {
	switch {
	case v.PublicNetworkAccess == "", azure.EqualFold(v.PublicNetworkAccess, "Enabled"):
		v.PublicNetworkAccess = "Enabled"
	case azure.EqualFold(v.PublicNetworkAccess, "Disabled"):
		v.PublicNetworkAccess = "Disabled"
	default:
		return invalidVault("publicNetworkAccess", "It must be 'Enabled' or 'Disabled'.")
	}
	n := v.NetworkACLs
	if n == nil {
		return nil
	}
	if !oneOf(&n.Bypass, "AzureServices", "None") {
		return invalidVault("networkAcls.bypass", "It must be 'AzureServices' or 'None'.")
	}
	if !oneOf(&n.DefaultAction, "Allow", "Deny") {
		return invalidVault("networkAcls.defaultAction", "It must be 'Allow' or 'Deny'.")
	}
	if len(n.IPRules) > maxIPRules || len(n.VirtualNetworkRules) > maxNetworkRules {
		return invalidVault("networkAcls", fmt.Sprintf("There may be at most %d ipRules and %d virtualNetworkRules.", maxIPRules, maxNetworkRules))
	}
	for _, rule := range n.IPRules {
		prefix, err := parseIPRule(rule.Value)
		if err != nil {
			return invalidVault("networkAcls.ipRules", fmt.Sprintf("'%s' is no address and no prefix.", rule.Value))
		}
		// Azure sees public addresses only. Behind Lanyard there are others, and
		// no one else to keep them out.
		if strict && (prefix.Addr().IsPrivate() || prefix.Addr().IsLoopback() || prefix.Addr().Is6()) {
			return invalidVault("networkAcls.ipRules", fmt.Sprintf("'%s' is not a public IPv4 address.", rule.Value))
		}
	}
	for _, rule := range n.VirtualNetworkRules {
		id, err := azure.ParseResourceID(rule.ID)
		if err != nil || !azure.EqualFold(id.Type(), "Microsoft.Network/virtualNetworks/subnets") {
			return invalidVault("networkAcls.virtualNetworkRules", fmt.Sprintf("'%s' is not the resource ID of a subnet.", rule.ID))
		}
	}
	if n.IPRules == nil {
		n.IPRules = []vaultIPRule{}
	}
	if n.VirtualNetworkRules == nil {
		n.VirtualNetworkRules = []vaultNetworkRule{}
	}
	return nil
}

// oneOf reports whether value is one of choices, and spells it so. Empty stands
// for the first.
func oneOf(value *string, choices ...string) bool {
	if *value == "" {
		*value = choices[0]
		return true
	}
	for _, choice := range choices {
		if azure.EqualFold(*value, choice) {
			*value = choice
			return true
		}
	}
	return false
}

// parseIPRule reads "address" or "address/bits".
func parseIPRule(value string) (netip.Prefix, error) {
	if strings.Contains(value, "/") {
		prefix, err := netip.ParsePrefix(value)
		return prefix.Masked(), err
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return netip.Prefix{}, err
	}
	if addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("the address %s has a zone", value)
	}
	return addr.Unmap().Prefix(addr.Unmap().BitLen())
}
