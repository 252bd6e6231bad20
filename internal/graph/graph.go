package graph

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
	"github.com/lanyard-id/lanyard/internal/tracing"
)

// Config configures [New]. Every field without a stated default is required.
type Config struct {
	// Store is where the directory's transactions run.
	Store *store.Store
	// Directory is what is served.
	Directory *directory.Directory
	// Guard decides and audits.
	Guard *rbac.Guard
	// Audit records what the guard does not decide: that a principal read itself.
	Audit *audit.Log
	// Verifier checks access tokens; it must be the one of [azure.ServiceGraph].
	Verifier *token.Verifier
	// Cloud names the hosts.
	Cloud azure.Cloud
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Logger takes what an operator should know; secrets are never logged.
	// Default: nothing.
	Logger *slog.Logger
	// Tracer names the spans of traced requests; nil: none.
	Tracer *tracing.Tracer
	// Strict keeps refusals to Graph's own words, which don't say what was
	// missing.
	Strict bool
}

// Handler serves Graph, whatever host it is asked under.
type Handler struct {
	cfg    Config
	routes []route
}

// New makes the plane.
func New(cfg Config) (*Handler, error) {
	if cfg.Store == nil || cfg.Directory == nil || cfg.Guard == nil || cfg.Audit == nil || cfg.Verifier == nil {
		return nil, errors.New("graph: Store, Directory, Guard, Audit and Verifier are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{cfg: cfg, routes: routes()}, nil
}

// request is what an operation knows of its request once it is allowed.
type request struct {
	http   *http.Request
	caller azure.Caller
	// origin is the service's URL under the host that the client named, so that
	// it finds the next page by the way it came.
	origin string
	beta   bool
	// root is the collection that the path begins with, as the table spells it,
	// or "me"; keys are the identifiers in the path, in its order.
	root  string
	keys  []key
	query query
}

// tenant is the caller's, in which everything is looked up and written.
func (r *request) tenant() string { return r.caller.TenantID }

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setCommonHeaders(w.Header(), r)
	res, err := h.serve(w.Header(), r)
	if err != nil {
		h.writeError(w, r, err)
		return
	}
	h.writeResult(w, r, res)
}

// serve takes the steps of every request in the order that is part of the
// contract: nothing is said of the directory, and no body is read, before the
// caller is known and may do what it asks for.
func (h *Handler) serve(header http.Header, r *http.Request) (result, error) {
	caller, err := h.authenticate(header, r)
	if err != nil {
		return result{}, err
	}
	version, tenant, path, err := parsePath(r.URL.EscapedPath())
	if err != nil {
		return result{}, err
	}
	if tenant != "" && !h.isTenant(caller, tenant) {
		return result{}, errOtherTenant()
	}
	req := &request{http: r, caller: caller, origin: h.origin(r), beta: version == versionBeta}
	rt, keys, err := h.route(r.Method, path, header)
	if err != nil {
		return result{}, err
	}
	if span := h.cfg.Tracer.Current(r.Context()); span.Recording() {
		span.Route(r.Method, "/"+version+"/"+rt.pattern)
		span.Set("lanyard.tenant_id", caller.TenantID)
		span.Set("lanyard.app_id", caller.AppID)
	}
	req.root, _, _ = strings.Cut(rt.pattern, "/")
	req.keys = keys
	if err := h.authorize(r.Context(), req, rt); err != nil {
		return result{}, err
	}
	if req.query, err = parseQuery(r.URL.RawQuery); err != nil {
		return result{}, err
	}
	return rt.run(h, req)
}

// isTenant reports whether a path's tenant (an ID, a domain or "myorganization")
// is the caller's own.
func (h *Handler) isTenant(c azure.Caller, name string) bool {
	if azure.EqualFold(name, myOrganization) {
		return true
	}
	t, ok := h.cfg.Directory.Tenant(name)
	return ok && azure.EqualFold(t.ID, c.TenantID)
}

// plainHost is what may be repeated in links.
var plainHost = regexp.MustCompile(`^[a-zA-Z0-9.-]{1,253}(:[0-9]{1,5})?$`)

// origin is the service's URL under the host of the request.
func (h *Handler) origin(r *http.Request) string {
	if plainHost.MatchString(r.Host) {
		return "https://" + r.Host
	}
	return h.cfg.Cloud.Graph()
}

// update runs a transaction of the directory.
func (h *Handler) update(ctx context.Context, do func(tx *store.Tx) error) error {
	_, err := h.cfg.Store.Update(ctx, do)
	return err
}
