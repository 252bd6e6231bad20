package arm

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// versionPattern is an api-version's form.
var versionPattern = regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(-preview|-alpha|-beta|-rc|-privatepreview)?$`)

// queryVersion gives the api-version parameter, whose name comes in any case.
func queryVersion(q url.Values) string {
	if v := q.Get("api-version"); v != "" {
		return v
	}
	for name, values := range q {
		if azure.EqualFold(name, "api-version") && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// checkVersion applies the rules of Spec.Versions.
func (e *Engine) checkVersion(spec *Spec, version string) error {
	if version == "" {
		return azure.Errorf(http.StatusBadRequest, "MissingApiVersionParameter",
			"The api-version query parameter (?api-version=) is required for all requests.")
	}
	folded := azure.Fold(version)
	if versionPattern.MatchString(folded) {
		if slices.Contains(spec.Versions, folded) {
			return nil
		}
		if spec.ListedOnly {
			namespace, _, _ := strings.Cut(spec.Name, "/")
			return errNoType(namespace, version)
		}
		oldest := slices.MinFunc(spec.Versions, func(a, b string) int { return strings.Compare(a[:10], b[:10]) })
		if !e.cfg.Strict && folded[:10] >= oldest[:10] {
			return nil
		}
	}
	supported := strings.Join(spec.Versions, ", ")
	if spec.Core {
		return azure.Errorf(http.StatusBadRequest, "InvalidApiVersionParameter",
			"The api-version '%s' is invalid. The supported versions are '%s'.", version, strings.Join(spec.Versions, ","))
	}
	locations := e.locationsOf(spec)
	_, short, _ := strings.Cut(spec.Name, "/")
	return azure.Errorf(http.StatusBadRequest, "NoRegisteredProviderFound",
		"No registered resource provider found for location 'global' and API version '%s' for type '%s'. The supported api-versions are '%s'. The supported locations are '%s'.",
		version, short, supported, strings.Join(locations, ", "))
}

// locationsOf gives the canonical names of the regions in which the type may be
// created; for a type that isn't tracked, none.
func (e *Engine) locationsOf(spec *Spec) []string {
	switch {
	case spec.Locations != nil:
		return spec.Locations
	case spec.Tracked:
		return e.cfg.Locations
	default:
		return nil
	}
}
