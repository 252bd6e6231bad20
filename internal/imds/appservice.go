package imds

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// AppServiceConfig configures [NewAppService].
type AppServiceConfig struct {
	Source Source
	// Secret is what the client must send in X-IDENTITY-HEADER
	// (IDENTITY_HEADER). It keeps other users of the machine, and pages in a
	// browser on it, from asking. It must not be empty.
	Secret string
	// DefaultSelector is used where the request names no identity.
	DefaultSelector Selector
	Logger          *slog.Logger
}

// AppService is the managed identity endpoint of App Service, Functions and
// Container Apps: GET any path with api-version=2019-08-01, resource, and at
// most one of client_id, principal_id and mi_res_id. SDKs find it by the
// variables IDENTITY_ENDPOINT and IDENTITY_HEADER.
type AppService struct {
	cfg    AppServiceConfig
	secret [sha256.Size]byte
}

// NewAppService makes the handler. It panics without a secret: an endpoint that
// answers anyone must not come about by an empty string.
func NewAppService(cfg AppServiceConfig) *AppService {
	if cfg.Secret == "" {
		panic("imds: an App Service endpoint needs a secret")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &AppService{cfg: cfg, secret: sha256.Sum256([]byte(cfg.Secret))}
}

// ServeHTTP answers one request.
func (a *AppService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !allowGet(w, r) {
		return
	}
	sent := sha256.Sum256([]byte(r.Header.Get("X-IDENTITY-HEADER")))
	if subtle.ConstantTimeCompare(sent[:], a.secret[:]) != 1 {
		writeError(w, &azure.Error{Status: http.StatusUnauthorized, Code: "unauthorized",
			Message: "The header X-IDENTITY-HEADER does not hold the value of IDENTITY_HEADER."})
		return
	}
	query, bad := parseQuery(r.URL.RawQuery)
	if bad == nil {
		switch version := query.Get("api-version"); {
		case version == "":
			bad = invalidRequest("Required query variable 'api-version' is missing")
		case !apiVersionForm.MatchString(version) || version < "2019-08-01":
			bad = invalidRequest("The api-version '" + version + "' is not supported; 2019-08-01 is.")
		}
	}
	var request Request
	if bad == nil {
		request, bad = parseRequest(query)
	}
	if bad != nil {
		writeError(w, bad)
		return
	}
	if request.Selector.Kind == NoSelector {
		request.Selector = a.cfg.DefaultSelector
	}
	token, err := a.cfg.Source.Token(r.Context(), request)
	if err != nil {
		writeError(w, fault(a.cfg.Logger, r, err))
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{
		"access_token": token.AccessToken, "client_id": token.ClientID, "expires_on": unix(token.Expires),
		"not_before": unix(token.NotBefore), "resource": request.Resource, "token_type": "Bearer",
	})
}
