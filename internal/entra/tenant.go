package entra

import (
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
)

// tenant finds the tenant that a path names: by identifier, in any case, or by
// one of its domains. The names that stand for any tenant are not found here;
// none of the grants can be used with them.
func (h *Handler) tenant(name string) (directory.Tenant, *azure.Error) {
	folded := azure.Fold(name)
	switch {
	case folded == common || folded == organizations || folded == consumers:
		return directory.Tenant{}, errTenantMissing.new()
	case !azure.IsGUID(folded) && !isDomain(folded):
		return directory.Tenant{}, errTenantName.new(name)
	}
	if t, ok := h.directory.Tenant(folded); ok {
		return t, nil
	}
	return directory.Tenant{}, errTenantNotFound.new(name)
}

// adfsTenant gives the tenant of the /adfs paths.
func (h *Handler) adfsTenant() (directory.Tenant, *azure.Error) {
	if h.defaultTenant != "" {
		return h.tenant(h.defaultTenant)
	}
	if all := h.directory.Tenants(); len(all) == 1 {
		return all[0], nil
	}
	return directory.Tenant{}, errTenantMissing.new()
}

// isDomain reports whether a folded s can be a DNS name of two labels or more.
func isDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels, length := 1, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if length == 0 || s[i-1] == '-' {
				return false
			}
			labels, length = labels+1, 0
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-' && length > 0:
			if length++; length > 63 {
				return false
			}
		default:
			return false
		}
	}
	return labels > 1 && length > 0 && s[len(s)-1] != '-'
}

// displayName is what error descriptions call a tenant.
func displayName(t directory.Tenant) string {
	if t.DisplayName != "" {
		return t.DisplayName
	}
	return t.ID
}
