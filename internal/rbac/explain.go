package rbac

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// explained bounds how many role assignments a reason names.
const explained = 5

// why gives the reason of a decision that allows.
func (e *evaluation) why(g *grant, r *role) string {
	return "allowed by " + r.def.RoleName + " at " + g.where + e.through(g)
}

// through names the group through which an assignment counts.
func (e *evaluation) through(g *grant) string {
	if azure.EqualFold(g.assignment.PrincipalID, e.q.Principals[0]) {
		return ""
	}
	return " (through group " + g.assignment.PrincipalID + ")"
}

// whyNot gives the reason of a decision that denies: what each assignment that
// reaches the scope lacks or, when there is none, where the principal does have
// roles.
func (p *Policy) whyNot(e *evaluation) string {
	if len(e.q.Principals) == 0 {
		return "the caller has no object ID"
	}
	kind := "action "
	if e.q.Data {
		kind = "data action "
	}
	reason := "no role assignment at or above " + e.q.Scope.String() + " grants the " + kind + e.q.Action +
		" to " + e.q.Principals[0]
	var reaching, elsewhere sample
	for _, principal := range e.q.Principals {
		for key, grants := range p.grants[azure.Fold(principal)] {
			if within(e.scope, key) {
				reaching.add(grants)
			} else {
				elsewhere.add(grants)
			}
		}
	}
	switch {
	case reaching.count > 0:
		return reason + "; it has " + reaching.list(func(g *grant) string {
			name, outcome := p.outcome(e, g)
			return name + " at " + g.where + e.through(g) + ": " + outcome
		})
	case elsewhere.count > 0:
		return reason + "; its role assignments are elsewhere: " + elsewhere.list(func(g *grant) string {
			return p.roleName(g) + " at " + g.where + e.through(g)
		})
	default:
		return reason + "; it has no role assignments"
	}
}

// sample keeps the first few grants in the order of their scopes, whatever
// order they come in, and counts all. A principal may have thousands, and a
// denial should cost little more than an answer.
type sample struct {
	first []*grant
	count int
}

func (s *sample) add(grants []*grant) {
	s.count += len(grants)
	for _, g := range grants {
		i, _ := slices.BinarySearchFunc(s.first, g, compareGrants)
		if i >= explained {
			continue
		}
		s.first = slices.Insert(s.first, i, g)
		s.first = s.first[:min(len(s.first), explained)]
	}
}

func compareGrants(a, b *grant) int {
	return cmp.Or(strings.Compare(a.scope, b.scope), strings.Compare(a.assignment.Name, b.assignment.Name))
}

func (s *sample) list(line func(*grant) string) string {
	lines := make([]string, len(s.first))
	for i, g := range s.first {
		lines[i] = line(g)
	}
	if more := s.count - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "; ")
}

// roleName names the role of an assignment.
func (p *Policy) roleName(g *grant) string {
	if r, ok := p.role(g.assignment.RoleDefinitionID); ok {
		return r.def.RoleName
	}
	return "the deleted role " + g.assignment.RoleDefinitionID
}

// outcome gives the role's name and what the assignment lacks for the question.
func (p *Policy) outcome(e *evaluation, g *grant) (name, outcome string) {
	name = p.roleName(g)
	r, ok := p.role(g.assignment.RoleDefinitionID)
	if !ok {
		return name, "grants nothing"
	}
	outcome = e.missing(r)
	for i := range r.permissions {
		perm := &r.permissions[i]
		covered, excluded := perm.covers(e.in.action, e.q.Data)
		switch {
		case excluded != nil && e.q.Data:
			outcome = "its notDataActions take it out (" + excluded.text + ")"
		case excluded != nil:
			outcome = "its notActions take it out (" + excluded.text + ")"
		case !covered:
		case perm.conditionErr != nil:
			return name, "the role's condition can't be read (" + perm.conditionErr.Error() + ")"
		case g.conditionErr != nil:
			return name, "the assignment's condition can't be read (" + g.conditionErr.Error() + ")"
		case e.q.Unconditional && (perm.condition != nil || g.condition != nil):
			outcome = "it has a condition, and only assignments without one give this"
		case perm.condition != nil && !perm.condition.met(&e.in):
			outcome = "the role's condition is not met (" + clip(perm.condition.text) + ")"
		case g.condition != nil && !g.condition.met(&e.in):
			outcome = "the assignment's condition is not met (" + clip(g.condition.text) + ")"
		}
	}
	return name, outcome
}

// missing says what a role whose patterns don't cover the action has instead.
func (e *evaluation) missing(r *role) string {
	dataActions, other := false, false
	for i := range r.permissions {
		perm := &r.permissions[i]
		covered, _ := perm.covers(e.in.action, !e.q.Data)
		other = other || covered
		dataActions = dataActions || len(perm.dataActions) > 0
	}
	switch {
	case e.q.Data && !dataActions:
		return "has no data actions"
	case other && e.q.Data:
		return "grants it as a control plane action only"
	case other:
		return "grants it as a data action only"
	default:
		return "does not include it"
	}
}

// clip shortens a condition for a reason.
func clip(text string) string {
	const most = 200
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "..."
	}
	return text
}
