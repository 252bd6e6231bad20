package imds

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Config configures [New].
type Config struct {
	// Source gives the tokens.
	Source Source
	// TenantID is what /metadata/identity/info tells.
	TenantID string
	// Instance describes the machine for /metadata/instance; nil: 404.
	Instance *Instance
	// OnlyTokens leaves the token endpoint alone: every other path is 404, as on
	// a machine whose metadata is nobody's business here.
	OnlyTokens bool
	// Limits are Azure's own throttles; the zero value has none.
	Limits Limits
	// Now is the clock; nil is time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Limits bound the identity endpoint. Azure's are 20 requests a second and 5 at
// a time for each machine; beyond them it answers 429.
type Limits struct {
	PerSecond  int
	Concurrent int
}

// AzureLimits are the throttles of Azure's own service.
var AzureLimits = Limits{PerSecond: 20, Concurrent: 5}

// Handler is the instance metadata service.
type Handler struct {
	cfg      Config
	throttle *throttle
}

// New makes the handler. It serves the routes below and answers every other
// path with 404: it never passes a request on to another metadata service.
//
//	GET /metadata/identity/oauth2/token
//	GET /metadata/identity/info
//	GET /metadata/versions
//	GET /metadata/instance[/...]
func New(cfg Config) *Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{cfg: cfg, throttle: newThrottle(cfg.Limits, cfg.Now)}
}

// ServeHTTP answers one request. Routes are matched on the path as it was sent:
// a path that needs cleaning or decoding to match is not one that a client of
// the service sends.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := azure.Fold(strings.TrimSuffix(r.URL.EscapedPath(), "/"))
	switch {
	case path == "/metadata/identity/oauth2/token":
		h.token(w, r)
	case h.cfg.OnlyTokens:
		writeInstanceError(w, http.StatusNotFound, "Not found", nil)
	case path == "/metadata/identity/info":
		h.info(w, r)
	case path == "/metadata/versions":
		h.versions(w, r)
	case path == "/metadata/instance" || strings.HasPrefix(path, "/metadata/instance/"):
		h.instance(w, r, strings.TrimPrefix(strings.TrimPrefix(path, "/metadata/instance"), "/"))
	default:
		writeInstanceError(w, http.StatusNotFound, "Not found", nil)
	}
}

// checkRequest holds what every endpoint asks of a request: the header that a
// cross-site request cannot set, and no sign of having been forwarded.
func checkRequest(r *http.Request) *azure.Error {
	if !azure.EqualFold(r.Header.Get("Metadata"), "true") {
		return errNoMetadataHeader
	}
	if _, forwarded := r.Header["X-Forwarded-For"]; forwarded {
		return invalidRequest("A request with the header X-Forwarded-For is not served.")
	}
	return nil
}

func (h *Handler) token(w http.ResponseWriter, r *http.Request) {
	if !allowGet(w, r) {
		return
	}
	if err := checkRequest(r); err != nil { // before all else: probes wait for this answer
		writeError(w, err)
		return
	}
	query, bad := parseQuery(r.URL.RawQuery)
	if bad == nil {
		bad = checkIdentityVersion(query.Get("api-version"))
	}
	var request Request
	if bad == nil {
		request, bad = parseRequest(query)
	}
	if bad != nil {
		writeError(w, bad)
		return
	}
	release, ok := h.throttle.enter()
	if !ok {
		writeError(w, &azure.Error{Status: http.StatusTooManyRequests, Code: "too_many_requests",
			Message: "Too many requests; the identity endpoint takes " + strconv.Itoa(h.cfg.Limits.PerSecond) + " a second."})
		return
	}
	defer release()
	token, err := h.cfg.Source.Token(r.Context(), request)
	if err != nil {
		writeError(w, fault(h.cfg.Logger, r, err))
		return
	}
	left := strconv.FormatInt(int64(token.Expires.Sub(h.cfg.Now())/time.Second), 10)
	writeJSON(w, http.StatusOK, tokenAnswer{
		AccessToken: token.AccessToken, ClientID: token.ClientID, ExpiresIn: left, ExtExpiresIn: left,
		ExpiresOn: unix(token.Expires), NotBefore: unix(token.NotBefore), Resource: request.Resource, TokenType: "Bearer",
	})
}

// tokenAnswer is IMDS's answer: every value is a string.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	ClientID     string `json:"client_id"`
	ExpiresIn    string `json:"expires_in"`
	ExpiresOn    string `json:"expires_on"`
	ExtExpiresIn string `json:"ext_expires_in"`
	NotBefore    string `json:"not_before"`
	Resource     string `json:"resource"`
	TokenType    string `json:"token_type"`
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func checkIdentityVersion(version string) *azure.Error {
	switch {
	case version == "":
		return invalidRequest("Required query variable 'api-version' is missing")
	case !apiVersionForm.MatchString(version) || version < "2018-02-01":
		return invalidRequest("The api-version '" + version + "' is not supported; 2018-02-01 is.")
	}
	return nil
}

func (h *Handler) info(w http.ResponseWriter, r *http.Request) {
	if !allowGet(w, r) {
		return
	}
	bad := checkRequest(r)
	if bad == nil {
		query, err := parseQuery(r.URL.RawQuery)
		if bad = err; bad == nil {
			bad = checkIdentityVersion(query.Get("api-version"))
		}
	}
	if bad != nil {
		writeError(w, bad)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"tenantId": h.cfg.TenantID})
}

// allowGet answers every other method with 405.
func allowGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet {
		return true
	}
	w.Header().Set("Allow", http.MethodGet)
	writeError(w, &azure.Error{Status: http.StatusMethodNotAllowed, Code: "invalid_request", Message: "The endpoint takes GET requests only."})
	return false
}

// throttle counts requests in the current second and those under way.
type throttle struct {
	limits  Limits
	now     func() time.Time
	second  atomic.Int64
	count   atomic.Int64
	ongoing atomic.Int64
}

func newThrottle(limits Limits, now func() time.Time) *throttle {
	return &throttle{limits: limits, now: now}
}

// enter admits a request, or says that it is one too many.
func (t *throttle) enter() (release func(), ok bool) {
	if t.limits.PerSecond > 0 {
		second := t.now().Unix()
		if t.second.Swap(second) != second {
			t.count.Store(0)
		}
		if t.count.Add(1) > int64(t.limits.PerSecond) {
			return nil, false
		}
	}
	if ongoing := t.ongoing.Add(1); t.limits.Concurrent > 0 && ongoing > int64(t.limits.Concurrent) {
		t.ongoing.Add(-1)
		return nil, false
	}
	return func() { t.ongoing.Add(-1) }, true
}
