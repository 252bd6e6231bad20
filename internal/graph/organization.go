package graph

import (
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
)

// organizationRoutes serves the tenant itself and its domains.
func organizationRoutes() []route {
	return []route{
		{http.MethodGet, "organization", "organization", read, false, (*Handler).listOrganization},
		{http.MethodGet, "organization/{}", "organization", read, false, (*Handler).getOrganization},
		{http.MethodGet, "domains", "domains", read, false, (*Handler).listDomains},
		{http.MethodGet, "domains/{}", "domains", read, false, (*Handler).getDomain},
	}
}

// organization gives the caller's tenant.
func (h *Handler) organization(r *request) (directory.Tenant, error) {
	t, ok := h.cfg.Directory.Tenant(r.tenant())
	if !ok {
		return directory.Tenant{}, notFound(r.tenant())
	}
	return t, nil
}

func (h *Handler) listOrganization(r *request) (result, error) {
	t, err := h.organization(r)
	if err != nil {
		return result{}, err
	}
	return page(r, "organization", source[directory.Tenant]{
		resource: "Organization",
		id:       func(t directory.Tenant) string { return t.ID },
		fields: map[string]func(directory.Tenant) any{
			"id":          func(t directory.Tenant) any { return t.ID },
			"displayName": func(t directory.Tenant) any { return t.DisplayName },
		},
		show: showOrganization,
	}, []directory.Tenant{t})
}

func (h *Handler) getOrganization(r *request) (result, error) {
	t, err := h.organization(r)
	if err != nil {
		return result{}, err
	}
	if k := r.keys[0]; k.name != "" && k.name != "id" || !azure.EqualFold(k.value, t.ID) {
		return result{}, notFound(k.value)
	}
	return one(r, http.StatusOK, "organization", showOrganization(t), nil), nil
}

func showOrganization(t directory.Tenant) entity {
	domains := []entity{}
	for _, name := range t.Domains {
		domains = append(domains, entity{
			"capabilities": "", "isDefault": name == t.DefaultDomain, "isInitial": name == t.DefaultDomain, "name": name, "type": "Managed",
		})
	}
	return entity{
		"id": t.ID, "deletedDateTime": nil, "displayName": t.DisplayName, "createdDateTime": instant(t.Created),
		"countryLetterCode": orNull(t.CountryCode), "tenantType": "AAD", "verifiedDomains": domains, "businessPhones": []string{},
		"assignedPlans": []string{}, "provisionedPlans": []string{}, "onPremisesSyncEnabled": nil, "technicalNotificationMails": []string{},
	}
}

// domain is a verified DNS name of a tenant.
type domain struct {
	name      string
	isDefault bool
}

// domains gives the tenant's, of which the default one is the initial one too.
func (h *Handler) domains(r *request) ([]domain, error) {
	t, err := h.organization(r)
	if err != nil {
		return nil, err
	}
	all := make([]domain, len(t.Domains))
	for i, name := range t.Domains {
		all[i] = domain{name, name == t.DefaultDomain}
	}
	return all, nil
}

func (h *Handler) listDomains(r *request) (result, error) {
	all, err := h.domains(r)
	if err != nil {
		return result{}, err
	}
	return page(r, "domains", source[domain]{
		resource: "Domain",
		id:       func(d domain) string { return d.name },
		fields: map[string]func(domain) any{
			"id":        func(d domain) any { return d.name },
			"isDefault": func(d domain) any { return d.isDefault },
		},
		show: domain.show,
	}, all)
}

func (h *Handler) getDomain(r *request) (result, error) {
	all, err := h.domains(r)
	if err != nil {
		return result{}, err
	}
	k := r.keys[0]
	i := slices.IndexFunc(all, func(d domain) bool { return azure.EqualFold(d.name, k.value) })
	if i < 0 || k.name != "" && k.name != "id" {
		return result{}, notFound(k.value)
	}
	return one(r, http.StatusOK, "domains", all[i].show(), nil), nil
}

func (d domain) show() entity {
	return entity{
		"id": d.name, "authenticationType": "Managed", "availabilityStatus": nil, "isAdminManaged": true, "isDefault": d.isDefault,
		"isInitial": d.isDefault, "isRoot": true, "isVerified": true, "supportedServices": []string{},
		"passwordValidityPeriodInDays": nil, "passwordNotificationWindowInDays": nil, "state": nil,
	}
}
