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

// Request is what every hook gets. A hook that refuses returns an *azure.Error;
// any other error is answered with a 500 without detail.
type Request struct {
	// Tx is the transaction, in hooks that write; it may run more than once, so
	// a hook has no effects but through it. Nil in Get, List and Show hooks and
	// in actions that don't write.
	Tx *store.Tx
	// Caller is zero for anonymous types.
	Caller azure.Caller
	// TenantID is the tenant of the scope: the subscription's, else the caller's.
	TenantID string
	// Type is the type's name as its Spec spells it.
	Type string
	// ID is the resource; for lists, actions on a collection and types with
	// patterns of their own it is the scope that holds them (for children, the
	// parent resource).
	ID azure.ResourceID
	// Name is the resource's own name; empty for collections.
	Name string
	// Params are the segments that a pattern of Spec.Collections or Spec.Items
	// names.
	Params     map[string]string
	APIVersion string
	Query      url.Values
	Header     http.Header
	// BaseURL is the host by which the client came, "https://host:port", for
	// absolute links.
	BaseURL string
	Now     time.Time

	engine *Engine
	parent *record // the parent resource, where its type is stored
	// afterCommit is what AfterCommit was given in this run of the transaction.
	afterCommit []func(context.Context) error
}

// AfterCommit has f called when the transaction that the hook is in is committed,
// before the answer: for effects outside of the store, such as an audit record.
// An error of f is the request's. It is for hooks in the request's own
// transaction; Hooks.Delete also runs in cascades, where f is not called.
func (r *Request) AfterCommit(f func(ctx context.Context) error) {
	r.afterCommit = append(r.afterCommit, f)
}

