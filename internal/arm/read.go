package arm

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// serveStored serves a type whose resources the engine keeps.
func (x *exchange) serveStored(listed listing) error {
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
		if x.target.collection {
			return x.storedList(listed)
		}
		return x.storedGet()
	case http.MethodPut, http.MethodPatch:
		return x.storedWrite()
	case http.MethodDelete:
		return x.storedDelete()
	default:
		return x.storedAction()
	}
}

func (x *exchange) key() string { return Key(x.request.TenantID, x.target.id) }

// find loads the target, or gives the 404 that names what is missing.
func (x *exchange) find() (*record, error) {
	rec, err := load(x.request.reader(x.ctx), x.key())
	if err != nil || rec != nil {
		return rec, err
	}
	if err := x.checkScope(false); err != nil {
		return nil, err
	}
	return nil, errNotFound(&x.target.typ.spec, x.target.id)
}

func (x *exchange) storedGet() error {
	rec, err := x.find()
	if err != nil {
		return err
	}
	if x.r.Method == http.MethodHead {
		return x.answer(http.StatusNoContent, nil)
	}
	return x.answerRecord(http.StatusOK, rec)
}

// answerRecord writes a resource, with its entity tag where the type has one.
func (x *exchange) answerRecord(status int, rec *record) error {
	text, err := x.engine.present(x.ctx, x.target.typ, rec)
	if err != nil {
		return err
	}
	if x.target.typ.spec.ETag != "" {
		x.w.Header().Set("ETag", rec.ETag())
	}
	x.writeText(status, text)
	return nil
}

// storedList lists the resources of a type below the target's scope.
func (x *exchange) storedList(listed listing) error {
	if err := x.checkScope(false); err != nil {
		return err
	}
	limit, err := x.pageLimit()
	if err != nil {
		return err
	}
	prefix, matches := x.selection()
	after, err := x.skipToken()
	if err != nil {
		return err
	}
	if after != "" {
		after = prefix + after
	}
	keep, err := x.filter()
	if err != nil {
		return err
	}
	var page []*record
	last := ""
	// One more than the page, to learn whether another follows.
	err = x.engine.scan(x.ctx, prefix, after, matches, func(found []*record) (bool, error) {
		shown, err := x.visible(listed, slices.DeleteFunc(found, func(rec *record) bool { return !keep(rec) }))
		if err != nil {
			return false, err
		}
		page = append(page, shown...)
		return len(page) > limit, nil
	})
	if err != nil {
		return err
	}
	if len(page) > limit {
		page = page[:limit]
		last = strings.TrimPrefix(Key(x.request.TenantID, page[limit-1].ID), prefix)
	}
	items := make([]json.RawMessage, 0, len(page))
	for _, rec := range page {
		item, err := x.engine.present(x.ctx, x.target.typ, rec)
		if err != nil {
			return err
		}
		items = append(items, item)
	}
	return x.answerPage(items, last, nil)
}

// filter understands the list's $filter.
func (x *exchange) filter() (func(*record) bool, error) {
	text := x.query.Get("$filter")
	if text == "" {
		return func(*record) bool { return true }, nil
	}
	typ := x.target.typ
	if typ.stored.filter == nil {
		return nil, azure.Errorf(http.StatusBadRequest, "InvalidFilterInQueryString",
			"Invalid $filter '%s' specified in the query string: lists of '%s' cannot be filtered.", text, typ.spec.Name)
	}
	matches, err := typ.stored.filter(text)
	if err != nil {
		return nil, err
	}
	return func(rec *record) bool { return matches(typ.envelope(rec)) }, nil
}

// visible keeps what the caller may read.
func (x *exchange) visible(listed listing, found []*record) ([]*record, error) {
	if listed.action == "" || len(found) == 0 {
		return found, nil
	}
	scopes := make([]azure.ResourceID, len(found))
	for i, rec := range found {
		scopes[i] = rec.ID
	}
	allowed, err := x.engine.cfg.Guard.Filter(x.ctx, x.request.Caller, listed.action, scopes)
	if err != nil {
		return nil, errUnavailable(err)
	}
	var kept []*record
	for i, rec := range found {
		if allowed[i] {
			kept = append(kept, rec)
		}
	}
	return kept, nil
}

// selection gives the prefix of the keys that the listed collection lies in,
// and which of the keys below it belong to it. A subscription's resources of a
// type lie in its resource groups.
func (x *exchange) selection() (prefix string, matches func(rest string) bool) {
	t, spec := x.target, &x.target.typ.spec
	base := Key(x.request.TenantID, t.id)
	oneSegment := func(rest string) bool { return !strings.Contains(rest, "/") }
	if azure.EqualFold(spec.Name, resourceGroupType) {
		return base + "/resourcegroups/", oneSegment
	}
	name := azure.Fold(spec.Name)
	if _, child := x.parentID(); child {
		return base + name[strings.LastIndexByte(name, '/'):] + "/", oneSegment
	}
	direct := "providers/" + name + "/"
	if t.id.SubscriptionID() == "" || t.id.ResourceGroup() != "" || spec.In&AtResourceGroup == 0 {
		return strings.TrimSuffix(base, "/") + "/" + direct, oneSegment
	}
	return base + "/", func(rest string) bool {
		if after, ok := strings.CutPrefix(rest, "resourcegroups/"); ok {
			_, rest, _ = strings.Cut(after, "/")
		}
		after, ok := strings.CutPrefix(rest, direct)
		return ok && oneSegment(after)
	}
}

// scanBatch is how many keys a scan reads at once.
const scanBatch = 500

// scan reads the resources below prefix in the order of their keys, as of one
// revision, and gives those that match to f in batches, until f is done.
func (e *Engine) scan(ctx context.Context, prefix, after string, matches func(rest string) bool, f func([]*record) (done bool, err error)) error {
	var revision int64
	for {
		page, err := e.cfg.Store.List(ctx, prefix, store.ListOptions{After: after, Limit: scanBatch, Revision: revision})
		if err != nil {
			return err
		}
		revision = page.Revision
		var found []*record
		for _, entry := range page.Entries {
			after = entry.Key
			if !matches(strings.TrimPrefix(entry.Key, prefix)) {
				continue
			}
			rec, err := Decode[rawJSON](entry.Value, entry.Revision)
			if err != nil {
				return err
			}
			found = append(found, rec)
		}
		done, err := f(found)
		if err != nil || done || !page.More {
			return err
		}
	}
}
