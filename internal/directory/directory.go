// Package directory knows who is who: tenants, subscriptions (which tenant a
// subscription belongs to), applications, service principals, managed
// identities, users, groups, federated identity credentials. Lookups are
// in-memory views; writes take a transaction.
package directory

import (
	"context"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

type Tenant struct {
	ID, DisplayName, DefaultDomain string
	Domains                        []string
	CountryCode                    string
	Created                        time.Time
}

type Subscription struct {
	ID, TenantID, DisplayName, State string // State "Enabled"
	Created                          time.Time
}

// Principal is a security principal: service principal (application's or managed identity's), user or group.
type Principal struct {
	TenantID, ObjectID   string
	Type                 azure.PrincipalType
	DisplayName          string
	Disabled             bool
	AppID                string // service principals
	ServicePrincipalType string // "Application" or "ManagedIdentity"
	ResourceID           string // managed identity: of the identity (user-assigned) or of its host (system-assigned)
	SystemAssigned       bool
	UserPrincipalName    string   // users
	Members              []string // groups: object IDs
	Created              time.Time
}

// Application is an app registration.
type Application struct {
	TenantID, ObjectID, AppID, DisplayName string
	IdentifierURIs                         []string
	AccessTokenVersion                     int // requestedAccessTokenVersion: 0/1 -> v1, 2 -> v2
	Secrets                                []Secret
	Created                                time.Time
}

// Secret is a client secret: salted hash only.
type Secret struct {
	KeyID, DisplayName, Hint string
	Hash                     []byte // SHA-256-based over a random 256-bit-class secret with salt; see hash.go
	Salt                     []byte
	Start, End               time.Time
}

// FederatedCredential is a federated identity credential of an application or user-assigned identity.
type FederatedCredential struct {
	TenantID                           string
	Owner                              string // object ID of the owning principal (MI) or application
	Name, Issuer, Subject, Description string
	Audiences                          []string // exactly one
	Created                            time.Time
}

// Client is what the token service needs of a client_id.
type Client struct {
	Principal            Principal
	Application          *Application // nil: a managed identity
	FederatedCredentials []FederatedCredential
}

type Directory struct{ _ int }

// Open follows the store.
func Open(ctx context.Context, st *store.Store, cloud azure.Cloud, now func() time.Time) (*Directory, error) {
	panic("unwritten")
}

// --- lookups: memory only ---
func (d *Directory) Tenant(idOrDomain string) (Tenant, bool)                   { panic("unwritten") }
func (d *Directory) Tenants() []Tenant                                         { panic("unwritten") }
func (d *Directory) Subscription(id string) (Subscription, bool)               { panic("unwritten") }
func (d *Directory) Subscriptions(tenantID string) []Subscription              { panic("unwritten") }
func (d *Directory) Client(tenantID, appID string) (Client, bool)              { panic("unwritten") }
func (d *Directory) Principal(tenantID, objectID string) (Principal, bool)     { panic("unwritten") }
func (d *Directory) PrincipalByAppID(tenantID, appID string) (Principal, bool) { panic("unwritten") }

// GroupsOf gives the object IDs of all groups that hold the principal, nested ones too.
func (d *Directory) GroupsOf(tenantID, objectID string) []string { panic("unwritten") }

// Resource resolves a scope's or resource parameter's audience to what tokens for it look like: services of the cloud, or applications of the tenant. version 1 or 2.
func (d *Directory) Resource(tenantID, audience string) (appID string, version int, ok bool) {
	panic("unwritten")
}

// --- writes: in a transaction; *azure.Error where a client may see it ---
func (d *Directory) CreateTenant(tx *store.Tx, t Tenant) error             { panic("unwritten") }
func (d *Directory) CreateSubscription(tx *store.Tx, s Subscription) error { panic("unwritten") }

// CreateApplication makes the application and its service principal.
func (d *Directory) CreateApplication(tx *store.Tx, tenantID, displayName string, identifierURIs ...string) (Application, Principal, error) {
	panic("unwritten")
}

// AddSecret gives the secret's text once.
func (d *Directory) AddSecret(tx *store.Tx, tenantID, appID, displayName string, end time.Time) (Secret, string, error) {
	panic("unwritten")
}

// CheckSecret compares in constant time; expired tells a right but expired secret.
func (a *Application) CheckSecret(text string, now time.Time) (ok, expired bool) { panic("unwritten") }

// CreateManagedIdentity makes the principal of a user- or system-assigned identity, with fresh client and object IDs.
func (d *Directory) CreateManagedIdentity(tx *store.Tx, tenantID string, resource azure.ResourceID, systemAssigned bool) (Principal, error) {
	panic("unwritten")
}

// DeletePrincipal removes a principal with its guard keys, application, credentials and memberships' effect.
func (d *Directory) DeletePrincipal(tx *store.Tx, tenantID, objectID string) error {
	panic("unwritten")
}
func (d *Directory) CreateUser(tx *store.Tx, tenantID, upn, displayName string) (Principal, error) {
	panic("unwritten")
}
func (d *Directory) CreateGroup(tx *store.Tx, tenantID, displayName string) (Principal, error) {
	panic("unwritten")
}
func (d *Directory) AddMember(tx *store.Tx, tenantID, groupID, memberID string) error {
	panic("unwritten")
}
func (d *Directory) RemoveMember(tx *store.Tx, tenantID, groupID, memberID string) error {
	panic("unwritten")
}

// PutFederatedCredential creates or replaces; rules of the sheet (20, one audience, issuer+subject unique per owner, lengths, name).
// Errors are *azure.Error in ARM's words. created tells 201 from 200.
func (d *Directory) PutFederatedCredential(tx *store.Tx, c FederatedCredential) (created bool, err error) {
	panic("unwritten")
}
func (d *Directory) DeleteFederatedCredential(tx *store.Tx, tenantID, owner, name string) (existed bool, err error) {
	panic("unwritten")
}

// FederatedCredentials reads an owner's credentials, sorted by name, in the transaction (linearizable).
func (d *Directory) FederatedCredentials(tx *store.Tx, tenantID, owner string) ([]FederatedCredential, error) {
	panic("unwritten")
}
