package rbac

import (
	"errors"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// IsLastAdministrator reports whether a principal is the last that can manage
// access at the tenant's root: it is Owner or User Access Administrator there,
// without a condition, and no other enabled service principal is. Whoever
// deletes or disables it would lock everybody out.
//
// Only service principals with an assignment of their own count, since users
// cannot sign in and a group may lose its members. Everything that the answer
// depends on is compared when the transaction commits.
func (g *Guard) IsLastAdministrator(tx *store.Tx, tenantID, objectID string) (bool, error) {
	is := false
	for _, role := range []string{azure.RoleOwner, azure.RoleUserAccessAdministrator} {
		triples, err := tx.List(triplesKey(tenantID, azure.Root()) + "#" + role + "/")
		if err != nil {
			return false, err
		}
		for _, e := range triples {
			principal := e.Key[strings.LastIndexByte(e.Key, '/')+1:]
			a, err := g.AssignmentIn(tx, tenantID, string(e.Value))
			if err != nil {
				return false, err
			}
			if a.Condition != "" {
				continue
			}
			if azure.EqualFold(principal, objectID) {
				is = true
				continue
			}
			other, err := g.signsIn(tx, tenantID, principal)
			if err != nil || other {
				return false, err
			}
		}
	}
	return is, nil
}

// signsIn reports whether a principal is an enabled service principal.
func (g *Guard) signsIn(tx *store.Tx, tenantID, objectID string) (bool, error) {
	p, err := g.directory.PrincipalIn(tx, tenantID, objectID)
	if e, ok := errors.AsType[*azure.Error](err); ok && e.Status == http.StatusNotFound {
		return false, nil // an orphan assignment
	}
	if err != nil {
		return false, err
	}
	return p.Type == azure.ServicePrincipal && !p.Disabled, nil
}
