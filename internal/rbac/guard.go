package rbac

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// Azure's limits, and the defaults of [Limits].
const (
	DefaultAssignmentsPerSubscription = 4000
	DefaultCustomRoles                = 5000
)

// Limits are Azure's limits. They can be raised, never lowered: what works on
// Azure must work here.
type Limits struct {
	// AssignmentsPerSubscription counts the role assignments at a subscription
	// and below. Default, and at least, 4,000.
	AssignmentsPerSubscription int
	// CustomRoles counts the custom roles of a tenant. Default, and at least,
	// 5,000.
	CustomRoles int
}

func (l Limits) withDefaults() (Limits, error) {
	for _, limit := range []struct {
		value *int
		least int
		name  string
	}{
		{&l.AssignmentsPerSubscription, DefaultAssignmentsPerSubscription, "role assignments per subscription"},
		{&l.CustomRoles, DefaultCustomRoles, "custom roles"},
	} {
		if *limit.value == 0 {
			*limit.value = limit.least
		}
		if *limit.value < limit.least {
			return l, fmt.Errorf("rbac: the limit of %s can't be below Azure's %d", limit.name, limit.least)
		}
	}
	return l, nil
}

// Config configures [NewGuard].
type Config struct {
	// Store, Directory and Audit are required.
	Store     *store.Store
	Directory *directory.Directory
	Audit     *audit.Log
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
	// Strict gives Azure's own error, less helpful, where the principal of a
	// role assignment is the client ID of a known identity.
	Strict bool
	// Limits are Azure's unless raised.
	Limits Limits
	// AssignmentLag is how long after it was made a change of role assignments
	// is in force. On Azure that is up to ten minutes. Default: 0, at once.
	AssignmentLag time.Duration
	// TokenGroups makes the groups in a managed identity's token the ones that
	// count, as on Azure, where the token is a day old by the time that somebody
	// changes them. Default: the memberships of the moment count, and those of
	// the token on top.
	TokenGroups bool
}

// Guard decides, for every plane, what a caller may do, and keeps the record.
// It holds every tenant's role assignments and custom roles in memory, as views
// of the store; a decision touches no storage. Its methods may be called from
// any goroutine.
type Guard struct {
	store     *store.Store
	directory *directory.Directory
	audit     *audit.Log
	now       func() time.Time
	log       *slog.Logger
	strict    bool
	limits    Limits
	metrics   *metrics
	// tokenGroups is Config.TokenGroups.
	tokenGroups bool

	mu      sync.RWMutex
	lag     lag
	tenants map[string]*Policy // by folded tenant ID
}

