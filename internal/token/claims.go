package token

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Versions of access tokens. The resource decides which one it is given,
// whatever endpoint the client came by.
const (
	Version1 = "1.0"
	Version2 = "2.0"
)

// Values of [Claims.AppIDACR]: how the client proved who it is.
const (
	ACRPublic      = "0" // a public client
	ACRSecret      = "1" // a client secret
	ACRCertificate = "2" // a certificate, a federated assertion, a managed identity
)

// Values of [Claims.IDType].
const (
	IDTypeApp  = "app"
	IDTypeUser = "user"
)

// Claims are what an access token says. The same fields serve both versions;
// Mint writes them under each version's own names.
type Claims struct {
	// Audience is aud: the resource as the client asked for it (version 1.0), or
	// its application ID (2.0).
	Audience string
	// Issuer is iss: azure.Cloud's IssuerV1 or IssuerV2 of the tenant.
	Issuer string
	// IssuedAt, NotBefore and Expiry are iat, nbf and exp, in seconds since 1970.
	// A zero NotBefore stands for IssuedAt.
	IssuedAt, NotBefore, Expiry int64
	// Version is ver: Version1 or Version2.
	Version string
	// TenantID is tid.
	TenantID string
	// ObjectID is oid: the principal.
	ObjectID string
	// Subject is sub; empty stands for ObjectID, which is what application tokens
	// have.
	Subject string
	// AppID is the client through which the principal acts: appid, in version 2.0
	// azp.
	AppID string
	// AppIDACR is how the client proved itself: appidacr, in version 2.0 azpacr.
	AppIDACR string
	// IDType is idtyp: IDTypeApp or IDTypeUser.
	IDType string
	// IdentityProvider is idp: who authenticated the subject. Empty stands for
	// the issuer in version 1.0 application tokens, which alone always have it.
	IdentityProvider string
	// Name is the display name of a user: name.
	Name string
	// UPN is the user principal name: upn and unique_name, in version 2.0
	// preferred_username.
	UPN string
	// Groups are the object IDs of the principal's groups.
	Groups []string
	// Roles are the application roles granted at the resource.
	Roles []string
	// Scopes is scp: the delegated permissions of a user token, separated by
	// spaces.
	Scopes string
	// IdentityResourceID is xms_mirid: the resource ID of a managed identity; for
	// a system-assigned one, of the resource that carries it.
	IdentityResourceID string
	// HostResourceID is xms_az_rid: the machine on which the token of a
	// user-assigned identity was issued.
	HostResourceID string
	// Capabilities are what the client said it can do, such as "CP1" for answering
	// claims challenges: xms_cc.
	Capabilities []string
	// TokenID is uti, by which logs name the token. Empty stands for a new one;
	// who writes an audit record chooses it with NewTokenID.
	TokenID string
}

// NewTokenID makes a random uti in Entra's form.
func NewTokenID() string { return randomText(16) }

// randomText gives n random bytes as unpadded base64url.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: the process ends instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// wire is the JSON of both versions' claims.
type wire struct {
	Audience          string   `json:"aud"`
	Issuer            string   `json:"iss"`
	IssuedAt          int64    `json:"iat"`
	NotBefore         int64    `json:"nbf"`
	Expiry            int64    `json:"exp"`
	AIO               string   `json:"aio,omitempty"`
	AppID             string   `json:"appid,omitempty"`
	AppIDACR          string   `json:"appidacr,omitempty"`
	AuthorizedParty   string   `json:"azp,omitempty"`
	PartyACR          string   `json:"azpacr,omitempty"`
	Groups            []string `json:"groups,omitempty"`
	IdentityProvider  string   `json:"idp,omitempty"`
	IDType            string   `json:"idtyp,omitempty"`
	Name              string   `json:"name,omitempty"`
	ObjectID          string   `json:"oid,omitempty"`
	PreferredUsername string   `json:"preferred_username,omitempty"`
	RH                string   `json:"rh,omitempty"`
	Roles             []string `json:"roles,omitempty"`
	Scopes            string   `json:"scp,omitempty"`
	Subject           string   `json:"sub,omitempty"`
	TenantID          string   `json:"tid,omitempty"`
	UniqueName        string   `json:"unique_name,omitempty"`
	UPN               string   `json:"upn,omitempty"`
	TokenID           string   `json:"uti,omitempty"`
	Version           string   `json:"ver,omitempty"`
	ActorFacts        string   `json:"xms_act_fct,omitempty"`
	HostResourceID    string   `json:"xms_az_rid,omitempty"`
	Capabilities      []string `json:"xms_cc,omitempty"`
	FeatureData       string   `json:"xms_ftd,omitempty"`
	IdentityRelation  string   `json:"xms_idrel,omitempty"`
	IdentityResource  string   `json:"xms_mirid,omitempty"`
	ResourceData      string   `json:"xms_rd,omitempty"`
	SubjectFacts      string   `json:"xms_sub_fct,omitempty"`
}

