package graph

import (
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// userRoutes serves users, by object ID or user principal name, and "me".
func userRoutes() []route {
	const c = "users"
	return []route{
		{http.MethodGet, "users", c, read, false, (*Handler).listUsers},
		{http.MethodPost, "users", c, write, false, (*Handler).createUser},
		{http.MethodGet, "users/{}", c, read, true, (*Handler).getUser},
		{http.MethodPatch, "users/{}", c, write, false, (*Handler).updateUser},
		{http.MethodDelete, "users/{}", c, remove, false, (*Handler).deleteUser},
		{http.MethodGet, "me", c, read, true, (*Handler).getMe},
	}
}

// user gives the user that the path names.
func (h *Handler) user(r *request) (directory.Principal, error) {
	k := r.keys[0]
	if k.name != "" && k.name != "id" && k.name != "userPrincipalName" {
		return directory.Principal{}, badKey(k, userKind)
	}
	p, ok := h.cfg.Directory.User(r.tenant(), k.value)
	if !ok {
		return directory.Principal{}, notFound(k.value)
	}
	return p, nil
}

func (h *Handler) listUsers(r *request) (result, error) {
	return h.listKind(r, userKind, h.principals(r, azure.User))
}

func (h *Handler) getUser(r *request) (result, error) {
	p, err := h.user(r)
	if err != nil {
		return result{}, err
	}
	return one(r, http.StatusOK, userKind.collection, h.show(r, object{principal: p}), userKind.defaults), nil
}

// onlyUsers refuses what is about the signed-in user to a token without one.
func onlyUsers(r *request) error {
	if r.caller.Type != azure.User {
		return azure.Errorf(http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
	}
	return nil
}

func (h *Handler) getMe(r *request) (result, error) {
	if err := onlyUsers(r); err != nil {
		return result{}, err
	}
	r.keys = []key{{value: r.caller.ObjectID}}
	return h.getUser(r)
}

// userWrite is what a client writes of a user.
type userWrite struct {
	displayName, name *string
	enabled           *bool
	password          bool
	kept              body
}

func readUser(r *request, current entity) (userWrite, error) {
	b, err := readBody(r, false)
	if err != nil {
		return userWrite{}, err
	}
	w := userWrite{kept: b}
	if err := w.kept.takeReadOnly(current, "id", "createdDateTime", "deletedDateTime", "securityIdentifier"); err != nil {
		return w, err
	}
	for _, f := range []struct {
		name string
		into **string
	}{{"displayName", &w.displayName}, {"userPrincipalName", &w.name}} {
		var s string
		if given, err := w.kept.takeName(userKind.resource, f.name, &s); err != nil {
			return w, err
		} else if given {
			*f.into = &s
		}
	}
	var enabled bool
	if given, err := w.kept.takeInto(userKind.resource, "accountEnabled", &enabled); err != nil {
		return w, err
	} else if given {
		w.enabled = &enabled
	}
	// Nobody signs in with a password here: it is looked at and forgotten.
	var profile struct {
		Password string `json:"password"`
	}
	w.password, err = w.kept.takeInto(userKind.resource, "passwordProfile", &profile)
	return w, err
}

func (w userWrite) apply(p *directory.Principal) (err error) {
	if w.displayName != nil {
		p.DisplayName = *w.displayName
	}
	if w.name != nil {
		p.UserPrincipalName = *w.name
	}
	if w.enabled != nil {
		p.Disabled = !*w.enabled
	}
	p.Properties, err = userSchema.merge(p.Properties, w.kept)
	return err
}

func (h *Handler) createUser(r *request) (result, error) {
	w, err := readUser(r, nil)
	if err != nil {
		return result{}, err
	}
	for _, required := range []struct {
		name  string
		given bool
	}{
		{"accountEnabled", w.enabled != nil}, {"displayName", w.displayName != nil}, {"mailNickname", w.kept.has("mailNickname")},
		{"passwordProfile", w.password}, {"userPrincipalName", w.name != nil},
	} {
		if !required.given {
			return result{}, invalidValue(required.name, userKind.resource, "It must be given.")
		}
	}
	var made directory.Principal
	err = h.update(r.http.Context(), func(tx *store.Tx) error {
		p, err := h.cfg.Directory.CreateUser(tx, r.tenant(), *w.name, *w.displayName)
		if err != nil {
			return err
		}
		made, err = h.cfg.Directory.ChangePrincipal(tx, r.tenant(), p.ObjectID, w.apply)
		return err
	})
	if err != nil {
		return result{}, err
	}
	res := one(r, http.StatusCreated, userKind.collection, h.show(r, object{principal: made}), userKind.defaults)
	res.location = r.location(made.ObjectID)
	return res, nil
}

func (h *Handler) updateUser(r *request) (result, error) {
	p, err := h.user(r)
	if err != nil {
		return result{}, err
	}
	w, err := readUser(r, h.show(r, object{principal: p}))
	if err != nil {
		return result{}, err
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		_, err := h.cfg.Directory.ChangePrincipal(tx, r.tenant(), p.ObjectID, w.apply)
		return err
	})
}

func (h *Handler) deleteUser(r *request) (result, error) {
	p, err := h.user(r)
	if err != nil {
		return result{}, err
	}
	return noContent, h.deletePrincipal(r, p)
}

// deletePrincipal deletes a user or a group, which another request must not have
// deleted before.
func (h *Handler) deletePrincipal(r *request, p directory.Principal) error {
	return h.update(r.http.Context(), func(tx *store.Tx) error {
		if _, err := h.cfg.Directory.PrincipalIn(tx, r.tenant(), p.ObjectID); err != nil {
			return err
		}
		return h.cfg.Directory.DeletePrincipal(tx, r.tenant(), p.ObjectID)
	})
}

// showUser gives a user with all its properties.
func (h *Handler) showUser(_ *request, o object) entity {
	p := o.principal
	e := entity{}
	userSchema.show(e, p.Properties)
	e["id"], e["displayName"], e["userPrincipalName"] = p.ObjectID, p.DisplayName, p.UserPrincipalName
	e["accountEnabled"], e["createdDateTime"] = !p.Disabled, instant(p.Created)
	e["securityIdentifier"] = securityIdentifier(p.ObjectID)
	if _, ok := p.Properties["mailNickname"]; !ok {
		nickname, _, _ := strings.Cut(p.UserPrincipalName, "@")
		e["mailNickname"] = nickname
	}
	return e
}

// userSchema is what clients keep with a user and nothing here acts upon.
var userSchema = schema{
	resource: "User",
	fixed:    map[string]string{"deletedDateTime": "null"},
	properties: []property{
		{name: "ageGroup", form: formText, initial: "null"},
		{name: "businessPhones", form: formList, initial: "[]"},
		{name: "city", form: formText, initial: "null"},
		{name: "companyName", form: formText, initial: "null"},
		{name: "consentProvidedForMinor", form: formText, initial: "null"},
		{name: "country", form: formText, initial: "null"},
		{name: "department", form: formText, initial: "null"},
		{name: "employeeHireDate", form: formText, initial: "null"},
		{name: "employeeId", form: formText, initial: "null"},
		{name: "employeeOrgData", form: formComplex, initial: "null"},
		{name: "employeeType", form: formText, initial: "null"},
		{name: "faxNumber", form: formText, initial: "null"},
		{name: "givenName", form: formText, initial: "null"},
		{name: "jobTitle", form: formText, initial: "null"},
		{name: "mail", form: formText, initial: "null"},
		{name: "mailNickname", form: formText, initial: "null"},
		{name: "mobilePhone", form: formText, initial: "null"},
		{name: "officeLocation", form: formText, initial: "null"},
		{name: "onPremisesImmutableId", form: formText, initial: "null"},
		{name: "otherMails", form: formList, initial: "[]"},
		{name: "passwordPolicies", form: formText, initial: "null"},
		{name: "postalCode", form: formText, initial: "null"},
		{name: "preferredLanguage", form: formText, initial: "null"},
		{name: "showInAddressList", form: formBool, initial: "null"},
		{name: "state", form: formText, initial: "null"},
		{name: "streetAddress", form: formText, initial: "null"},
		{name: "surname", form: formText, initial: "null"},
		{name: "usageLocation", form: formText, initial: "null"},
		{name: "userType", form: formText, initial: `"Member"`, values: []string{"Member", "Guest"}},
	},
}
