package graph

import (
	"encoding/json"

	"github.com/lanyard-id/lanyard/internal/directory"
)

// alternativeNames are how Azure says which resource a managed identity belongs
// to, and whether it is that resource; an application's are what clients set.
func alternativeNames(p directory.Principal) []string {
	if p.ServicePrincipalType == directory.ManagedIdentityPrincipal {
		explicit := "isExplicit=True"
		if p.SystemAssigned {
			explicit = "isExplicit=False"
		}
		return []string{explicit, p.ResourceID}
	}
	names := []string{}
	_ = json.Unmarshal(p.Properties["alternativeNames"], &names) // kept only if it is a list
	return names
}

// showServicePrincipal gives a service principal with all its properties.
func (h *Handler) showServicePrincipal(_ *request, o object) entity {
	p := o.principal
	e := entity{}
	servicePrincipalSchema.show(e, p.Properties)
	e["id"], e["appId"], e["displayName"] = p.ObjectID, p.AppID, p.DisplayName
	e["appDisplayName"], e["servicePrincipalType"] = p.DisplayName, p.ServicePrincipalType
	e["accountEnabled"], e["createdDateTime"] = !p.Disabled, instant(p.Created)
	e["alternativeNames"], e["servicePrincipalNames"] = alternativeNames(p), servicePrincipalNames(o)
	app := o.registration
	if app == nil { // a managed identity
		return e
	}
	shown := h.showApplication(nil, object{app: app})
	e["appOwnerOrganizationId"] = p.TenantID
	e["appDescription"], e["signInAudience"] = shown["description"], shown["signInAudience"]
	e["appRoles"], e["info"], e["verifiedPublisher"] = shown["appRoles"], shown["info"], shown["verifiedPublisher"]
	e["passwordCredentials"] = showSecrets(app.Secrets, true, nil)
	var api struct {
		Scopes json.RawMessage `json:"oauth2PermissionScopes"`
	}
	var web struct {
		HomePage  *string  `json:"homePageUrl"`
		Logout    *string  `json:"logoutUrl"`
		Redirects []string `json:"redirectUris"`
	}
	_ = json.Unmarshal(shown["api"].(json.RawMessage), &api) // what does not fit is left out
	_ = json.Unmarshal(shown["web"].(json.RawMessage), &web)
	if len(api.Scopes) > 0 {
		e["oauth2PermissionScopes"] = api.Scopes
	}
	e["homepage"], e["logoutUrl"], e["replyUrls"] = web.HomePage, web.Logout, nonNil(web.Redirects)
	return e
}

// servicePrincipalNames are what a service principal can be called in requests
// for tokens.
func servicePrincipalNames(o object) []string {
	names := []string{o.principal.AppID}
	if o.registration != nil {
		names = append(names, o.registration.IdentifierURIs...)
	}
	return names
}

// servicePrincipalSchema is what clients keep with a service principal and
// nothing here acts upon.
var servicePrincipalSchema = schema{
	resource: "ServicePrincipal",
	fixed: map[string]string{
		"appDescription": "null", "appOwnerOrganizationId": "null", "applicationTemplateId": "null", "appRoles": "[]",
		"deletedDateTime": "null", "disabledByMicrosoftStatus": "null", "homepage": "null", "info": "null", "keyCredentials": "[]",
		"logoutUrl": "null", "oauth2PermissionScopes": "[]", "passwordCredentials": "[]", "replyUrls": "[]",
		"resourceSpecificApplicationPermissions": "[]", "signInAudience": "null",
		"verifiedPublisher": `{"displayName":null,"verifiedPublisherId":null,"addedDateTime":null}`,
	},
	properties: []property{
		{name: "addIns", form: formList, initial: "[]"},
		{name: "alternativeNames", form: formList, initial: "[]"},
		{name: "appRoleAssignmentRequired", form: formBool, initial: "false"},
		{name: "description", form: formText, initial: "null"},
		{name: "loginUrl", form: formText, initial: "null"},
		{name: "notes", form: formText, initial: "null"},
		{name: "notificationEmailAddresses", form: formList, initial: "[]"},
		{name: "preferredSingleSignOnMode", form: formText, initial: "null"},
		{name: "preferredTokenSigningKeyThumbprint", form: formText, initial: "null"},
		{name: "samlSingleSignOnSettings", form: formComplex, initial: "null"},
		{name: "tags", form: formList, initial: "[]"},
		{name: "tokenEncryptionKeyId", form: formText, initial: "null"},
	},
}
