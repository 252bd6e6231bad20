package arm

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// pageLimit gives how many items the page may have: $top, at most the
// configured size.
func (x *exchange) pageLimit() (int, error) {
	top := x.query.Get("$top")
	if top == "" {
		return x.engine.cfg.PageSize, nil
	}
	n, err := strconv.Atoi(top)
	if err != nil || n < 1 {
		return 0, azure.Errorf(http.StatusBadRequest, "InvalidTopParameter",
			"The value '%s' of the query parameter '$top' is not a positive whole number.", top)
	}
	return min(n, x.engine.cfg.PageSize), nil
}

// skipToken gives where the page starts: after the item that the token names.
// A token holds a position and grants nothing.
func (x *exchange) skipToken() (string, error) {
	raw := x.query.Get("$skiptoken")
	if raw == "" {
		raw = x.query.Get("$skipToken")
	}
	if raw == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil {
		return "", azure.Errorf(http.StatusBadRequest, "InvalidSkipToken", "The skip token '%s' is not one of this service.", raw)
	}
	return string(text), nil
}

// answerPage writes a list. last, if there is more to come, is the position of
// the last item in it; extra are further members.
func (x *exchange) answerPage(items []json.RawMessage, last string, extra map[string]any) error {
	if x.r.Method == http.MethodHead {
		return x.answer(http.StatusNoContent, nil)
	}
	doc := map[string]any{"value": items}
	for name, value := range extra {
		doc[name] = value
	}
	if last != "" {
		doc["nextLink"] = x.nextLink(last)
	}
	return x.answer(http.StatusOK, doc)
}

// nextLink is this request's own address with another position: the same host,
// since clients refuse to take their token elsewhere.
func (x *exchange) nextLink(last string) string {
	q := url.Values{}
	for name, values := range x.query {
		if !azure.EqualFold(name, "$skiptoken") {
			q[name] = values
		}
	}
	q.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(last)))
	return x.baseURL() + x.r.URL.EscapedPath() + "?" + q.Encode()
}

// virtualList lists a virtual type's items. When they are more than a page they
// are ordered by ID, so that a position means the same after a change.
func (x *exchange) virtualList(hooks *VirtualHooks) error {
	limit, err := x.pageLimit()
	if err != nil {
		return err
	}
	after, err := x.skipToken()
	if err != nil {
		return err
	}
	all, err := hooks.List(x.ctx, x.request)
	if err != nil {
		return err
	}
	var extra map[string]any
	if hooks.ListExtra != nil {
		if extra, err = hooks.ListExtra(x.ctx, x.request, all); err != nil {
			return err
		}
	}
	items := make([]json.RawMessage, len(all))
	for i, item := range all {
		if items[i], err = json.Marshal(item); err != nil {
			return fmt.Errorf("encoding an item of %s: %w", x.request.Type, err)
		}
	}
	if len(items) <= limit && after == "" {
		return x.answerPage(items, "", extra)
	}
	return x.pageOf(items, after, limit, extra)
}

// pageOf cuts the page after a position out of items.
func (x *exchange) pageOf(items []json.RawMessage, after string, limit int, extra map[string]any) error {
	type placed struct {
		at   string
		item json.RawMessage
	}
	var rest []placed
	for _, item := range items {
		var named struct{ ID string }
		if err := json.Unmarshal(item, &named); err != nil || named.ID == "" {
			return fmt.Errorf("an item of %s has no id to page by", x.request.Type)
		}
		if at := azure.Fold(named.ID); at > after {
			rest = append(rest, placed{at, item})
		}
	}
	slices.SortFunc(rest, func(a, b placed) int { return strings.Compare(a.at, b.at) })
	last := ""
	if len(rest) > limit {
		rest = rest[:limit]
		last = rest[limit-1].at
	}
	page := make([]json.RawMessage, len(rest))
	for i, p := range rest {
		page[i] = p.item
	}
	return x.answerPage(page, last, extra)
}
