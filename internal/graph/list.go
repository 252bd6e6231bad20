package graph

import (
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// source is what a list is made of: how its items are told apart, compared and
// shown.
type source[T any] struct {
	// resource is what errors call the items: "Application".
	resource string
	// id orders the items and names the last one of a page.
	id func(T) string
	// fields are the properties that $filter may name.
	fields map[string]func(T) any
	// show gives the item with all its properties.
	show func(T) entity
	// defaults are the properties that are shown without $select; nil: all.
	defaults []string
}

// page answers a request for a list: the items for which $filter holds, in the
// order of their identifiers, one page of them.
func page[T any](r *request, context string, src source[T], items []T) (result, error) {
	items = slices.Clone(items)
	if r.query.filter != "" {
		kept, err := matching(r.query.filter, src, items)
		if err != nil {
			return result{}, err
		}
		items = kept
	}
	slices.SortFunc(items, func(a, b T) int { return strings.Compare(src.id(a), src.id(b)) })
	body := entity{"@odata.context": r.metadata(context)}
	if r.query.count {
		body["@odata.count"] = len(items)
	}
	first := 0
	if r.query.after != "" {
		i, found := slices.BinarySearchFunc(items, r.query.after, func(item T, id string) int { return strings.Compare(src.id(item), id) })
		first = i
		if found {
			first++
		}
	}
	rest := items[first:]
	if len(rest) > r.query.top {
		rest = rest[:r.query.top]
		body["@odata.nextLink"] = r.nextLink(src.id(rest[len(rest)-1]))
	}
	values := make([]entity, len(rest))
	for i, item := range rest {
		values[i] = r.choose(src.show(item), src.defaults)
	}
	body["value"] = values
	return result{status: http.StatusOK, body: body}, nil
}

// matching gives the items for which a filter holds.
func matching[T any](text string, src source[T], items []T) ([]T, error) {
	names := make([]string, 0, len(src.fields))
	for name := range src.fields {
		names = append(names, name)
	}
	f, err := parseFilter(text, src.resource, names)
	if err != nil {
		return nil, invalidFilter(err)
	}
	kept := items[:0]
	for _, item := range items {
		if f.holds(func(property string) any { return src.fields[property](item) }) {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

// one answers with a single item.
func one(r *request, status int, context string, e entity, defaults []string) result {
	e = r.choose(e, defaults)
	e["@odata.context"] = r.metadata(context) + "/$entity"
	return result{status: status, body: e}
}

// choose keeps the properties that $select names, or the defaults. Annotations
// stay.
func (r *request) choose(e entity, defaults []string) entity {
	wanted := r.query.selected
	if wanted == nil {
		wanted = defaults
	}
	if wanted == nil {
		return e
	}
	kept := entity{}
	for name, value := range e {
		if strings.HasPrefix(name, "@") || slices.ContainsFunc(wanted, func(w string) bool { return azure.EqualFold(w, name) }) {
			kept[name] = value
		}
	}
	return kept
}

// metadata is the @odata.context of an answer.
func (r *request) metadata(of string) string {
	version := versionV1
	if r.beta {
		version = versionBeta
	}
	if r.query.selected != nil {
		of += "(" + strings.Join(r.query.selected, ",") + ")"
	}
	return r.origin + "/" + version + "/$metadata#" + of
}
