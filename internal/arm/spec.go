package arm

import (
	"context"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Placement says under which scopes a type's resources may lie.
type Placement int

// The placements; a type may have several.
const (
	// AtTenant is /providers/{namespace}/{type}/{name}.
	AtTenant Placement = 1 << iota
	// AtSubscription is /subscriptions/{s}/providers/{namespace}/{type}/{name}.
	AtSubscription
	// AtResourceGroup is the usual place; also that of a child type, which lies
	// under its parent resource.
	AtResourceGroup
	// AtAnyScope is that of an extension: under the root, a subscription, a
	// resource group or any resource.
	AtAnyScope
)

// Spec describes a type to [Define] and [Virtual].
type Spec struct {
	// Name is the full type in Azure's spelling, such as
	// "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials".
	Name string
	// Versions are the api-versions that the provider lists, newest first; at
	// least one. Any well-formed version from the oldest on is accepted, since
	// clients of every age meet one implementation; strict mode accepts the
	// listed ones only.
	Versions []string
	// ListedOnly types were taken out of later api-versions: they are served in
	// the listed ones alone, and in others don't exist.
	ListedOnly bool
	// In says where the type's resources lie.
	In Placement
	// Collections and Items are path patterns of types that the form
	// {scope}/providers/{type}/{name} doesn't cover: "/subscriptions",
	// "/subscriptions/{subscriptionId}/providers/{name}". A segment in braces
	// matches any one segment: {subscriptionId} and {resourceGroupName} make
	// the scope in Request.ID, {name} becomes Request.Name, and all are in
	// Request.Params. In is then of no meaning. Only for [Virtual].
	Collections, Items []string
	// Tracked types have a location (required, immutable) and tags, and are
	// listed by /resources.
	Tracked bool
	// Members are the optional members of the envelope that the type has:
	// "identity" (see [Identity]), "kind", "managedBy", "plan", "sku" and
	// "zones". Others in a body are dropped; an identity is refused, since
	// dropping it would leave a client without the principal that it relies on.
	Members []string
	// Inline are the properties that hold child resources, each with the name of
	// the children's type: a list of objects with name and properties. The
	// children are resources of their own, which a write of the parent makes what
	// the list says, and which the parent shows; without the list they stay. The
	// parent's P must take such a list from a body, as JSON and maps do. The
	// children's type has properties only, and hooks within the transaction.
	Inline map[string]string
	// Locations are the canonical names of the regions in which a tracked type
	// may be created; nil means those of Config.Locations, and a type without
	// regions names "global".
	Locations []string
	// CheckName refuses a bad name with the type's own error; nil stands for
	// the general rule (1 to 260 characters, none of <>%&:\?/ or control
	// characters). It runs when a resource is written.
	CheckName func(name string) error
	// Action is the prefix of the type's RBAC actions where it differs from Name.
	Action string
	// Core types belong to the Resource Manager itself; an api-version that it
	// doesn't serve is InvalidApiVersionParameter, not NoRegisteredProviderFound.
	Core bool
	// Unwrapped makes client errors take the form of Microsoft.ContainerService:
	// the error object itself, not within "error".
	Unwrapped bool
	// SystemData shows systemData, for the types that have it on Azure.
	SystemData bool
	// ProvisioningState shows properties.provisioningState and applies ARM's
	// rule for one in the body of a PUT.
	ProvisioningState bool
	// Created is the status of the answer to a PUT that creates; 0 is 201.
	Created int
	// ETag is the name of the entity tag in the envelope ("etag", "eTag");
	// with it If-Match and If-None-Match apply. Empty: the type has none.
	ETag string
	// CloudWide types are of the whole cloud and not of a tenant's: they belong
	// to the operator's tenant (Config.OperatorTenant). Callers of another are
	// refused, and so are those whose role assignment there has a condition.
	CloudWide bool
	// Anonymous types answer without a token. Only the discovery document of
	// the cloud's endpoints is.
	Anonymous bool
	// Rates are the type's own throttles; the zero value has none.
	Rates Rates
	// ParentMissing is the error where the parent resource doesn't exist; nil
	// stands for ParentResourceNotFound.
	ParentMissing func(parent azure.ResourceID) error
}

// Rate is how many requests a second a type takes, on average: of a tenant, in a
// subscription, and on one resource (for a list: in one collection). Zero is no
// limit.
type Rate struct{ Tenant, Subscription, Resource float64 }

// Rates are a type's own, narrower throttles, by what is done. They apply where
// the engine throttles at all.
type Rates struct{ Read, List, Write, Delete Rate }

// Type is a resource type as the engine serves it: made by [Define] or
// [Virtual], and immutable.
type Type struct {
	spec    Spec
	stored  *stored  // of Define
	virtual *virtual // of Virtual
}

// Spec gives the description that the type was made with. The slices in it are
// shared: not to be changed.
func (t Type) Spec() Spec { return t.spec }

// stored is a Define'd type without its type parameter: closures over records,
// which are resources whose properties are still JSON.
type stored struct {
	put         func(ctx context.Context, in *putInput) (*record, error)
	linked      func(ctx context.Context, in *putInput) ([]Linked, error)
	remove      func(ctx context.Context, r *Request, old *record) error
	show        func(ctx context.Context, rec *record) (any, error)
	actions     map[string]storedAction
	principal   func(rec *record) (principalID, clientID string, err error) // nil: no identity
	filter      func(string) (func(Envelope) bool, error)
	noPatch     bool
	asyncPut    func(ctx context.Context, step *Step, rec *record) (bool, error)
	asyncDelete func(ctx context.Context, step *Step, rec *record) (bool, error)
}

// storedAction is an Action without its type parameter.
type storedAction struct {
	name   string
	as     string // the operation that it takes
	writes bool
	run    func(ctx context.Context, r *Request, rec *record, body []byte) (status int, result any, err error)
	async  func(ctx context.Context, step *Step, rec *record) (bool, error)
}

// virtual is a Virtual type.
type virtual struct {
	hooks VirtualHooks
}
