// Package arm is the Azure Resource Manager engine: it parses the ID and the
// api-version, authenticates, asks the guard, decodes, runs a type's hooks in
// one transaction, encodes; PATCH, lists, paging, long-running operations and
// the error document are its own. It knows no resource type.
package arm

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// Placement says under which scopes a type's resources may lie.
type Placement int

const (
	AtTenant        Placement = 1 << iota // /providers/NS/type/name
	AtSubscription                        // /subscriptions/{s}/providers/NS/type/name
	AtResourceGroup                       // the usual place; also of a child type, which lies under its parent resource
	AtAnyScope                            // extension: under the root, a subscription, a group or any resource
)

// Spec describes a type for Define and Virtual.
type Spec struct {
	// Name is the full type: "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials".
	Name string
	// Versions are the api-versions that the provider lists, newest first. Any
	// later well-formed version is accepted too, any from the oldest on; strict mode accepts these only.
	Versions []string
	In       Placement
	// Tracked types have a location (required, immutable) and tags.
	Tracked bool
	// CheckName refuses a bad name with the type's own error; nil: ARM's general rule.
	CheckName func(name string) error
	// Action is the RBAC action prefix where it differs from Name.
	Action string
	// Unwrapped errors: the form of Microsoft.ContainerService.
	UnwrappedErrors bool
}

// Type is a resource type as the engine serves it: made by Define or Virtual.
type Type struct {
	Spec Spec
	// erased closures, unexported: the engine's owner fills these in
}

// SystemData is ARM's systemData.
type SystemData struct {
	CreatedBy, CreatedByType, LastModifiedBy, LastModifiedByType string
	CreatedAt, LastModifiedAt                                    time.Time
}

// Resource is a stored resource with properties P. Its JSON is the stored form.
type Resource[P any] struct {
	ID         azure.ResourceID
	Location   string            `json:",omitempty"`
	Tags       map[string]string `json:",omitempty"`
	Kind       string            `json:",omitempty"`
	ManagedBy  string            `json:",omitempty"`
	SKU        json.RawMessage   `json:",omitempty"`
	Properties P
	SystemData SystemData
	// ProvisioningState is "Succeeded" or that of a running operation ("Deleting").
	ProvisioningState string `json:",omitempty"`
	Revision          int64  `json:"-"`
}

// Request is what every hook gets.
type Request struct {
	Tx         *store.Tx // nil in Get and List hooks and actions that don't write
	Caller     azure.Caller
	TenantID   string // of the scope
	ID         azure.ResourceID
	APIVersion string
	Query      url.Values
	Header     http.Header
	Now        time.Time
}

// Put is a creation (Old nil) or a change. The body is decoded into New over
// nothing (PUT) or over Old's wire form (PATCH). The hook completes and checks
// New; read-only fields are its duty: the body may have set them.
type Put[P any] struct {
	Request
	Old   *Resource[P]
	New   *Resource[P]
	Patch bool
	Body  json.RawMessage
}

// Linked is a further action that the caller must have on another scope.
type Linked struct {
	Action string
	Scope  azure.ResourceID
}

// Hooks of a stored type. All may be nil.
type Hooks[P any] struct {
	// Linked names linked-scope checks; failing ones give 403 LinkedAuthorizationFailed, all ids in one quoted list.
	Linked func(ctx context.Context, p *Put[P]) ([]Linked, error)
	Put    func(ctx context.Context, p *Put[P]) error
	// Delete runs in the deleting transaction, which also removes the resource's key.
	Delete func(ctx context.Context, r *Request, old *Resource[P]) error
	// Show turns stored properties into those on the wire; nil: as they are.
	Show    func(ctx context.Context, r *Resource[P]) (any, error)
	Actions []Action[P]
	// NoPatch: 405. Default: JSON merge patch, tags replaced whole.
	NoPatch bool
	// Async makes create/update/delete long-running: persisted operation, Azure-AsyncOperation and Location.
	// Cascade: resource group delete. Steps are idempotent, resumed after a crash.
	AsyncDelete func(ctx context.Context, step *Step, old *Resource[P]) (done bool, err error)
}

// Step is one step of a long-running operation, in its own transaction.
type Step struct {
	Tx       *store.Tx
	TenantID string
	ID       azure.ResourceID
	Now      time.Time
}

// Action is a POST on a resource.
type Action[P any] struct {
	Name string // "assign" ... RBAC: {type}/{name}/action
	Run  func(ctx context.Context, r *Request, old *Resource[P], body json.RawMessage) (status int, result any, err error)
}

// Define makes a type whose resources the engine stores.
func Define[P any](spec Spec, hooks Hooks[P]) Type { panic("unwritten") }

// VirtualHooks serve a type that is kept elsewhere (role assignments, tags,
// permissions, subscriptions). A nil hook is 405.
type VirtualHooks struct {
	Get     func(ctx context.Context, r *Request) (any, error)
	List    func(ctx context.Context, r *Request) ([]any, error)                                            // r.ID is the parent scope; the engine pages
	Put     func(ctx context.Context, r *Request, body json.RawMessage) (status int, result any, err error) // r.Tx set
	Patch   func(ctx context.Context, r *Request, body json.RawMessage) (status int, result any, err error) // r.Tx set
	Delete  func(ctx context.Context, r *Request) (status int, result any, err error)                       // r.Tx set
	Actions map[string]func(ctx context.Context, r *Request, body json.RawMessage) (status int, result any, err error)
	// Attributes gives condition attributes for the guard, before it decides.
	Attributes func(ctx context.Context, method string, r *Request, body json.RawMessage) (request, resource map[string][]string)
	// NoCheck lists methods which need a token but no action (GET /subscriptions: filtered by the hook itself).
	NoCheck map[string]bool
}

// Virtual makes a type that is kept elsewhere.
func Virtual(spec Spec, hooks VirtualHooks) Type { panic("unwritten") }

// Config configures New; New(cfg) (*Engine, error), *Engine is an http.Handler.