// committed calls what AfterCommit was given.
func (r *Request) committed(ctx context.Context) error {
	for _, f := range r.afterCommit {
		if err := f(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Put is a creation (Old nil) or a change. The body is decoded into New over
// nothing (PUT) or over Old's wire form (PATCH, by JSON merge patch). The hook
// completes and checks New; read-only properties are its duty: the body may
// have set them, so it takes them from Old or makes them.
type Put[P any] struct {
	*Request
	Old   *Resource[P]
	New   *Resource[P]
	Patch bool
	// Body is the request's body as it came.
	Body json.RawMessage
}

// Linked is a further action that the caller must be allowed on another scope.
type Linked struct {
	Action string
	Scope  azure.ResourceID
}

// Hooks of a type whose resources the engine stores. Every field may be nil.
type Hooks[P any] struct {
	// Linked names linked-scope checks for a PUT or PATCH; those that fail give
	// 403 LinkedAuthorizationFailed, with all their IDs in one quoted list. It
	// runs in the transaction, before Put.
	Linked func(ctx context.Context, p *Put[P]) ([]Linked, error)
	// Put completes and checks p.New, in the transaction that stores it.
	Put func(ctx context.Context, p *Put[P]) error
	// Delete runs in the transaction that removes the resource's key; also for
	// each resource of a cascade, where the Request has no Query and no Header.
	Delete func(ctx context.Context, r *Request, old *Resource[P]) error
	// Show turns stored properties into those on the wire; nil: as they are
	// stored. What it returns must encode as a JSON object. PATCH merges into
	// what it returns.
	Show    func(ctx context.Context, res *Resource[P]) (any, error)
	Actions []Action[P]
	// Filter understands a list's $filter: it gives what it matches, or the
	// client's error. Without it a $filter is refused: ignored, it would make
	// the list wrong.
	Filter func(filter string) (matches func(Envelope) bool, err error)
	// Principal makes the type's resources identities that identity blocks of
	// other resources can name, which takes {Spec.Action}/assign/action on them:
	// it gives the principal (object) ID and the client ID.
	Principal func(properties *P) (principalID, clientID string)
	// NoPatch refuses PATCH with 405.
	NoPatch bool
	// AsyncPut makes PUT and PATCH long-running: they answer at once with
	// Azure-AsyncOperation and a provisioningState of Creating or Updating, and
	// AsyncPut then runs, step by step, until it says done; changes to res are
	// stored with each step. Steps are repeated after a crash: they must be
	// idempotent.
	AsyncPut func(ctx context.Context, step *Step, res *Resource[P]) (done bool, err error)
	// AsyncDelete makes DELETE long-running, likewise: 202 and Location. With
	// done, the resource's key and those below it are removed in the same
	// transaction, after Delete.
	AsyncDelete func(ctx context.Context, step *Step, res *Resource[P]) (done bool, err error)
}

// Action is a POST on a resource of a stored type.
type Action[P any] struct {
	// Name is the last segment of the path; the RBAC action is
	// {Spec.Action}/{Name}/action, unless As says otherwise.
	Name string
	// As is the operation that the caller needs to be allowed in the place of
	// "{Name}/action": "write", for an action that is a part of writing the
	// resource to those who have roles for it.
	As string
	// Writes gives Run a transaction, and stores what it changes in res.
	Writes bool
	// Run answers with a status and a body (nil: none).
	Run func(ctx context.Context, r *Request, res *Resource[P], body json.RawMessage) (status int, result any, err error)
	// Async makes the action long-running (Writes is implied): Run only checks
	// and accepts, its status and result are dropped for 202 and Location.
	Async func(ctx context.Context, step *Step, res *Resource[P]) (done bool, err error)
}

// Step is one step of a long-running operation, in a transaction of its own
// that may run more than once. An *azure.Error ends the operation as Failed;
// after any other error the step is tried again later.
type Step struct {
	Tx *store.Tx
	// Caller started the operation.
	Caller   azure.Caller
	TenantID string
	ID       azure.ResourceID
	Now      time.Time
	// Data is the step's own note of its progress, JSON, kept between steps.
	Data json.RawMessage
	// Result is the body of the final answer, where the operation has one.
	Result any
}

// VirtualHooks serve a type that is kept elsewhere (role assignments, tags,
// permissions, subscriptions). A nil hook is 405. The engine has authenticated,
// authorized and, where the scope lies in them, found subscription, resource
// group and parent resource before it calls one.
type VirtualHooks struct {
	// Get gives the resource on the wire, or the type's own 404.
	Get func(ctx context.Context, r *Request) (any, error)
	// List gives all items of the collection in the scope r.ID; the engine
	// makes pages of them. Items need an "id" for that.
	List func(ctx context.Context, r *Request) ([]any, error)
	// ListExtra gives further members of the list's envelope ("count").
	ListExtra func(ctx context.Context, r *Request, items []any) (map[string]any, error)
	// Filters says that List shows a caller only what they may read, so that a
	// caller with a role somewhere in the scope is not refused the list.
	Filters bool
	// Put, Patch and Delete have r.Tx. A nil result is an answer without body.
	Put    func(ctx context.Context, r *Request, body json.RawMessage) (status int, result any, err error)
	Patch  func(ctx context.Context, r *Request, body json.RawMessage) (status int, result any, err error)
	Delete func(ctx context.Context, r *Request) (status int, result any, err error)
	// AsyncDelete makes DELETE long-running: Delete then only checks and accepts,
	// its result is dropped for 202 and Location; with the status 204 there is
	// nothing to do.
	AsyncDelete func(ctx context.Context, step *Step) (done bool, err error)
	// Post is a POST on the collection ("checkNameAvailability"); r.Tx is nil.
	Post func(ctx context.Context, r *Request, body json.RawMessage) (status int, result any, err error)
	// Actions are POSTs on a resource, by their name.
	Actions map[string]VirtualAction
	// Linked names linked-scope checks for a PUT, PATCH ("write") or DELETE
	// ("delete"), as Hooks.Linked does. It runs before the transaction.
	Linked func(ctx context.Context, r *Request, operation string, body json.RawMessage) ([]Linked, error)
	// Attributes gives the attributes that the guard's conditions look at,
	// before it decides. The body is unchecked: it may not be JSON at all.
	Attributes func(ctx context.Context, method string, r *Request, body json.RawMessage) (request, resource map[string][]string)
	// Action names the RBAC action where it isn't Spec.Action and the
	// operation: "read", "write", "delete" or "{name}/action". The empty
	// answer stands for that default.
	Action func(r *Request, operation string) string
	// NoCheck lists operations (as for Action) which need a token but no
	// permission: the hook itself filters what it shows.
	NoCheck map[string]bool
}

// VirtualAction is a POST on a resource of a virtual type.
type VirtualAction struct {
	// Writes gives Run a transaction.
	Writes bool
	// Removes says that it takes away and adds nothing, as DELETE does: it may
	// run in a disabled subscription.
	Removes bool
	// Run answers with a status and a body (nil: none).
	Run func(ctx context.Context, r *Request, body json.RawMessage) (status int, result any, err error)
	// Async makes the action long-running (Writes is implied): Run only checks
	// and accepts, its status and result are dropped for 202 and Location.
	Async func(ctx context.Context, step *Step) (done bool, err error)
}

// Virtual makes a type that is kept elsewhere.
func Virtual(spec Spec, hooks VirtualHooks) Type {
	return Type{spec: spec, virtual: &virtual{hooks: hooks}}
}
