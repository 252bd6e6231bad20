package keyvault

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
	"github.com/lanyard-id/lanyard/internal/tracing"
)

// Config configures [New]. Every field without a stated default is required.
type Config struct {
	// Store holds the contents of all vaults.
	Store *store.Store
	// Guard decides and audits for vaults in role-based mode, and knows the groups
	// that an access policy may name.
	Guard *rbac.Guard
	// Verifier checks access tokens; it must be the one of
	// [azure.ServiceKeyVault].
	Verifier *token.Verifier
	// Audit records what the guard does not decide: access policies and the
	// vault's firewall.
	Audit *audit.Log
	// Cloud names the hosts.
	Cloud azure.Cloud
	// Vaults tells which vaults exist.
	Vaults Vaults
	// Tracer records the steps of traced requests; nil: none.
	Tracer *tracing.Tracer
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Logger takes what an operator should know; values are never logged.
	// Default: nothing.
	Logger *slog.Logger
	// Strict accepts only the api-versions that Azure publishes.
	Strict bool
	// PageSize is the number of items in a page when the client does not say,
	// from 1 to 25, which is the default and Azure's limit.
	PageSize int
	// MaxBody is the largest request body, in bytes, that what stands before the
	// plane lets through. A backup that could then not be restored is not made.
	// Default, and at most: 48 MiB, which holds the largest possible backup.
	MaxBody int64
}

// Handler serves all vaults. It finds the vault by the request's Host.
type Handler struct {
	cfg       Config
	audiences azure.Service
}

// New makes the plane.
func New(cfg Config) (*Handler, error) {
	switch {
	case cfg.Store == nil, cfg.Guard == nil, cfg.Verifier == nil,
		cfg.Audit == nil, cfg.Vaults == nil:
		return nil, errors.New("keyvault: Store, Guard, Verifier, Audit and Vaults are required")
	case cfg.PageSize < 0 || cfg.PageSize > maxPageSize:
		return nil, errors.New("keyvault: PageSize must be from 1 to 25")
	}
	if cfg.PageSize == 0 {
		cfg.PageSize = maxPageSize
	}
	if cfg.MaxBody <= 0 || cfg.MaxBody > maxBackupBody {
		cfg.MaxBody = maxBackupBody
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{cfg: cfg, audiences: cfg.Cloud.Service(azure.ServiceKeyVault)}, nil
}

// ServeHTTP answers one request. The order of its steps is part of the
// contract: nothing is said of a vault's contents, and no body is read, before
// the caller is known, may come from where it comes from, and may do what it
// asks for.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	res, err := h.serve(w.Header(), r)
	if err != nil {
		h.writeError(w, r, err)
		return
	}
	writeResult(w, res)
}

// result is what an operation answers with: a status and, unless it is 204, a
// document.
type result struct {
	status int
	body   any
}

func (h *Handler) serve(header http.Header, r *http.Request) (result, error) {
	setCommonHeaders(header, r)
	addr, ok := h.parseHost(r.Host)
	if !ok {
		return result{}, vaultNotFound(r.Host)
	}
	vault, ok := h.cfg.Vaults.Vault(addr.vault)
	if !ok {
		return result{}, vaultNotFound(addr.vault)
	}
	header.Set("X-Ms-Keyvault-Region", vault.Location)

	var caller azure.Caller
	err := h.step(r.Context(), "authenticate", func(context.Context) (err error) {
		caller, err = h.authenticate(header, r, addr, vault)
		return err
	})
	if err != nil {
		return result{}, err
	}
	if err := h.checkNetwork(r, caller, vault); err != nil {
		return result{}, err
	}
	op, target, err := route(r.Method, r.URL.EscapedPath(), header)
	if err != nil {
		return result{}, err
	}
	span := h.cfg.Tracer.Current(r.Context())
	if span.Recording() {
		span.Route(r.Method, "/"+op.pattern)
		span.Set("lanyard.vault", vault.Name)
		span.Set("lanyard.tenant_id", caller.TenantID)
		span.Set("lanyard.app_id", caller.AppID)
	}
	query, err := h.parseQuery(r.URL.RawQuery)
	if err != nil {
		return result{}, err
	}
	req := &request{
		http: r, vault: vault, caller: caller, base: addr.base,
		target: target, query: query, now: h.cfg.Now(),
	}
	err = h.step(r.Context(), "authorize", func(ctx context.Context) error { return h.authorize(ctx, req, op) })
	if err != nil {
		return result{}, err
	}
	var res result
	err = h.step(r.Context(), "operation", func(ctx context.Context) (err error) {
		h.cfg.Tracer.Current(ctx).Set("lanyard.action", op.action)
		res, err = op.run(h, ctx, req)
		return err
	})
	return res, err
}

// step runs a step of a request, which is a span where the request is traced.
func (h *Handler) step(ctx context.Context, name string, do func(ctx context.Context) error) error {
	ctx, span := h.cfg.Tracer.Start(ctx, name)
	defer span.End()
	err := do(ctx)
	if err != nil && span.Recording() {
		code := "InternalError"
		if known, ok := errors.AsType[*azure.Error](err); ok {
			code = known.Code
		}
		span.Fail(code)
	}
	return err
}

// request is what an operation knows of its request once it is allowed.
type request struct {
	http   *http.Request
	vault  Vault
	caller azure.Caller
	base   string // URL of the vault as the client reached it, without trailing slash
	target target
	query  query
	now    time.Time
}

// Run purges what is due, once a minute, until ctx ends. Replicas may all run
// it; one at a time does the work.
func (h *Handler) Run(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		if err := h.Sweep(ctx); err != nil && ctx.Err() == nil {
			h.cfg.Logger.WarnContext(ctx, "purging deleted secrets failed; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
