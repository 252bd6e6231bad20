package rbac

import (
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Question is what [Policy.Allow] decides: a [Request] whose caller is resolved
// to principals.
type Question struct {
	// Principals are the object IDs that count as the caller: its own first, then
	// its groups', nested ones too.
	Principals []string
	// Action, Data, Scope and Unconditional are as in [Request].
	Action        string
	Data          bool
	Scope         azure.ResourceID
	Unconditional bool
	// Attributes for conditions, by name; see [Request].
	RequestAttributes, ResourceAttributes, PrincipalAttributes map[string][]string
	// Now is @Environment[UtcNow].
	Now time.Time
}

// Policy is the role assignments and custom roles of one tenant, indexed for
// deciding. It holds no lock and reads no clock or storage: [Guard] keeps one
// for every tenant up to date and guards it.
type Policy struct {
	// grants are by principal, then by the key of the scope. Both are folded.
	grants map[string]map[string][]*grant
	byName map[string]*grant
	custom map[string]*role
}

// grant is a role assignment, made ready.
type grant struct {
	assignment   *Assignment
	principal    string // folded
	scope        string // key
	where        string // the scope as spelled, for reasons
	condition    *condition
	conditionErr error
}

// NewPolicy makes a policy from role assignments and custom roles.
func NewPolicy(assignments []Assignment, custom []RoleDefinition) *Policy {
	p := &Policy{
		grants: map[string]map[string][]*grant{},
		byName: map[string]*grant{},
		custom: map[string]*role{},
	}
	for i := range custom {
		p.putRole(&custom[i])
	}
	for i := range assignments {
		p.putGrant(newGrant(&assignments[i]))
	}
	return p
}

func (p *Policy) putRole(def *RoleDefinition) { p.custom[azure.Fold(def.ID)] = compileRole(def) }

func (p *Policy) removeRole(id string) { delete(p.custom, azure.Fold(id)) }

func newGrant(a *Assignment) *grant {
	g := &grant{
		assignment: a,
		principal:  azure.Fold(a.PrincipalID),
		scope:      a.Scope.Key(),
		where:      a.Scope.String(),
	}
	if a.Condition != "" {
		g.condition, g.conditionErr = parseCondition(a.Condition)
	}
	return g
}

// putGrant adds an assignment, or replaces the one of the same name.
func (p *Policy) putGrant(g *grant) {
	p.removeAssignment(g.assignment.Name)
	scopes := p.grants[g.principal]
	if scopes == nil {
		scopes = map[string][]*grant{}
		p.grants[g.principal] = scopes
	}
	scopes[g.scope] = append(scopes[g.scope], g)
	p.byName[azure.Fold(g.assignment.Name)] = g
}

func (p *Policy) removeAssignment(name string) {
	name = azure.Fold(name)
	g, ok := p.byName[name]
	if !ok {
		return
	}
	delete(p.byName, name)
	scopes := p.grants[g.principal]
	rest := make([]*grant, 0, len(scopes[g.scope]))
	for _, other := range scopes[g.scope] {
		if other != g {
			rest = append(rest, other)
		}
	}
	if len(rest) > 0 {
		scopes[g.scope] = rest
		return
	}
	delete(scopes, g.scope)
	if len(scopes) == 0 {
		delete(p.grants, g.principal)
	}
}

// role gives a role by its GUID: built-in roles first, so that no custom role
// can take the place of one.
func (p *Policy) role(id string) (*role, bool) {
	id = azure.Fold(id)
	if r, ok := builtInRole(id); ok {
		return r, true
	}
	r, ok := p.custom[id]
	return r, ok
}

// Allow decides a question by Azure's rules:
//
//   - A role assignment counts where its principal is one of the question's and
//     its scope is the question's scope or an ancestor, compared segment by
//     segment.
//   - It allows where, in one of its role's permissions, a pattern of Actions
//     covers the action, none of NotActions does, and the conditions of the
//     permission and of the assignment are met. A data action is looked up in
//     DataActions and NotDataActions instead, and nowhere else.
//   - One assignment that allows is enough: what a permission leaves out or
//     takes away says nothing of any other.
func (p *Policy) Allow(q Question) Decision {
	e := newEvaluation(&q)
	if g, r := p.find(&e); g != nil {
		return Decision{Allowed: true, Assignment: g.assignment, Role: r.def, Reason: e.why(g, r)}
	}
	return Decision{Reason: p.whyNot(&e)}
}

// evaluation is a question made ready.
type evaluation struct {
	q     *Question
	scope string // key
	in    conditionInput
}

func newEvaluation(q *Question) evaluation {
	return evaluation{
		q:     q,
		scope: q.Scope.Key(),
		in: conditionInput{
			action:    azure.Fold(q.Action),
			request:   q.RequestAttributes,
			resource:  q.ResourceAttributes,
			principal: q.PrincipalAttributes,
			now:       q.Now,
		},
	}
}

// find gives the assignment that allows, the nearest to the scope first, and
// its role; nil when none does.
func (p *Policy) find(e *evaluation) (*grant, *role) {
	for _, principal := range e.q.Principals {
		scopes := p.grants[azure.Fold(principal)]
		if len(scopes) == 0 {
			continue
		}
		for key, ok := e.scope, true; ok; key, ok = above(key) {
			for _, g := range scopes[key] {
				if r, ok := p.role(g.assignment.RoleDefinitionID); ok && e.allows(g, r) {
					return g, r
				}
			}
		}
	}
	return nil, nil
}

// above gives the next candidate above a scope's key: the part before its last
// slash, and "/" at the end. Keys between two scopes ("/subscriptions") are no
// scope's, and nothing is found there.
func above(key string) (string, bool) {
	if key == "/" {
		return "", false
	}
	if i := strings.LastIndexByte(key, '/'); i > 0 {
		return key[:i], true
	}
	return "/", true
}

// within reports whether the scope with the given key is at or below the other.
func within(key, scope string) bool {
	if scope == "/" {
		return true
	}
	return strings.HasPrefix(key, scope) && (len(key) == len(scope) || key[len(scope)] == '/')
}

func (e *evaluation) allows(g *grant, r *role) bool {
	for i := range r.permissions {
		if e.permits(g, &r.permissions[i]) {
			return true
		}
	}
	return false
}

func (e *evaluation) permits(g *grant, p *permission) bool {
	if ok, _ := p.covers(e.in.action, e.q.Data); !ok {
		return false
	}
	if p.conditionErr != nil || g.conditionErr != nil {
		return false
	}
	if e.q.Unconditional && (p.condition != nil || g.condition != nil) {
		return false
	}
	return (p.condition == nil || p.condition.met(&e.in)) &&
		(g.condition == nil || g.condition.met(&e.in))
}

// reaches reports whether one of the principals has an assignment at, above or
// below the scope.
func (p *Policy) reaches(principals []string, scope string) bool {
	for _, principal := range principals {
		for key := range p.grants[azure.Fold(principal)] {
			if within(key, scope) || within(scope, key) {
				return true
			}
		}
	}
	return false
}

// permissions gives the permissions of the principals' roles at a scope, every
// role once.
func (p *Policy) permissions(principals []string, scope string) []Permission {
	var all []Permission
	seen := map[string]bool{}
	for _, principal := range principals {
		scopes := p.grants[azure.Fold(principal)]
		for key, ok := scope, len(scopes) > 0; ok; key, ok = above(key) {
			for _, g := range scopes[key] {
				r, ok := p.role(g.assignment.RoleDefinitionID)
				if !ok || seen[r.def.ID] {
					continue
				}
				seen[r.def.ID] = true
				all = append(all, r.def.Permissions...)
			}
		}
	}
	return all
}
