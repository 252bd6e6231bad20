package tokenproxy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/exchange"
)

// maxForm bounds the body of a request, in bytes; a server's header limit bounds
// the query.
const maxForm = 64 << 10

// parameters are those that a request may have. Any other could change what the
// token is of or for without being heeded, and is refused.
var parameters = []string{"grant_type", "client_assertion_type", "client_assertion", "client_id", "scope", "claims", "client_info"}

// chatter are parameters by which MSALs tell of themselves; they mean nothing.
func chatter(name string) bool {
	return strings.HasPrefix(name, "x-client-") || strings.HasPrefix(name, "x-ms-") ||
		name == "client-request-id" || name == "return-client-request-id"
}

// tokenRequest is a request for a token. It holds a secret: the assertion.
type tokenRequest struct {
	clientID, assertion       string
	scope, claims, clientInfo string
}

// readRequest reads a request. Azure's SDKs send the parameters in the body, and
// the example of azure-workload-identity in the query.
func readRequest(w http.ResponseWriter, r *http.Request) (tokenRequest, *azure.Error) {
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return tokenRequest{}, invalidRequest("The query is malformed.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
			return tokenRequest{}, azure.Errorf(http.StatusRequestEntityTooLarge, "invalid_request", "The body must not be longer than %d KiB.", maxForm>>10)
		}
		return tokenRequest{}, invalidRequest("The body could not be read.")
	}
	if len(body) > 0 {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
			return tokenRequest{}, invalidRequest("The Content-Type must be application/x-www-form-urlencoded.")
		}
		inBody, err := url.ParseQuery(string(body))
		if err != nil {
			return tokenRequest{}, invalidRequest("The body is malformed.")
		}
		for name, values := range inBody {
			form[name] = append(form[name], values...)
		}
	}
	return parseForm(form)
}

// parseForm checks the parameters.
func parseForm(form url.Values) (tokenRequest, *azure.Error) {
	for name, values := range form {
		folded := azure.Fold(name)
		switch {
		case chatter(folded):
		case !slices.Contains(parameters, name):
			return tokenRequest{}, invalidRequest("The parameter '%s' is not supported by this token proxy.", limited(name))
		case len(values) > 1:
			return tokenRequest{}, invalidRequest("The parameter '%s' is given more than once.", name)
		}
	}
	for _, name := range []string{"grant_type", "client_id", "scope", "client_assertion_type", "client_assertion"} {
		if form.Get(name) == "" {
			return tokenRequest{}, invalidRequest("The request must contain the parameter '%s'.", name)
		}
	}
	t := tokenRequest{
		clientID: azure.Fold(form.Get("client_id")), assertion: form.Get("client_assertion"),
		scope: form.Get("scope"), claims: form.Get("claims"), clientInfo: form.Get("client_info"),
	}
	switch {
	case form.Get("grant_type") != "client_credentials":
		return t, azure.Errorf(http.StatusBadRequest, "unsupported_grant_type", "The grant_type must be client_credentials.")
	case form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		return t, invalidRequest("The client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer.")
	case !exchange.IsClientID(t.clientID):
		return t, invalidRequest("The client_id must be a GUID.")
	}
	return t, nil
}

// limited shortens what a client sent for an error that quotes it.
func limited(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// checkAudience refuses a token that is not for this endpoint, before the API
// server is troubled: it refuses such a token too, but does not say for whom it is.
// What is read here is unverified, and nothing else depends on it.
func checkAudience(assertion, audience string) *azure.Error {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return invalidClient("The client_assertion is not a service account token.")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Audience audiences `json:"aud"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return invalidClient("The client_assertion is not a service account token.")
	}
	if slices.Contains(claims.Audience, audience) {
		return nil
	}
	return invalidClient("The service account token is for the audience '%s'; this token proxy takes those for '%s'. A pod gets one of those by the annotation of the workload identity webhook that chooses this endpoint, such as azure.workload.identity/use-identity-binding.",
		limited(strings.Join(claims.Audience, "', '")), audience)
}

// audiences are a token's: a list, or one alone.
type audiences []string

// UnmarshalJSON takes both forms.
func (a *audiences) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(a))
}
