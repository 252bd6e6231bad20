package imds

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// maxQuery bounds the query of a request; a resource ID and a resource URI fit
// many times over.
const maxQuery = 8 << 10

var apiVersionForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)

// parseQuery reads the query with names folded (the metadata service's names
// have no case) and refuses a name that comes twice: which of two identities is
// meant must not depend on who reads first.
func parseQuery(raw string) (url.Values, *azure.Error) {
	if len(raw) > maxQuery {
		return nil, invalidRequest("The query is too long.")
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, invalidRequest("The query is malformed: " + strings.TrimPrefix(err.Error(), "invalid "))
	}
	folded := make(url.Values, len(values))
	for name, v := range values {
		key := azure.Fold(name)
		if len(v) > 1 || folded.Has(key) {
			return nil, invalidRequest("The query parameter '" + key + "' is given more than once.")
		}
		folded[key] = v
	}
	return folded, nil
}

// selectorNames are the query parameters that name an identity. Azure's SDKs
// send three spellings of the resource ID's.
var selectorNames = []struct {
	name string
	kind SelectorKind
}{
	{"client_id", ByClientID},
	{"object_id", ByObjectID},
	{"principal_id", ByObjectID},
	{"msi_res_id", ByResourceID},
	{"mi_res_id", ByResourceID},
	{"msi-res-id", ByResourceID},
}

// parseRequest reads the parameters that IMDS and App Service share.
func parseRequest(query url.Values) (Request, *azure.Error) {
	request := Request{Resource: query.Get("resource"), Refresh: query.Get("token_sha256_to_refresh") != ""}
	if request.Resource == "" {
		return Request{}, invalidRequest("Required query variable 'resource' is missing")
	}
	for _, s := range selectorNames {
		if !query.Has(s.name) {
			continue
		}
		if request.Selector.Kind != NoSelector {
			return Request{}, invalidRequest("Only one of client_id, object_id and msi_res_id may be given.")
		}
		request.Selector = Selector{Kind: s.kind, Value: query.Get(s.name)}
		if err := request.Selector.check(s.name); err != nil {
			return Request{}, err
		}
	}
	return request, nil
}

func (s Selector) check(name string) *azure.Error {
	if s.Kind == ByResourceID {
		if _, err := azure.ParseResourceID(s.Value); err != nil {
			return invalidRequest("The parameter '" + name + "' is not a resource ID: " + err.Error())
		}
		return nil
	}
	if !azure.IsGUID(s.Value) {
		return invalidRequest("The parameter '" + name + "' is not a GUID.")
	}
	return nil
}
