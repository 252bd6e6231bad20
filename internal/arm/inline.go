package arm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// inlineItem is a child resource as its parent's body writes it. Read-only
// members that clients echo (id, etag, type) are left alone.
type inlineItem struct {
	Name       string          `json:"name"`
	Properties json.RawMessage `json:"properties"`
}

// checkInline checks the types of Spec.Inline: what a child would need beyond its
// properties, a parent's write could not give it.
func (r *router) checkInline(t *Type) error {
	for member, name := range t.spec.Inline {
		child, ok := r.types[azure.Fold(name)]
		if !ok || child.stored == nil || t.stored == nil || !azure.EqualFold(name[:max(0, strings.LastIndexByte(name, '/'))], t.spec.Name) {
			return fmt.Errorf("arm: %s of the type %s are not of a stored child type", member, t.spec.Name)
		}
		s := child.stored
		if child.spec.Tracked || child.spec.has("identity") || s.linked != nil || s.asyncPut != nil || s.asyncDelete != nil || len(child.spec.Inline) > 0 {
			return fmt.Errorf("arm: the type %s cannot be written by its parent", name)
		}
	}
	return nil
}

// inlines reports whether resources of the type are also written as part of
// their parents.
func (e *Engine) inlines(parent azure.ResourceID, child string) bool {
	typ, ok := e.router.types[azure.Fold(parent.Type())]
	return ok && slices.ContainsFunc(slices.Collect(maps.Values(typ.spec.Inline)), func(name string) bool { return azure.EqualFold(name, child) })
}

// touchParent gives the parent another entity tag when a child changes which is
// part of it: a client that has read the parent before must not undo that.
func (x *exchange) touchParent(tx *store.Tx) error {
	parent := x.request.parent
	if parent == nil || !x.engine.inlines(parent.ID, x.target.typ.spec.Name) {
		return nil
	}
	return store.PutJSON(tx, Key(parent.TenantID, parent.ID), parent)
}

// writeInline makes the child resources what the body says of them, in the
// parent's transaction, and takes them out of the parent's own properties.
// Children that the body doesn't speak of stay.
func (w *writing) writeInline(tx *store.Tx, rec *record) (changed bool, err error) {
	inline := w.target.typ.spec.Inline
	for _, member := range slices.Sorted(maps.Keys(inline)) {
		raw, err := takeMember(rec, member)
		if err != nil {
			return false, err
		}
		if raw == nil {
			continue
		}
		items, err := w.inlineItems("properties."+member, raw)
		if err != nil {
			return false, err
		}
		one, err := w.writeChildren(tx, rec, w.engine.router.types[azure.Fold(inline[member])], items)
		if err != nil {
			return false, err
		}
		changed = changed || one
	}
	return changed, nil
}

// takeMember takes a member out of a resource's properties; nil when they don't
// have it, or null.
func takeMember(rec *record, name string) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(rec.Properties, &members); err != nil {
		return nil, fmt.Errorf("decoding the properties of %s: %w", rec.ID, err)
	}
	var taken json.RawMessage
	for _, member := range slices.Sorted(maps.Keys(members)) {
		if azure.EqualFold(member, name) {
			taken = members[member]
			delete(members, member)
		}
	}
	if taken == nil {
		return nil, nil
	}
	text, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("encoding the properties of %s: %w", rec.ID, err)
	}
	rec.Properties = text
	if isNull(taken) {
		return nil, nil
	}
	return taken, nil
}

// inlineItems reads the list of children: objects with names, each once.
func (w *writing) inlineItems(path string, raw json.RawMessage) ([]inlineItem, error) {
	var items []inlineItem
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, invalidContent(w.body, path, err)
	}
	seen := map[string]bool{}
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.Name == "" {
			return nil, invalidContent(w.body, at, errors.New("Required property 'name' not found in JSON")) //nolint:staticcheck // a sentence of the client's error
		}
		if seen[azure.Fold(item.Name)] {
			return nil, invalidContent(w.body, at, fmt.Errorf("The name '%s' is used twice", item.Name)) //nolint:staticcheck // as above
		}
		seen[azure.Fold(item.Name)] = true
		if isNull(item.Properties) {
			items[i].Properties = nil
		} else if item.Properties != nil && !bytes.HasPrefix(bytes.TrimSpace(item.Properties), []byte("{")) {
			return nil, invalidContent(w.body, at+".properties", errors.New("A JSON object is expected")) //nolint:staticcheck // as above
		}
	}
	return items, nil
}

