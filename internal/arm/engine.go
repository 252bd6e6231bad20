package arm

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
	"github.com/lanyard-id/lanyard/internal/tracing"
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
	// OperatorTenant is the tenant that CloudWide types belong to; required with
	// such types.
	OperatorTenant string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Strict refuses what Azure refuses and waits where Azure waits: api-versions
	// that a type doesn't list, and operations polled at Azure's pace.
	Strict bool
	// Throttle refuses requests above Azure's allowances: those of a principal in
	// a subscription, and those of types ([Spec.Rates]). They are counted in this
	// process alone.
	Throttle bool
	// PageSize is how many items a list gives at once, and the most that $top
	// may ask for; 0 is 1000.
	PageSize int
	// Tracer records the steps of traced requests; nil: none.
	Tracer *tracing.Tracer
	// Logger is where unknown errors go; nil discards them.
	Logger *slog.Logger
}

// Engine serves the Resource Manager's host: an http.Handler, with [Engine.Run]
// beside it.
type Engine struct {
	cfg      Config
	log      *slog.Logger
	router   *router
	throttle *throttle
	lease    time.Duration // of the worker
}

// New checks the table of types (each name once, with well-formed versions) and
// makes the engine.
func New(cfg Config) (*Engine, error) {
	if cfg.Store == nil || cfg.Directory == nil || cfg.Guard == nil || cfg.Verifier == nil {
		return nil, errors.New("arm: Config needs Store, Directory, Guard and Verifier")
	}
	router, err := newRouter(cfg.Types)
	if err != nil {
		return nil, err
	}
	if cfg.OperatorTenant == "" && slices.ContainsFunc(cfg.Types, func(t Type) bool { return t.spec.CloudWide }) {
		return nil, errors.New("arm: types of the whole cloud need an OperatorTenant")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.PageSize <= 0 {
		cfg.PageSize = 1000
	}
	return &Engine{cfg: cfg, log: cfg.Logger, router: router, throttle: newThrottle(cfg.Now), lease: workerLease}, nil
}

// ServeHTTP answers one request of the Resource Manager. It takes the request's
// identifiers from the context ([azure.RequestFrom]).
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{engine: e, w: w, r: r, ctx: r.Context(), now: e.cfg.Now().UTC(), query: r.URL.Query()}
	x.commonHeaders()
	if err := x.serve(); err != nil {
		x.writeError(err)
	}
}
