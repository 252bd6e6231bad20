package rbac

import (
	"errors"
	"net/http"
	"slices"
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
	return g.lastAdministration(tx, tenantID, func(a rootAdministration) bool { return azure.EqualFold(a.principal, objectID) })
}

// KeepAdministrator refuses the end of a principal that [Guard.IsLastAdministrator]
// says is the last: 400 CannotDeleteLastRbacAdminAssignment.
func (g *Guard) KeepAdministrator(tx *store.Tx, tenantID, objectID string) error {
	last, err := g.IsLastAdministrator(tx, tenantID, objectID)
	if err == nil && last {
		err = g.errLastAdministration()
	}
	return err
}

// keepAdministration refuses the end of an assignment that is the last by which
// an enabled service principal can manage access at the tenant's root, as
// [Guard.IsLastAdministrator] counts them.
func (g *Guard) keepAdministration(tx *store.Tx, a Assignment) error {
	if !a.Scope.IsRoot() || a.Condition != "" || a.RoleDefinitionID != azure.RoleOwner && a.RoleDefinitionID != azure.RoleUserAccessAdministrator {
		return nil
	}
	if counts, err := g.signsIn(tx, a.TenantID, a.PrincipalID); err != nil || !counts {
		return err
	}
	last, err := g.lastAdministration(tx, a.TenantID, func(b rootAdministration) bool { return azure.EqualFold(a.Name, b.name) })
	if err == nil && last {
		err = g.errLastAdministration()
	}
	return err
}

// errLastAdministration is in Azure's words for a subscription's last one, and
// says how to mend it.
func (g *Guard) errLastAdministration() error {
	message := "Cannot delete the last RBAC admin assignment"
	if !g.strict {
		message += ". It is the last by which an enabled service principal is Owner or User Access Administrator at '/'. " +
			"Assign one of these roles at '/' to another service principal first."
	}
	return azure.Errorf(http.StatusBadRequest, "CannotDeleteLastRbacAdminAssignment", "%s", message)
}

// rootAdministration is an assignment of Owner or User Access Administrator at a
// tenant's root, by what its index key says.
type rootAdministration struct{ name, principal string }

// lastAdministration reports whether some of the tenant's root administrations
// are those of one's own, and of the others none is an enabled service
// principal's. Those with a condition are as if they were not there.
func (g *Guard) lastAdministration(tx *store.Tx, tenantID string, own func(rootAdministration) bool) (bool, error) {
	all, err := g.rootAdministrations(tx, tenantID)
	if err != nil || !slices.ContainsFunc(all, own) {
		return false, err
	}
	found := false
	for _, admin := range all {
		a, err := g.AssignmentIn(tx, tenantID, admin.name)
		switch {
		case err != nil:
			return false, err
		case a.Condition != "":
		case own(admin):
			found = true
		default:
			if other, err := g.signsIn(tx, tenantID, admin.principal); err != nil || other {
				return false, err
			}
		}
	}
	return found, nil
}

// rootAdministrations lists the tenant's. Users' and groups' are left out, whom
// the view knows to be no service principals and who never become any; those that
// it knows to be enabled come first. So a transaction need not read them all.
func (g *Guard) rootAdministrations(tx *store.Tx, tenantID string) ([]rootAdministration, error) {
	var enabled, others []rootAdministration
	for _, role := range []string{azure.RoleOwner, azure.RoleUserAccessAdministrator} {
		triples, err := tx.List(triplesKey(tenantID, azure.Root()) + "#" + role + "/")
		if err != nil {
			return nil, err
		}
		for _, e := range triples {
			admin := rootAdministration{name: string(e.Value), principal: e.Key[strings.LastIndexByte(e.Key, '/')+1:]}
			p, known := g.directory.Principal(tenantID, admin.principal)
			switch {
			case known && p.Type != azure.ServicePrincipal:
			case known && !p.Disabled:
				enabled = append(enabled, admin)
			default:
				others = append(others, admin)
			}
		}
	}
	return append(enabled, others...), nil
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