// wire puts the claims into their version's form, with the claims that mean
// nothing to anyone but their issuer: clients are told not to read them, and
// here they are random, each in the shape that Entra gives it.
func (c *Claims) wire() (*wire, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	w := &wire{
		Audience: c.Audience, Issuer: c.Issuer,
		IssuedAt: c.IssuedAt, NotBefore: c.NotBefore, Expiry: c.Expiry,
		Groups: c.Groups, IdentityProvider: c.IdentityProvider, IDType: c.IDType, Name: c.Name,
		ObjectID: c.ObjectID, Roles: c.Roles, Scopes: c.Scopes, Subject: c.Subject,
		TenantID: c.TenantID, TokenID: c.TokenID, Version: c.Version,
		HostResourceID: c.HostResourceID, IdentityResource: c.IdentityResourceID,
		Capabilities: c.Capabilities,
	}
	if w.NotBefore == 0 {
		w.NotBefore = w.IssuedAt
	}
	if w.Subject == "" {
		w.Subject = w.ObjectID
	}
	if w.TokenID == "" {
		w.TokenID = NewTokenID()
	}
	if c.Version == Version1 {
		w.AppID, w.AppIDACR = c.AppID, c.AppIDACR
		w.UPN, w.UniqueName = c.UPN, c.UPN
		if w.IdentityProvider == "" && c.IDType == IDTypeApp {
			w.IdentityProvider = c.Issuer
		}
	} else {
		w.AuthorizedParty, w.PartyACR = c.AppID, c.AppIDACR
		w.PreferredUsername = c.UPN
	}
	w.opaque()
	return w, nil
}

// opaque fills in the claims without a meaning.
func (w *wire) opaque() {
	var b [146]byte
	rand.Read(b[:])
	w.AIO = base64.StdEncoding.EncodeToString(b[:39])
	w.RH = "1." + base64.RawURLEncoding.EncodeToString(b[39:78]) + "."
	w.FeatureData = base64.RawURLEncoding.EncodeToString(b[78:110])
	w.ResourceData = "0." + base64.RawURLEncoding.EncodeToString(b[110:143])
	w.IdentityRelation = fmt.Sprintf("7 %d", 2+2*int(b[143]%16))
	w.ActorFacts = fmt.Sprintf("3 %d", 1+2*int(b[144]%16))
	w.SubjectFacts = fmt.Sprintf("3 %d", 1+2*int(b[145]%16))
}

// check refuses claims that no verifier would accept, or that would outlive the
// key they are signed with.
func (c *Claims) check() error {
	for _, f := range []struct{ name, value string }{
		{"aud", c.Audience}, {"iss", c.Issuer}, {"tid", c.TenantID}, {"oid", c.ObjectID}, {"appid", c.AppID},
	} {
		if f.value == "" {
			return fmt.Errorf("token: minting without %s", f.name)
		}
	}
	switch {
	case c.Version != Version1 && c.Version != Version2:
		return fmt.Errorf("token: minting version %q", c.Version)
	case c.IDType != IDTypeApp && c.IDType != IDTypeUser:
		return fmt.Errorf("token: minting idtyp %q", c.IDType)
	case c.AppIDACR != ACRPublic && c.AppIDACR != ACRSecret && c.AppIDACR != ACRCertificate:
		return fmt.Errorf("token: minting appidacr %q", c.AppIDACR)
	case c.IssuedAt <= 0 || c.Expiry <= c.IssuedAt:
		return fmt.Errorf("token: minting from %d to %d", c.IssuedAt, c.Expiry)
	case c.Expiry-c.IssuedAt > int64(MaxLifetime/time.Second):
		return fmt.Errorf("token: minting for %s, longer than %s", time.Duration(c.Expiry-c.IssuedAt)*time.Second, MaxLifetime)
	}
	return nil
}

// claims gives the fields back from either version's form.
func (w *wire) claims() *Claims {
	c := &Claims{
		Audience: w.Audience, Issuer: w.Issuer,
		IssuedAt: w.IssuedAt, NotBefore: w.NotBefore, Expiry: w.Expiry, Version: w.Version,
		TenantID: w.TenantID, ObjectID: w.ObjectID, Subject: w.Subject,
		AppID: w.AppID, AppIDACR: w.AppIDACR, IDType: w.IDType, IdentityProvider: w.IdentityProvider,
		Name: w.Name, UPN: w.UPN, Groups: w.Groups, Roles: w.Roles, Scopes: w.Scopes,
		IdentityResourceID: w.IdentityResource, HostResourceID: w.HostResourceID,
		Capabilities: w.Capabilities, TokenID: w.TokenID,
	}
	if w.Version == Version2 {
		c.AppID, c.AppIDACR, c.UPN = w.AuthorizedParty, w.PartyACR, w.PreferredUsername
	}
	return c
}

// caller gives the caller that verified claims prove. It shares no slice with
// the claims, which may be kept for other requests.
func (c *Claims) caller() azure.Caller {
	kind := azure.ServicePrincipal
	if c.IDType == IDTypeUser {
		kind = azure.User
	}
	return azure.Caller{
		TenantID: c.TenantID, ObjectID: c.ObjectID, AppID: c.AppID, Type: kind, Name: c.UPN,
		Groups: slices.Clone(c.Groups), Scopes: strings.Fields(c.Scopes),
		Issuer: c.Issuer, Audience: c.Audience,
		IdentityResourceID: c.IdentityResourceID, HostResourceID: c.HostResourceID,
		TokenID: c.TokenID, Expires: time.Unix(c.Expiry, 0).UTC(),
	}
}