// NewGuard follows the store and returns when the views hold its present state.
// ctx bounds that only.
func NewGuard(ctx context.Context, cfg Config) (*Guard, error) {
	if cfg.Store == nil || cfg.Directory == nil || cfg.Audit == nil {
		return nil, fmt.Errorf("rbac: a store, a directory and an audit log are required")
	}
	limits, err := cfg.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.AssignmentLag < 0 {
		return nil, fmt.Errorf("rbac: a lag of %s is not possible", cfg.AssignmentLag)
	}
	g := &Guard{
		store:     cfg.Store,
		directory: cfg.Directory,
		audit:     cfg.Audit,
		now:       cfg.Now,
		log:       cfg.Logger,
		strict:    cfg.Strict,
		limits:    limits,
		metrics:   newMetrics(),
		tenants:   map[string]*Policy{},

		tokenGroups: cfg.TokenGroups,
		lag:         lag{by: cfg.AssignmentLag},
	}
	g.lag.clear()
	if g.now == nil {
		g.now = time.Now
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if err := g.store.Follow(ctx, keyPrefix, g.apply); err != nil {
		return nil, fmt.Errorf("following role assignments: %w", err)
	}
	return g, nil
}

// Check decides and audits. The error is non-nil when no decision can be made
// or kept (stale views, a full audit log): treat it as 503, never as allowed.
// A scope in a subscription of another tenant, or in none that is known, is
// denied. A scope outside of subscriptions is the caller's own tenant's, unless
// the request names another.
//
// A token outlives its principal: after a principal is disabled or deleted, its
// tokens are good until they expire and its role assignments still count, as on
// Azure.
func (g *Guard) Check(ctx context.Context, r Request) (Decision, error) {
	start := time.Now()
	d, err := g.decide(r)
	g.metrics.decided(r.Data, d.Allowed, err, time.Since(start))
	record := audit.Record{
		Kind:     audit.KindAuthorization,
		Result:   audit.ResultDenied,
		TenantID: r.Caller.TenantID,
		ObjectID: r.Caller.ObjectID,
		AppID:    r.Caller.AppID,
		Action:   r.Action,
		Scope:    r.Scope.String(),
		Reason:   d.Reason,
	}
	switch {
	case err != nil:
		record.Result, record.Reason = audit.ResultError, err.Error()
	case d.Allowed:
		record.Result = audit.ResultAllowed
		record.Detail = map[string]string{"assignment": d.Assignment.Name, "role": d.Role.ID}
	}
	if r.Data || r.Caller.TokenID != "" {
		if record.Detail == nil {
			record.Detail = map[string]string{}
		}
		if r.Data {
			record.Detail["plane"] = "data"
		}
		if r.Caller.TokenID != "" {
			record.Detail["tokenId"] = r.Caller.TokenID
		}
	}
	if auditErr := g.audit.Write(ctx, record); auditErr != nil && err == nil {
		err = fmt.Errorf("keeping the decision: %w", auditErr)
	}
	if err != nil {
		return Decision{}, fmt.Errorf("authorizing %s: %w", r.Action, err)
	}
	return d, nil
}

func (g *Guard) decide(r Request) (Decision, error) {
	if err := g.store.Fresh(); err != nil {
		return Decision{}, err
	}
	if reason := g.foreign(r.Caller, r.Scope); reason != "" {
		return Decision{Reason: reason}, nil
	}
	if r.TenantID != "" && !azure.EqualFold(r.TenantID, r.Caller.TenantID) {
		return Decision{Reason: "the scope belongs to another tenant than the caller's " + r.Caller.TenantID}, nil
	}
	q := Question{
		Principals:         g.principals(r.Caller),
		Action:             r.Action,
		Data:               r.Data,
		Scope:              r.Scope,
		Unconditional:      r.Unconditional,
		RequestAttributes:  r.RequestAttributes,
		ResourceAttributes: r.ResourceAttributes,
		Now:                g.now(),
	}
	g.rlock(q.Now)
	defer g.mu.RUnlock()
	d := g.policy(r.Caller.TenantID).Allow(q)
	if !d.Allowed && len(g.lag.waiting) > 0 {
		d.Reason += g.lagNote(r.Caller.TenantID)
	}
	return d, nil
}

// foreign says why a scope is none of the caller's tenant; "" where it is one.
func (g *Guard) foreign(c azure.Caller, scope azure.ResourceID) string {
	if c.TenantID == "" || c.ObjectID == "" {
		return "the caller has no tenant or no object ID"
	}
	id := scope.SubscriptionID()
	if id == "" {
		return ""
	}
	s, ok := g.directory.Subscription(id)
	if !ok {
		return "there is no subscription " + id
	}
	if !azure.EqualFold(s.TenantID, c.TenantID) {
		return "the subscription " + id + " trusts another tenant than the caller's " + c.TenantID
	}
	return ""
}

// principals gives the object IDs that count as the caller, its own first: the
// groups of its token, and those that the directory knows, nested ones too.
func (g *Guard) principals(c azure.Caller) []string {
	var known []string
	if !g.tokenGroups || c.IdentityResourceID == "" {
		known = g.directory.GroupsOf(c.TenantID, c.ObjectID)
	}
	all := make([]string, 0, 1+len(c.Groups)+len(known))
	all = append(all, c.ObjectID)
	all = append(all, c.Groups...)
	return append(all, known...)
}

// Groups gives the object IDs of the groups that count as the caller's: for
// planes that have rules of their own beside roles.
func (g *Guard) Groups(c azure.Caller) []string { return g.principals(c)[1:] }

// noPolicy is that of a tenant without role assignments. It is never changed.
var noPolicy = NewPolicy(nil, nil)

// policy gives a tenant's policy. The caller holds the lock.
func (g *Guard) policy(tenantID string) *Policy {
	if p := g.tenants[azure.Fold(tenantID)]; p != nil {
		return p
	}
	return noPolicy
}

// Filter reports which of the scopes the caller may do a control plane action
// at: for lists that Azure filters. It leaves no audit record: what the list
// itself is part of was decided by Check.
func (g *Guard) Filter(_ context.Context, c azure.Caller, action string, scopes []azure.ResourceID) ([]bool, error) {
	if err := g.store.Fresh(); err != nil {
		return nil, fmt.Errorf("filtering by %s: %w", action, err)
	}
	q := Question{Principals: g.principals(c), Action: action, Now: g.now()}
	allowed := make([]bool, len(scopes))
	g.rlock(q.Now)
	defer g.mu.RUnlock()
	p := g.policy(c.TenantID)
	for i, scope := range scopes {
		if g.foreign(c, scope) != "" {
			continue
		}
		q.Scope = scope
		e := newEvaluation(&q)
		grant, _ := p.find(&e)
		allowed[i] = grant != nil
	}
	return allowed, nil
}

// Reaches reports whether the caller has any role assignment at, above or below
// the scope: it then sees the subscription in lists.
func (g *Guard) Reaches(c azure.Caller, scope azure.ResourceID) bool {
	if g.store.Fresh() != nil || g.foreign(c, scope) != "" {
		return false
	}
	principals := g.principals(c)
	g.rlock(g.now())
	defer g.mu.RUnlock()
	return g.policy(c.TenantID).reaches(principals, scope.Key())
}

// Permissions gives the caller's permissions at a scope: those of each role
// that it has there or above, every role once, without regard to the conditions
// of assignments.
func (g *Guard) Permissions(c azure.Caller, scope azure.ResourceID) []Permission {
	if g.store.Fresh() != nil || g.foreign(c, scope) != "" {
		return nil
	}
	principals := g.principals(c)
	g.rlock(g.now())
	defer g.mu.RUnlock()
	return g.policy(c.TenantID).permissions(principals, scope.Key())
}

// PrincipalsOf gives a principal's object ID and those of all groups that hold
// it, nested ones too: what the filter assignedTo('...') asks for.
func (g *Guard) PrincipalsOf(tenantID, objectID string) []string {
	return g.principals(azure.Caller{TenantID: tenantID, ObjectID: objectID})
}

// Role gives a role definition by GUID as seen in a tenant: built-in, or one of
// the tenant's own.
func (g *Guard) Role(tenantID, id string) (RoleDefinition, bool) {
	canonical, ok := parseGUID(id)
	if !ok {
		return RoleDefinition{}, false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	r, ok := g.policy(tenantID).role(canonical)
	if !ok {
		return RoleDefinition{}, false
	}
	return *r.def, true
}

// AssignmentAttributes is the function of the same name, with the principal's
// type as the directory knows it: what the client says of a known principal
// does not count, nor need it say it.
func (g *Guard) AssignmentAttributes(a Assignment) map[string][]string {
	if id, ok := parseGUID(a.PrincipalID); ok {
		a.PrincipalID = id
	}
	if p, ok := g.directory.Principal(a.TenantID, a.PrincipalID); ok {
		a.PrincipalType = p.Type
	}
	return AssignmentAttributes(a)
}
