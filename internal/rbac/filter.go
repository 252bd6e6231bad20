package rbac

import (
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Filter is what $filter of a list of role assignments asks for.
type Filter struct {
	// AtScope is atScope(): leave out what is below the scope.
	AtScope bool
	// PrincipalID is principalId eq '...'; empty: any.
	PrincipalID string
	// AssignedTo is assignedTo('...'): the principal's object ID and those of the
	// groups that hold it, as [Guard.PrincipalsOf] gives them; nil: any.
	AssignedTo []string
}

// FilterAssignments gives the assignments that a list at a scope shows: those
// at the scope and above it and, unless the filter says otherwise, those below.
// The order stays.
func FilterAssignments(all []Assignment, scope azure.ResourceID, f Filter) []Assignment {
	var shown []Assignment
	for _, a := range all {
		if !a.Scope.Contains(scope) && (f.AtScope || !scope.Contains(a.Scope)) {
			continue
		}
		if f.PrincipalID != "" && !azure.EqualFold(f.PrincipalID, a.PrincipalID) {
			continue
		}
		if f.AssignedTo != nil && !slices.ContainsFunc(f.AssignedTo, func(id string) bool { return azure.EqualFold(id, a.PrincipalID) }) {
			continue
		}
		shown = append(shown, a)
	}
	return shown
}
