package graph

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// federatedCredentialRoutes serves the federated identity credentials of
// applications, each by its ID or its name.
func federatedCredentialRoutes() []route {
	const c, all, each = "applications", "applications/{}/federatedIdentityCredentials", "applications/{}/federatedIdentityCredentials/{}"
	return []route{
		{http.MethodGet, all, c, read, false, (*Handler).listCredentials},
		{http.MethodPost, all, c, write, false, (*Handler).createCredential},
		{http.MethodGet, each, c, read, false, (*Handler).getCredential},
		{http.MethodPatch, each, c, write, false, (*Handler).updateCredential},
		{http.MethodPut, each, c, write, false, (*Handler).putCredential},
		{http.MethodDelete, each, c, write, false, (*Handler).deleteCredential},
	}
}

const credentialResource = "FederatedIdentityCredential"

func credentialContext(applicationID string) string {
	return "applications('" + applicationID + "')/federatedIdentityCredentials"
}

func (h *Handler) listCredentials(r *request) (result, error) {
	id, list, err := h.credentials(r)
	if err != nil {
		return result{}, err
	}
	type credential = directory.FederatedCredential
	return page(r, credentialContext(id), source[credential]{
		resource: credentialResource,
		id:       func(c credential) string { return c.ID },
		fields: map[string]func(credential) any{
			"id":      func(c credential) any { return c.ID },
			"name":    func(c credential) any { return c.Name },
			"issuer":  func(c credential) any { return c.Issuer },
			"subject": func(c credential) any { return c.Subject },
		},
		show: func(c credential) entity { return showCredential(r, c) },
	}, list)
}

// credentials gives the application that the path names, and its credentials.
func (h *Handler) credentials(r *request) (id string, list []directory.FederatedCredential, err error) {
	if id, err = h.applicationID(r); err != nil {
		return "", nil, err
	}
	if _, ok := h.cfg.Directory.Application(r.tenant(), id); !ok {
		return "", nil, notFound(r.keys[0].value)
	}
	return id, h.cfg.Directory.FederatedCredentialsOf(r.tenant(), id), nil
}

// findCredential gives the credential that a key means. An ID goes before a
// name, which may look like one.
func findCredential(list []directory.FederatedCredential, k key) (directory.FederatedCredential, error) {
	if k.name != "" && k.name != "id" && k.name != "name" {
		return directory.FederatedCredential{}, badKey(k, kind{resource: credentialResource})
	}
	for _, by := range []struct {
		key string
		of  func(directory.FederatedCredential) string
	}{
		{"id", func(c directory.FederatedCredential) string { return c.ID }},
		{"name", func(c directory.FederatedCredential) string { return c.Name }},
	} {
		if k.name != "" && k.name != by.key {
			continue
		}
		i := slices.IndexFunc(list, func(c directory.FederatedCredential) bool { return azure.EqualFold(by.of(c), k.value) })
		if i >= 0 {
			return list[i], nil
		}
	}
	return directory.FederatedCredential{}, notFound(k.value)
}

func (h *Handler) getCredential(r *request) (result, error) {
	id, list, err := h.credentials(r)
	if err != nil {
		return result{}, err
	}
	c, err := findCredential(list, r.keys[1])
	if err != nil {
		return result{}, err
	}
	return one(r, http.StatusOK, credentialContext(id), showCredential(r, c), nil), nil
}

// showCredential gives a credential as the version of the API has it: flexible
// ones are beta's.
func showCredential(r *request, c directory.FederatedCredential) entity {
	e := entity{
		"id": c.ID, "name": c.Name, "issuer": c.Issuer, "subject": orNull(c.Subject), "description": orNull(c.Description),
		"audiences": nonNil(c.Audiences),
	}
	if !r.beta {
		return e
	}
	e["claimsMatchingExpression"] = nil
	if x := c.ClaimsMatchingExpression; x != nil {
		e["claimsMatchingExpression"] = entity{"value": x.Value, "languageVersion": x.LanguageVersion}
	}
	return e
}