// writeChildren writes the children that are listed and removes the others.
func (w *writing) writeChildren(tx *store.Tx, parent *record, child *Type, items []inlineItem) (changed bool, err error) {
	prefix, short := childPrefix(parent, child)
	entries, err := tx.List(prefix)
	if err != nil {
		return false, err
	}
	listed := map[string]bool{}
	for _, item := range items {
		if err := child.spec.checkName(item.Name); err != nil {
			return false, err
		}
		if _, err := azure.ParseResourceID(parent.ID.Child(short, item.Name).String()); err != nil {
			return false, azure.Errorf(http.StatusBadRequest, "InvalidResourceName", "Resource name '%s' is invalid: %s.", item.Name, err)
		}
		listed[prefix+azure.Fold(item.Name)] = true
		one, err := w.writeChild(tx, parent, child, parent.ID.Child(short, item.Name), item)
		if err != nil {
			return false, err
		}
		changed = changed || one
	}
	for _, entry := range entries {
		if listed[entry.Key] || strings.Contains(strings.TrimPrefix(entry.Key, prefix), "/") {
			continue
		}
		rec, err := Decode[rawJSON](entry.Value, entry.Revision)
		if err != nil {
			return false, err
		}
		c := &cascade{engine: w.engine, tx: tx, request: *w.request, budget: removeBudget}
		done, err := c.removeTree(w.ctx, rec)
		if err != nil {
			return false, err
		}
		if !done {
			return false, azure.Errorf(http.StatusConflict, "Conflict",
				"The resource '%s' has too much below it to be removed by a change of its parent. Delete it by itself first.", rec.ID)
		}
		changed = true
	}
	return changed, nil
}

func (w *writing) writeChild(tx *store.Tx, parent *record, child *Type, id azure.ResourceID, item inlineItem) (changed bool, err error) {
	key := Key(parent.TenantID, id)
	old, err := load(tx.Get, key)
	if err != nil {
		return false, err
	}
	if old != nil && old.ProvisioningState == Deleting {
		return false, errDeleting(old.ID)
	}
	r := *w.request
	r.Type, r.ID, r.Name, r.parent = child.spec.Name, id, item.Name, parent
	fresh := &record{
		ID: id, TenantID: parent.TenantID, Properties: item.Properties, ProvisioningState: Succeeded, SystemData: w.systemData(old),
	}
	rec, err := child.stored.put(w.ctx, &putInput{request: &r, old: old, fresh: fresh, body: w.body})
	if err != nil {
		return false, err
	}
	if unchanged(old, rec) {
		return false, nil
	}
	return true, store.PutJSON(tx, key, rec)
}

// childPrefix gives the prefix of the keys of a resource's children of a type,
// and the last part of the type's name.
func childPrefix(parent *record, child *Type) (prefix, short string) {
	short = child.spec.Name[strings.LastIndexByte(child.spec.Name, '/')+1:]
	return Key(parent.TenantID, parent.ID) + "/" + azure.Fold(short) + "/", short
}

// showInline puts a resource's children into its properties.
func (e *Engine) showInline(ctx context.Context, t *Type, rec *record, properties json.RawMessage) (json.RawMessage, error) {
	for _, member := range slices.Sorted(maps.Keys(t.spec.Inline)) {
		child := e.router.types[azure.Fold(t.spec.Inline[member])]
		prefix, _ := childPrefix(rec, child)
		items := []json.RawMessage{}
		oneSegment := func(rest string) bool { return !strings.Contains(rest, "/") }
		err := e.scan(ctx, prefix, "", oneSegment, func(found []*record) (bool, error) {
			for _, rec := range found {
				item, err := e.present(ctx, child, rec)
				if err != nil {
					return false, err
				}
				items = append(items, item)
			}
			return false, nil
		})
		if err != nil {
			return nil, err
		}
		list, err := json.Marshal(items)
		if err != nil {
			return nil, fmt.Errorf("encoding the %s of %s: %w", member, rec.ID, err)
		}
		properties = insertRaw(properties, member, list)
	}
	return properties, nil
}
