package entra

import (
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// protocol is the dialect of a token endpoint: how it takes the resource, and
// how its answer is written.
type protocol int

const (
	// v1 takes resource and answers in strings.
	v1 protocol = iota + 1
	// v2 takes scope and answers in numbers.
	v2
	// adfsProtocol takes scope or resource, and answers as v2.
	adfsProtocol
)

// String names the dialect in audit records.
func (p protocol) String() string {
	switch p {
	case v1:
		return "v1.0"
	case v2:
		return "v2.0"
	default:
		return adfs
	}
}

// audience gives the resource that a request of an application asks for, as it
// is spelled there. Whether there is such a resource is not decided here.
func (p protocol) audience(f form) (string, *azure.Error) {
	switch {
	case p == v1, p == adfsProtocol && f["scope"] == "" && f["resource"] != "":
		return f.require("resource")
	case p == v2 && f["resource"] != "":
		return "", errResourceParameter.new()
	}
	scope, e := f.require("scope")
	if e != nil {
		return "", e
	}
	return parseScope(scope)
}

// defaultScope is the permission that stands for all that an application was
// granted at a resource: the only one that it can ask for.
const defaultScope = "/.default"

// parseScope gives the resource of a scope parameter. It must name exactly one,
// by its identifier and "/.default", which is taken off once, so that a slash
// before it stays part of the audience. The OpenID Connect scopes, which some
// clients add to every request, are passed over.
func parseScope(scope string) (string, *azure.Error) {
	var audiences []string
	var others bool
	for value := range strings.SplitSeq(scope, " ") {
		switch value {
		case "", "openid", "profile", "email", "offline_access":
			continue
		}
		if !isScope(value) {
			return "", errScope.new(value)
		}
		audience, ok := strings.CutSuffix(value, defaultScope)
		if !ok || audience == "" {
			others = true
			continue
		}
		audiences = append(audiences, audience)
	}
	switch {
	case len(audiences) == 0:
		return "", errScopeSuffix.new(scope)
	case others:
		e := errScope.new(scope)
		e.Message += " .default scope can't be combined with resource-specific scopes."
		return "", e
	case len(audiences) > 1:
		return "", errScopeResources.new(scope)
	}
	return audiences[0], nil
}

// isScope reports whether s is a scope-token of RFC 6749 section 3.3: printable
// ASCII without space, quote and backslash.
func isScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}
