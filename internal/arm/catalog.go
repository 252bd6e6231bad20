package arm

import (
	"net/http"
	"slices"
	"strings"
)

// Operation is one thing that can be done with a type, as the table of types
// says it.
type Operation struct {
	// Method is the HTTP method.
	Method string
	// Path is the path's pattern, parameters in braces.
	Path string
	// Action is the RBAC action that it takes; empty where a token is enough or
	// none is needed.
	Action string
	// LongRunning operations answer before they are done.
	LongRunning bool
}

// Operations lists what can be done with the type, collections first. Types
// whose actions depend on the request (VirtualHooks.Action) are listed with
// what their hook says of an empty one.
func (t Type) Operations() []Operation {
	var ops []Operation
	add := func(method, path, operation string, long bool) {
		ops = append(ops, Operation{Method: method, Path: path, Action: t.listedAction(operation), LongRunning: long})
	}
	collections, items := t.paths()
	for _, path := range collections {
		if t.stored != nil || t.virtual.hooks.List != nil {
			add(http.MethodGet, path, "read", false)
		}
		if t.hasPost() {
			add(http.MethodPost, path, "action", false)
		}
	}
	for _, path := range items {
		for _, m := range t.itemMethods() {
			add(m.method, path, m.operation, m.long)
		}
	}
	return ops
}

type itemMethod struct {
	method, operation string
	long              bool
}

// itemMethods lists the methods on one resource.
func (t Type) itemMethods() []itemMethod {
	var ms []itemMethod
	add := func(has bool, method, operation string, long bool) {
		if has {
			ms = append(ms, itemMethod{method, operation, long})
		}
	}
	if s := t.stored; s != nil {
		add(true, http.MethodGet, "read", false)
		add(true, http.MethodPut, "write", s.asyncPut != nil)
		add(!s.noPatch, http.MethodPatch, "write", s.asyncPut != nil)
		add(true, http.MethodDelete, "delete", s.asyncDelete != nil)
		return ms
	}
	h := &t.virtual.hooks
	add(h.Get != nil, http.MethodGet, "read", false)
	add(h.Put != nil, http.MethodPut, "write", false)
	add(h.Patch != nil, http.MethodPatch, "write", false)
	add(h.Delete != nil, http.MethodDelete, "delete", h.AsyncDelete != nil)
	return ms
}

// methods lists what a target can be asked, for Allow.
func (t *target) methods() []string {
	var ms []string
	switch {
	case t.action != "":
		return []string{http.MethodPost}
	case t.collection:
		if t.typ.stored != nil || t.typ.virtual.hooks.List != nil {
			ms = append(ms, http.MethodGet, http.MethodHead)
		}
		if t.typ.hasPost() {
			ms = append(ms, http.MethodPost)
		}
		return ms
	}
	for _, m := range t.typ.itemMethods() {
		ms = append(ms, m.method)
		if m.method == http.MethodGet {
			ms = append(ms, http.MethodHead)
		}
	}
	return ms
}

// Actions lists the type's POSTs on a resource, by name.
func (t Type) Actions() []Operation {
	var ops []Operation
	_, items := t.paths()
	for _, path := range items {
		if t.stored != nil {
			for _, a := range t.stored.actions {
				ops = append(ops, Operation{http.MethodPost, path + "/" + a.name, t.listedAction(a.as), a.async != nil})
			}
			continue
		}
		for name, a := range t.virtual.hooks.Actions {
			ops = append(ops, Operation{http.MethodPost, path + "/" + name, t.listedAction(name + "/action"), a.Async != nil})
		}
	}
	slices.SortFunc(ops, func(a, b Operation) int { return strings.Compare(a.Path, b.Path) })
	return ops
}

func (t Type) listedAction(operation string) string {
	if t.spec.Anonymous {
		return ""
	}
	if v := t.virtual; v != nil {
		if v.hooks.NoCheck[operation] {
			return ""
		}
		if v.hooks.Action != nil {
			if action := v.hooks.Action(&Request{Type: t.spec.Name, Name: "{name}", Params: map[string]string{}}, operation); action != "" {
				return action
			}
		}
	}
	return t.spec.action() + "/" + operation
}

// paths gives the patterns of the type's collections and items.
func (t Type) paths() (collections, items []string) {
	s := &t.spec
	if len(s.Collections)+len(s.Items) > 0 {
		return s.Collections, s.Items
	}
	if s.Name == resourceGroupType {
		const all = "/subscriptions/{subscriptionId}/resourceGroups"
		return []string{all}, []string{all + "/{resourceGroupName}"}
	}
	parts := strings.Split(s.Name, "/")
	level := "/providers/" + parts[0]
	for i, part := range parts[1:] {
		if i > 0 {
			level += "/{" + strings.TrimSuffix(parts[i], "s") + "Name}"
		}
		level += "/" + part
	}
	const sub, group = "/subscriptions/{subscriptionId}", "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
	add := func(scope string, item bool) {
		collections = append(collections, scope+level)
		if item {
			items = append(items, scope+level+"/{name}")
		}
	}
	switch {
	case s.In&AtAnyScope != 0:
		add("{scope}", true)
	default:
		if s.In&AtTenant != 0 {
			add("", true)
		}
		if s.In&AtSubscription != 0 {
			add(sub, true)
		} else if s.In&AtResourceGroup != 0 && len(parts) == 2 && t.stored != nil {
			add(sub, false)
		}
		if s.In&AtResourceGroup != 0 {
			add(group, true)
		}
	}
	return collections, items
}