// credentialWrite is what a client writes of a credential.
type credentialWrite struct{ body body }

func readCredential(r *request) (credentialWrite, error) {
	b, err := readBody(r, false)
	return credentialWrite{b}, err
}

// over applies the write to a credential. The name of one that there is stays:
// it is the credential's identity.
func (w credentialWrite) over(r *request, c directory.FederatedCredential) (directory.FederatedCredential, error) {
	in := maps.Clone(w.body)
	var current entity
	if c.ID != "" {
		current = showCredential(r, c)
	}
	if err := in.takeReadOnly(current, "id"); err != nil {
		return c, err
	}
	name := c.Name
	if _, err := in.takeName(credentialResource, "name", &name); err != nil {
		return c, err
	}
	if c.Name != "" && !azure.EqualFold(name, c.Name) {
		return c, badRequest("Property 'name' is read-only and cannot be set.")
	}
	c.Name = name
	for _, f := range []struct {
		name string
		into *string
	}{{"issuer", &c.Issuer}, {"subject", &c.Subject}, {"description", &c.Description}} {
		if value, ok := in.take(f.name); ok {
			*f.into = "" // what null means
			if err := json.Unmarshal(value, f.into); err != nil {
				return c, invalidValue(f.name, credentialResource, "It must be text.")
			}
		}
	}
	if value, ok := in.take("audiences"); ok {
		c.Audiences = nil
		if err := json.Unmarshal(value, &c.Audiences); err != nil {
			return c, invalidValue("audiences", credentialResource, "It is a list of one text.")
		}
	}
	if r.beta {
		if value, ok := in.take("claimsMatchingExpression"); ok {
			c.ClaimsMatchingExpression = nil
			if err := json.Unmarshal(value, &c.ClaimsMatchingExpression); err != nil {
				return c, invalidValue("claimsMatchingExpression", credentialResource, "It has the members value and languageVersion.")
			}
		}
	}
	for name := range in {
		if !strings.Contains(name, "@") {
			return c, badRequest("Invalid property '%s'.", name)
		}
	}
	return c, nil
}

func (h *Handler) createCredential(r *request) (result, error) {
	id, err := h.applicationID(r)
	if err != nil {
		return result{}, err
	}
	w, err := readCredential(r)
	if err != nil {
		return result{}, err
	}
	made, err := h.writeCredential(r, id, func(list []directory.FederatedCredential) (directory.FederatedCredential, error) {
		c, err := w.over(r, directory.FederatedCredential{})
		if err != nil {
			return c, err
		}
		if _, err := findCredential(list, key{name: "name", value: c.Name}); err == nil {
			return c, azure.Errorf(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue",
				"FederatedIdentityCredential with name %s already exists.", c.Name)
		}
		return c, nil
	})
	if err != nil {
		return result{}, err
	}
	return one(r, http.StatusCreated, credentialContext(id), showCredential(r, made), nil), nil
}

// updateCredential changes the properties that it names. With the header
// "Prefer: create-if-missing" a credential that is named by its name is created
// if there is none.
func (h *Handler) updateCredential(r *request) (result, error) {
	return h.changeCredential(r, prefersCreation(r.http), func(c directory.FederatedCredential) directory.FederatedCredential { return c })
}

// putCredential replaces the credential of a name, or creates it.
func (h *Handler) putCredential(r *request) (result, error) {
	return h.changeCredential(r, true, func(c directory.FederatedCredential) directory.FederatedCredential {
		return directory.FederatedCredential{ID: c.ID, Name: c.Name}
	})
}

