package graph

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The sizes of a list's pages, as in Graph.
const (
	defaultPage = 100
	maxPage     = 999
)

// query is what the plane reads of a request's query string.
type query struct {
	filter string
	// selected are the properties that are wanted; nil: those that are shown by
	// default.
	selected []string
	top      int
	count    bool
	after    string // the last item of the page before
	// options are all that was given, in order, for the next page's link.
	options []option
}

type option struct{ name, value string }

// unsupportedOptions are OData's and Graph's own; a client that sends one
// expects other answers than it would get without.
var unsupportedOptions = []string{"$expand", "$orderby", "$search", "$skip", "$apply", "$compute", "$deltatoken"}

// parseQuery reads the query. The "$" before an option may be left out, as Graph
// allows; parameters that are no options are read over.
func parseQuery(raw string) (query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, azure.Errorf(http.StatusBadRequest, "BadRequest", "The query string cannot be read.")
	}
	q := query{top: defaultPage}
	known := []string{"$filter", "$select", "$top", "$count", "$skiptoken"}
	for name, given := range values {
		option := "$" + azure.Fold(strings.TrimPrefix(name, "$"))
		if slices.Contains(unsupportedOptions, option) {
			return query{}, unsupportedQuery("The query option '%s' is not supported.", option)
		}
		if !slices.Contains(known, option) {
			if strings.HasPrefix(name, "$") && option != "$format" {
				return query{}, unsupportedQuery("The query option '%s' is not supported.", name)
			}
			continue
		}
		if len(given) > 1 {
			return query{}, azure.Errorf(http.StatusBadRequest, "BadRequest", "Query option '%s' was specified more than once, but it must be specified at most once.", option)
		}
		if err := q.set(option, given[0]); err != nil {
			return query{}, err
		}
	}
	slices.SortFunc(q.options, func(a, b option) int { return strings.Compare(a.name, b.name) })
	return q, nil
}

func (q *query) set(name, value string) error {
	switch name {
	case "$filter":
		if strings.TrimSpace(value) == "" {
			return invalidFilter(errors.New("the expression is empty"))
		}
		q.filter = value
	case "$select":
		for property := range strings.SplitSeq(value, ",") {
			if property = strings.TrimSpace(property); property != "" && property != "*" {
				q.selected = append(q.selected, property)
			}
		}
	case "$top":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxPage {
			return badRequest("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", value, maxPage)
		}
		q.top = n
	case "$count":
		count, err := strconv.ParseBool(value)
		if err != nil {
			return azure.Errorf(http.StatusBadRequest, "BadRequest", "Invalid value '%s' for $count query option found. Valid values are 'true' and 'false'.", value)
		}
		q.count = count
	case "$skiptoken":
		after, err := base64.RawURLEncoding.DecodeString(value)
		if err != nil || len(after) == 0 {
			return badRequest("The value of $skiptoken is not one that this service has given.")
		}
		q.after = string(after)
		return nil
	}
	q.options = append(q.options, option{name, value})
	return nil
}

// nextLink gives the absolute address of the page after the item named last.
func (r *request) nextLink(last string) string {
	var b strings.Builder
	b.WriteString(r.origin + "/" + strings.TrimLeft(r.http.URL.EscapedPath(), "/") + "?")
	for _, o := range r.query.options {
		b.WriteString(o.name + "=" + url.QueryEscape(o.value) + "&")
	}
	b.WriteString("$skiptoken=" + base64.RawURLEncoding.EncodeToString([]byte(last)))
	return b.String()
}

// invalidFilter is the error of a $filter that cannot be read or is not offered.
func invalidFilter(err error) error {
	if unsupported, ok := errors.AsType[unsupportedError](err); ok {
		return unsupportedQuery("%s", unsupported.what)
	}
	return azure.Errorf(http.StatusBadRequest, "BadRequest", "Invalid filter clause: %s.", err)
}

func unsupportedQuery(format string, args ...any) error {
	return azure.Errorf(http.StatusBadRequest, "Request_UnsupportedQuery", format, args...)
}
