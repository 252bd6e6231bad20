package rbac

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// update is one change of the store, decoded.
type update struct {
	tenant string // folded
	change func(*Policy)
	// name is that of a role assignment, folded; empty for a role definition.
	name string
	// assignment is what the role assignment is now; nil: it was removed.
	assignment *Assignment
}

// apply takes changes from the store into the views. What is decoded is decoded
// outside of the lock, so that decisions wait for the index only.
func (g *Guard) apply(changes []store.Change, reset bool) {
	var updates []update
	for _, c := range changes {
		tenant, kind, name, ok := splitKey(c.Key)
		if !ok {
			continue
		}
		u, err := decodeChange(kind, name, c.Value)
		if err != nil {
			// The record can't be read, by this release at least. It grants nothing.
			g.log.Error("a role assignment or role definition can't be read", "key", c.Key, "error", err)
		}
		u.tenant = tenant
		updates = append(updates, u)
	}
	var now time.Time
	if g.lag.by > 0 {
		now = g.now()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if reset {
		clear(g.tenants)
		g.lag.clear()
	}
	for _, u := range updates {
		g.change(u, reset, now)
	}
}

// splitKey splits the key of an assignment or a definition; the keys of guards
// and indexes are none of the views'.
func splitKey(key string) (tenant, kind, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok {
		return "", "", "", false
	}
	tenant, rest, _ = strings.Cut(rest, "/")
	kind, name, ok = strings.Cut(rest, "/")
	return tenant, kind, name, ok && (kind == kindAssignment || kind == kindDefinition)
}

// decodeChange gives what a change does to its tenant's policy. What can't be
// decoded is taken out.
func decodeChange(kind, name string, value []byte) (update, error) {
	if kind == kindDefinition {
		removed := update{change: func(p *Policy) { p.removeRole(name) }}
		if value == nil {
			return removed, nil
		}
		var def RoleDefinition
		if err := json.Unmarshal(value, &def); err != nil {
			return removed, err
		}
		compiled := compileRole(&def)
		return update{change: func(p *Policy) { p.custom[azure.Fold(name)] = compiled }}, nil
	}
	removed := update{name: name, change: func(p *Policy) { p.removeAssignment(name) }}
	if value == nil {
		return removed, nil
	}
	var a Assignment
	if err := json.Unmarshal(value, &a); err != nil {
		return removed, err
	}
	grant := newGrant(&a)
	return update{name: name, assignment: &a, change: func(p *Policy) { p.putGrant(grant) }}, nil
}
