package graph

// applicationSchema is what clients keep with an application and nothing here
// acts upon: there is no interactive sign-in, no consent and no app role.
var applicationSchema = schema{
	resource: "Application",
	fixed: map[string]string{
		"applicationTemplateId": "null", "certification": "null", "deletedDateTime": "null",
		"disabledByMicrosoftStatus": "null", "uniqueName": "null",
		"verifiedPublisher": `{"displayName":null,"verifiedPublisherId":null,"addedDateTime":null}`,
	},
	properties: []property{
		{name: "addIns", form: formList, initial: "[]"},
		{name: "api", form: formComplex, initial: `{"acceptMappedClaims":null,"knownClientApplications":[],` +
			`"requestedAccessTokenVersion":null,"oauth2PermissionScopes":[],"preAuthorizedApplications":[]}`},
		{name: "appRoles", form: formList, initial: "[]"},
		{name: "defaultRedirectUri", form: formText, initial: "null"},
		{name: "description", form: formText, initial: "null"},
		{name: "groupMembershipClaims", form: formText, initial: "null"},
		{name: "info", form: formComplex,
			initial: `{"logoUrl":null,"marketingUrl":null,"privacyStatementUrl":null,"supportUrl":null,"termsOfServiceUrl":null}`},
		{name: "isDeviceOnlyAuthSupported", form: formBool, initial: "null"},
		{name: "isFallbackPublicClient", form: formBool, initial: "null"},
		{name: "nativeAuthenticationApisEnabled", form: formText, initial: "null"},
		{name: "notes", form: formText, initial: "null"},
		{name: "optionalClaims", form: formComplex, initial: "null"},
		{name: "parentalControlSettings", form: formComplex, initial: `{"countriesBlockedForMinors":[],"legalAgeGroupRule":"Allow"}`},
		{name: "publicClient", form: formComplex, initial: `{"redirectUris":[]}`},
		{name: "requestSignatureVerification", form: formComplex, initial: "null"},
		{name: "requiredResourceAccess", form: formList, initial: "[]"},
		{name: "samlMetadataUrl", form: formText, initial: "null"},
		{name: "serviceManagementReference", form: formText, initial: "null"},
		{name: "servicePrincipalLockConfiguration", form: formComplex, initial: "null"},
		{name: "signInAudience", form: formText, initial: `"AzureADMyOrg"`, values: []string{
			"AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"}},
		{name: "spa", form: formComplex, initial: `{"redirectUris":[]}`},
		{name: "tags", form: formList, initial: "[]"},
		{name: "tokenEncryptionKeyId", form: formText, initial: "null"},
		{name: "web", form: formComplex, initial: `{"homePageUrl":null,"logoutUrl":null,"redirectUris":[],` +
			`"implicitGrantSettings":{"enableAccessTokenIssuance":false,"enableIdTokenIssuance":false},"redirectUriSettings":[]}`},
	},
}
