package keyvault

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
)

// maxPageSize is the largest page of any list, and the default.
const maxPageSize = 25

// knownVersions are the api-versions that Azure has published; strict mode
// accepts no other.
var knownVersions = []string{
	"2015-06-01", "2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5",
	"7.6-preview.1", "7.6-preview.2", "7.6", "2025-06-01-preview", "2025-07-01", "2026-04-01",
}

// query is what the plane reads of a request's query string.
type query struct {
	apiVersion string
	pageSize   int
	// explicitSize tells that the client asked for the page's size, which the
	// next page's link then repeats.
	explicitSize bool
	after        string // the last item of the page before
}

// parseQuery reads the query. Names may come percent-encoded ("api%2Dversion"),
// as some clients send them; unknown parameters are read over.
func (h *Handler) parseQuery(raw string) (query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, badParameter("The query string cannot be read.")
	}
	q := query{apiVersion: values.Get("api-version"), pageSize: h.cfg.PageSize}
	switch {
	case q.apiVersion == "":
		return query{}, badParameter("api-version must be specified")
	case len(q.apiVersion) > 40:
		return query{}, badParameter("The specified version is not recognized.")
	case h.cfg.Strict && !slices.Contains(knownVersions, q.apiVersion):
		return query{}, badParameter("The specified version (%s) is not recognized. Consider using the latest supported version (%s).",
			q.apiVersion, knownVersions[len(knownVersions)-1])
	}
	if size := values.Get("maxresults"); size != "" {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 || n > maxPageSize {
			return query{}, badParameter("The value of maxresults must be from 1 to %d.", maxPageSize)
		}
		q.pageSize, q.explicitSize = n, true
	}
	if token := values.Get("$skiptoken"); token != "" {
		after, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || !objectName.Match(after) {
			return query{}, badParameter("The value of $skiptoken is not one that this vault has given.")
		}
		q.after = string(after)
	}
	return q, nil
}

// nextLink gives the address of the page after the item named last.
func (r *request) nextLink(last string) string {
	link := r.base + r.http.URL.EscapedPath() + "?api-version=" + url.QueryEscape(r.query.apiVersion) +
		"&$skiptoken=" + base64.RawURLEncoding.EncodeToString([]byte(last))
	if r.query.explicitSize {
		link += "&maxresults=" + strconv.Itoa(r.query.pageSize)
	}
	return link
}
