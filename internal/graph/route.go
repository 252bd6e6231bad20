package graph

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The versions of the API, which differ in federated credentials only: beta has
// flexible ones.
const (
	versionV1   = "v1.0"
	versionBeta = "beta"
)

// myOrganization stands for the caller's tenant in paths.
const myOrganization = "myorganization"

// route is one request that the plane serves: what it takes to be allowed, and
// what it does.
type route struct {
	method string
	// pattern is the path below the version; "{}" stands for an identifier.
	pattern string
	// collection and verb make the action: see [actions].
	collection, verb string
	// self lets a principal do it to itself, without any role.
	self bool
	run  func(h *Handler, r *request) (result, error)
}

// key is an identifier in a path: the segment /x, or what stands in
// parentheses, ('x') or (appId='x').
type key struct {
	name  string // "appId", or empty
	value string
}

// element is a part of a path: a fixed segment or an identifier. A plain
// segment may turn out to be either.
type element struct {
	text string
	key  *key // not nil: what stood in parentheses
}

// parsePath takes a path apart. Clients whose base URL ends with a slash send
// two in the beginning.
func parsePath(escaped string) (version, tenant string, path []element, err error) {
	segments := strings.Split(strings.TrimSuffix(strings.TrimLeft(escaped, "/"), "/"), "/")
	for i, s := range segments {
		if segments[i], err = url.PathUnescape(s); err != nil {
			return "", "", nil, azure.Errorf(http.StatusBadRequest, "BadRequest", "The request URI contains an invalid escape sequence: %s", s)
		}
	}
	switch {
	case azure.EqualFold(segments[0], versionV1):
		version = versionV1
	case azure.EqualFold(segments[0], versionBeta):
		version = versionBeta
	default:
		return "", "", nil, azure.Errorf(http.StatusBadRequest, "BadRequest", "Invalid version: %s", segments[0])
	}
	segments = segments[1:]
	if len(segments) > 0 && isTenantName(segments[0]) {
		tenant, segments = segments[0], segments[1:]
	}
	for _, s := range segments {
		elements, err := parseSegment(s)
		if err != nil {
			return "", "", nil, err
		}
		path = append(path, elements...)
	}
	if len(path) == 0 {
		return "", "", nil, azure.Errorf(http.StatusBadRequest, "BadRequest", "The request URI names no resource.")
	}
	return version, tenant, path, nil
}

// isTenantName tells a tenant from a collection, whose names have no dot and are
// no GUIDs.
func isTenantName(segment string) bool {
	return azure.EqualFold(segment, myOrganization) || azure.IsGUID(segment) ||
		strings.Contains(segment, ".") && !strings.ContainsAny(segment, "('$")
}

// parseSegment reads "name", "name('x')" or "name(property='x')".
func parseSegment(s string) ([]element, error) {
	malformed := azure.Errorf(http.StatusBadRequest, "BadRequest", "The request URI is not valid: the segment '%s' is malformed.", s)
	if s == "" {
		return nil, azure.Errorf(http.StatusBadRequest, "BadRequest", "The request URI is not valid: it has an empty segment.")
	}
	name, inside, found := strings.Cut(s, "(")
	if !found || name == "" {
		return []element{{text: s}}, nil
	}
	inside, found = strings.CutSuffix(inside, ")")
	if !found {
		return nil, malformed
	}
	k := key{}
	if property, rest, named := strings.Cut(inside, "="); named && !strings.HasPrefix(inside, "'") {
		k.name, inside = property, rest
	}
	if !strings.HasPrefix(inside, "'") {
		return nil, malformed
	}
	value, rest, err := unquote(inside)
	if err != nil || rest != "" || value == "" {
		return nil, malformed
	}
	k.value = value
	return []element{{text: name}, {key: &k}}, nil
}

// route finds the operation of a request, and the identifiers in its path.
func (h *Handler) route(method string, path []element, header http.Header) (route, []key, error) {
	var allowed []string
	for _, rt := range h.routes {
		keys, ok := match(rt.pattern, path)
		switch {
		case !ok:
		case rt.method != method:
			allowed = append(allowed, rt.method)
		default:
			return rt, keys, nil
		}
	}
	if len(allowed) > 0 {
		slices.Sort(allowed)
		header.Set("Allow", strings.Join(slices.Compact(allowed), ", "))
		return route{}, nil, azure.Errorf(http.StatusMethodNotAllowed, "Request_BadRequest",
			"Specified HTTP method is not allowed for the request target.")
	}
	return route{}, nil, azure.Errorf(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '%s'.", h.unknown(path))
}

// match compares a path with a pattern; the case of fixed segments does not
// count.
func match(pattern string, path []element) ([]key, bool) {
	parts := strings.Split(pattern, "/")
	if len(parts) != len(path) {
		return nil, false
	}
	var keys []key
	for i, part := range parts {
		e := path[i]
		switch {
		case part == "{}" && e.key != nil:
			keys = append(keys, *e.key)
		case part == "{}" && !strings.HasPrefix(e.text, "$"):
			keys = append(keys, key{value: e.text})
		case e.key != nil || !azure.EqualFold(part, e.text):
			return nil, false
		}
	}
	return keys, true
}

// unknown names the first segment that no pattern goes on with.
func (h *Handler) unknown(path []element) string {
	for n := 1; n < len(path); n++ {
		if !slices.ContainsFunc(h.routes, func(rt route) bool {
			parts := strings.Split(rt.pattern, "/")
			if len(parts) < n {
				return false
			}
			_, ok := match(strings.Join(parts[:n], "/"), path[:n])
			return ok
		}) {
			return path[n-1].String()
		}
	}
	return path[len(path)-1].String()
}

// String gives the segment as errors name it.
func (e element) String() string {
	if e.key != nil {
		return e.key.value
	}
	return e.text
}
