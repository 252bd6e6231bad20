package azure

import "time"

// PrincipalType is the kind of a security principal, in the words of role
// assignments.
type PrincipalType string

// The principal types that a role assignment may name.
const (
	User             PrincipalType = "User"
	Group            PrincipalType = "Group"
	ServicePrincipal PrincipalType = "ServicePrincipal"
	ForeignGroup     PrincipalType = "ForeignGroup"
	Device           PrincipalType = "Device"
)

// Caller is who sent a request, as proved by a verified access token. There is
// no anonymous Caller: a plane that lets a request through without a token has
// no Caller at all.
type Caller struct {
	// TenantID is the directory that issued the token.
	TenantID string
	// ObjectID is the principal: what role assignments name.
	ObjectID string
	// AppID is the client through which the principal acts; for an application
	// or a managed identity it is the identity's own client ID.
	AppID string
	// Type is User or ServicePrincipal.
	Type PrincipalType
	// Name is the user principal name of a user, else empty.
	Name string
	// Groups are the object IDs of the groups in the token, if it carries any.
	// The directory's own knowledge of memberships comes on top.
	Groups []string
	// Scopes are the delegated permissions (scp) of a user token.
	Scopes []string
	// Issuer is the token's iss, as Key Vault's errors print it.
	Issuer string
	// Audience is the token's aud.
	Audience string
	// IdentityResourceID is xms_mirid: the resource ID of the managed identity.
	IdentityResourceID string
	// HostResourceID is xms_az_rid: the machine on which a managed identity's
	// token was issued.
	HostResourceID string
	// TokenID is the token's uti, the handle by which logs name a token.
	TokenID string
	// Expires is when the token ends.
	Expires time.Time
}

// DisplayName gives what Azure's authorization errors print as "the client":
// the user's name, else the client ID.
func (c Caller) DisplayName() string {
	if c.Name != "" {
		return c.Name
	}
	return c.AppID
}
