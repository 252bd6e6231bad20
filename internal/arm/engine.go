package arm

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// Config configures [New]. All fields are required unless they say otherwise.
type Config struct {
	// Types are what the engine serves.
	Types     []Type
	Store     *store.Store
	Directory *directory.Directory
	Guard     *rbac.Guard
	// Verifier accepts tokens for azure.ServiceResourceManager.
	Verifier *token.Verifier
	Cloud    azure.Cloud
	// Locations are the canonical names of the cloud's regions.
	Locations []string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Strict refuses what Azure refuses and waits where Azure waits: api-versions
	// that a type doesn't list, requests above the throttling limits, and
	// operations polled at Azure's pace.
	Strict bool
	// PageSize is how many items a list gives at once, and the most that $top
	// may ask for; 0 is 1000.
	PageSize int
	// Logger is where unknown errors go; nil discards them.
	Logger *slog.Logger
}

// Engine serves the Resource Manager's host.
type Engine struct {
	cfg Config
}

// New checks the table of types (each name once, with versions) and makes the
// engine.
func New(cfg Config) (*Engine, error) { panic("unwritten") }

// ServeHTTP answers one request of the Resource Manager.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("unwritten") }

// Run carries on long-running operations, this replica's turn permitting, until
// ctx ends.
func (e *Engine) Run(ctx context.Context) error { panic("unwritten") }

// Lookup reads the resource id, of a type made by Define[P], in r's transaction
// where it has one. A resource that doesn't exist is store.ErrNotFound.
func Lookup[P any](ctx context.Context, r *Request, id azure.ResourceID) (*Resource[P], error) {
	panic("unwritten")
}

type operation struct{}

func invalidContent(body []byte, path string, err error) error { panic("unwritten") }
