package rbac

// role is a role definition with its patterns and conditions compiled, once.
type role struct {
	def         *RoleDefinition
	permissions []permission
}

type permission struct {
	actions, notActions         []pattern
	dataActions, notDataActions []pattern
	condition                   *condition // nil: none
	conditionErr                error      // the condition can't be read: it grants nothing
}

func compileRole(def *RoleDefinition) *role {
	r := &role{def: def, permissions: make([]permission, len(def.Permissions))}
	for i, p := range def.Permissions {
		c := permission{
			actions:        compilePatterns(p.Actions),
			notActions:     compilePatterns(p.NotActions),
			dataActions:    compilePatterns(p.DataActions),
			notDataActions: compilePatterns(p.NotDataActions),
		}
		if p.Condition != "" {
			c.condition, c.conditionErr = parseCondition(p.Condition)
		}
		r.permissions[i] = c
	}
	return r
}

// covers reports whether the permission's patterns grant the folded action.
// excluded is the pattern that takes it out again, for explanations. Control
// and data actions never mix.
func (p *permission) covers(action string, data bool) (ok bool, excluded *pattern) {
	grant, except := p.actions, p.notActions
	if data {
		grant, except = p.dataActions, p.notDataActions
	}
	if matchAny(grant, action) == nil {
		return false, nil
	}
	if not := matchAny(except, action); not != nil {
		return false, not
	}
	return true, nil
}