// changeCredential writes over what base makes of the credential that the path
// names.
func (h *Handler) changeCredential(r *request, create bool, base func(directory.FederatedCredential) directory.FederatedCredential) (result, error) {
	id, err := h.applicationID(r)
	if err != nil {
		return result{}, err
	}
	w, err := readCredential(r)
	if err != nil {
		return result{}, err
	}
	created := false
	made, err := h.writeCredential(r, id, func(list []directory.FederatedCredential) (directory.FederatedCredential, error) {
		current, err := findCredential(list, r.keys[1])
		created = err != nil
		if e, ok := errors.AsType[*azure.Error](err); ok && e.Status == http.StatusNotFound && create && r.keys[1].name != "id" {
			return w.over(r, directory.FederatedCredential{Name: r.keys[1].value})
		}
		if err != nil {
			return current, err
		}
		return w.over(r, base(current))
	})
	if err != nil || !created {
		return noContent, err
	}
	return one(r, http.StatusCreated, credentialContext(id), showCredential(r, made), nil), nil
}

func prefersCreation(r *http.Request) bool {
	for _, value := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(value, ",") {
			if azure.EqualFold(strings.TrimSpace(preference), "create-if-missing") {
				return true
			}
		}
	}
	return false
}

// writeCredential writes the credential that write makes of those that there
// are, of the application with that object ID.
func (h *Handler) writeCredential(r *request, id string,
	write func([]directory.FederatedCredential) (directory.FederatedCredential, error)) (made directory.FederatedCredential, err error) {
	err = h.update(r.http.Context(), func(tx *store.Tx) error {
		if _, err := h.cfg.Directory.ApplicationIn(tx, r.tenant(), id); err != nil {
			return notFoundAs(err, r.keys[0].value)
		}
		list, err := h.cfg.Directory.FederatedCredentials(tx, r.tenant(), id)
		if err != nil {
			return err
		}
		c, err := write(list)
		if err != nil {
			return err
		}
		c.TenantID, c.Owner = r.tenant(), id
		for _, other := range list {
			if !azure.EqualFold(other.Name, c.Name) && other.Issuer == c.Issuer && other.Subject == c.Subject && c.Subject != "" {
				return azure.Errorf(http.StatusBadRequest, "InvalidFederatedIdentityCredentialValue",
					"The combination of issuer and subject must be unique for the application. Issuer %s and Subject: %s already exist.", c.Issuer, c.Subject)
			}
		}
		if _, err = h.cfg.Directory.PutFederatedCredential(tx, c); err != nil {
			return graphWords(err)
		}
		if list, err = h.cfg.Directory.FederatedCredentials(tx, r.tenant(), id); err != nil {
			return err
		}
		made, err = findCredential(list, key{name: "name", value: c.Name})
		return err
	})
	return made, err
}

// graphWords gives an error of the directory, which speaks as the managed
// identity service does, Graph's code, unless it has that already.
func graphWords(err error) error {
	e, ok := errors.AsType[*azure.Error](err)
	if !ok {
		return err
	}
	changed := *e
	switch {
	case e.Status == http.StatusConflict:
		changed.Code = "Request_MultipleObjectsWithSameKeyValue"
	case e.Code == "BadRequest":
		changed.Code = "Request_BadRequest"
	}
	return &changed
}

// notFoundAs names in a 404 what the client named.
func notFoundAs(err error, name string) error {
	if e, ok := errors.AsType[*azure.Error](err); ok && e.Status == http.StatusNotFound {
		return notFound(name)
	}
	return err
}

func (h *Handler) deleteCredential(r *request) (result, error) {
	id, err := h.applicationID(r)
	if err != nil {
		return result{}, err
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		if _, err := h.cfg.Directory.ApplicationIn(tx, r.tenant(), id); err != nil {
			return notFoundAs(err, r.keys[0].value)
		}
		list, err := h.cfg.Directory.FederatedCredentials(tx, r.tenant(), id)
		if err != nil {
			return err
		}
		c, err := findCredential(list, r.keys[1])
		if err != nil {
			return err
		}
		_, err = h.cfg.Directory.DeleteFederatedCredential(tx, r.tenant(), id, c.Name)
		return err
	})
}
