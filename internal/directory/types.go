package directory

import (
	"encoding/json"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Tenant is a directory: what Azure calls a Microsoft Entra tenant.
type Tenant struct {
	// ID is the tenant's GUID, in lower case.
	ID string `json:"id"`
	// DisplayName is what people call it.
	DisplayName string `json:"displayName"`
	// DefaultDomain is the one of Domains that new users get.
	DefaultDomain string `json:"defaultDomain"`
	// Domains are the verified DNS names, in lower case; no other tenant has any
	// of them. Each may stand for the ID in URLs.
	Domains []string `json:"domains"`
	// CountryCode is the ISO 3166 code, or empty.
	CountryCode string    `json:"countryCode,omitempty"`
	Created     time.Time `json:"created"`
}

// Subscription says which tenant a subscription trusts.
type Subscription struct {
	// ID is the subscription's GUID, in lower case.
	ID          string `json:"id"`
	TenantID    string `json:"tenantId"`
	DisplayName string `json:"displayName"`
	// State is Azure's state of the subscription, "Enabled" by default.
	State   string    `json:"state"`
	Created time.Time `json:"created"`
}

// The kinds of service principals, in Graph's words.
const (
	ApplicationPrincipal     = "Application"
	ManagedIdentityPrincipal = "ManagedIdentity"
)

// Principal is a security principal: a service principal (an application's or a
// managed identity's), a user or a group.
type Principal struct {
	TenantID string `json:"tenantId"`
	// ObjectID is what role assignments name. It is never given out again.
	ObjectID string `json:"objectId"`
	// Type is ServicePrincipal, User or Group.
	Type        azure.PrincipalType `json:"type"`
	DisplayName string              `json:"displayName"`
	// Disabled principals (accountEnabled false) get no tokens.
	Disabled bool `json:"disabled,omitempty"`
	// AppID is a service principal's client ID.
	AppID string `json:"appId,omitempty"`
	// ServicePrincipalType is [ApplicationPrincipal] or
	// [ManagedIdentityPrincipal] for service principals.
	ServicePrincipalType string `json:"servicePrincipalType,omitempty"`
	// ResourceID belongs to managed identities: the identity's own, or that of
	// the resource to which a system-assigned identity belongs.
	ResourceID     string `json:"resourceId,omitempty"`
	SystemAssigned bool   `json:"systemAssigned,omitempty"`
	// UserPrincipalName is a user's sign-in name.
	UserPrincipalName string `json:"userPrincipalName,omitempty"`
	// Members are the object IDs of a group's direct members, sorted.
	Members []string `json:"members,omitempty"`
	// Owners and Properties are as in [Application].
	Owners     []string                   `json:"owners,omitempty"`
	Properties map[string]json.RawMessage `json:"properties,omitempty"`
	Created    time.Time                  `json:"created"`
}

// Application is an app registration. Its service principal has the same AppID
// and an object ID of its own.
type Application struct {
	TenantID    string `json:"tenantId"`
	ObjectID    string `json:"objectId"`
	AppID       string `json:"appId"`
	DisplayName string `json:"displayName"`
	// IdentifierURIs are the audiences by which tokens for it may be asked,
	// beside the AppID and "api://{AppID}".
	IdentifierURIs []string `json:"identifierUris,omitempty"`
	// AccessTokenVersion is requestedAccessTokenVersion: 0 (not set) and 1 mean
	// version 1 tokens, 2 means version 2.
	AccessTokenVersion int      `json:"accessTokenVersion,omitempty"`
	Secrets            []Secret `json:"secrets,omitempty"`
	// Certificates are the key credentials: with the private key of any of them
	// the application signs assertions that prove it.
	Certificates []Certificate `json:"certificates,omitempty"`
	// Owners are the object IDs of the users and service principals that are
	// said to own it, in the order in which they were added. They may have been
	// deleted since. Nothing follows from being one.
	Owners []string `json:"owners,omitempty"`
	// Properties are what clients keep with the object and nothing here acts
	// upon, by their names in Microsoft Graph.
	Properties map[string]json.RawMessage `json:"properties,omitempty"`
	Created    time.Time                  `json:"created"`
}

// Secret is a client secret. Its text is not kept; see secret.go.
type Secret struct {
	KeyID       string `json:"keyId"`
	DisplayName string `json:"displayName,omitempty"`
	// Hint is the secret's first three characters, by which people tell secrets
	// apart.
	Hint  string    `json:"hint"`
	Hash  []byte    `json:"hash"`
	Salt  []byte    `json:"salt"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// OnPrincipal secrets were added to the service principal: they prove the
	// same client, are listed there, and go with it.
	OnPrincipal bool `json:"onPrincipal,omitempty"`
}

// Certificate is a key credential: a certificate of the application, of which
// only the public key counts. Who issued it, for what, and whether it was revoked
// is not looked at, as on Azure: registering it is what makes it trusted.
type Certificate struct {
	KeyID       string `json:"keyId"`
	DisplayName string `json:"displayName,omitempty"`
	// DER is the certificate itself; its thumbprints are derived from it.
	DER []byte `json:"der"`
	// Start and End bound the credential's life; they lie within the
	// certificate's own.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// OnPrincipal certificates were added to the service principal: they prove
	// the same client, are listed there, and go with it.
	OnPrincipal bool `json:"onPrincipal,omitempty"`
}

// FederatedCredential is a federated identity credential: the owner accepts a
// token of Issuer for Subject as its own proof of identity.
type FederatedCredential struct {
	TenantID string `json:"tenantId"`
	// Owner is the object ID of a user-assigned managed identity's principal, or
	// that of an application (not of its service principal).
	Owner string `json:"owner"`
	// ID is a GUID that names an application's credential beside its name. A
	// managed identity's have none: their resource ID names them.
	ID string `json:"id,omitempty"`
	// Name is unique for the owner, whatever its case.
	Name   string `json:"name"`
	Issuer string `json:"issuer"`
	// Subject is empty where ClaimsMatchingExpression stands in its place.
	Subject     string `json:"subject,omitempty"`
	Description string `json:"description,omitempty"`
	// Audiences has exactly one entry.
	Audiences []string `json:"audiences"`
	// ClaimsMatchingExpression matches tokens by more than their subject.
	ClaimsMatchingExpression *ClaimsMatchingExpression `json:"claimsMatchingExpression,omitempty"`
	Created                  time.Time                 `json:"created"`
	// Changed is when last something else was to be accepted; zero: never since
	// Created.
	Changed time.Time `json:"changed,omitzero"`
}

// Since is the time since which the credential accepts what it accepts.
func (c FederatedCredential) Since() time.Time {
	if c.Changed.IsZero() {
		return c.Created
	}
	return c.Changed
}

// ClaimsMatchingExpression is the condition of a flexible federated credential.
type ClaimsMatchingExpression struct {
	// Value is the expression, such as "claims['sub'] matches 'repo:contoso/*'".
	Value string `json:"value"`
	// LanguageVersion of the expression; 1 is the only one.
	LanguageVersion int `json:"languageVersion"`
}

// Client is what the token service needs of a client_id. What its pointer and
// slices refer to belongs to the view: it must not be changed.
type Client struct {
	Principal Principal
	// Application is nil for a managed identity.
	Application          *Application
	FederatedCredentials []FederatedCredential
}
