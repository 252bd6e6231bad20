package actas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// Config configures [New]. All fields are required but Now and Keep.
type Config struct {
	// HTTP reaches the cloud's names and trusts its authority.
	HTTP *http.Client
	// ActiveDirectory and ResourceManager are the cloud's base URLs.
	ActiveDirectory string
	ResourceManager string
	TenantID        string
	SubscriptionID  string
	// ClientID and ClientSecret are the caller's own.
	ClientID     string
	ClientSecret string
	// Now is the clock of cached tokens; nil is time.Now.
	Now func() time.Time
	// Keep is for how long an identity's token is handed out again, at most until
	// shortly before it expires. Default: 0, not at all, so that what has changed
	// of the identity shows at once; Azure's machines keep them for a day.
	Keep time.Duration
}

// Client asks a cloud as one principal.
type Client struct {
	cfg Config

	mu  sync.Mutex
	own accessToken // the caller's, for Resource Manager
}

// New makes a client. It sends nothing yet.
func New(cfg Config) *Client {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Client{cfg: cfg}
}

// accessToken is a token and its time.
type accessToken struct {
	raw      string
	received time.Time
	expires  time.Time
}

// worn reports whether a token has passed half of its life, when Azure's SDKs
// too would ask for another one.
func (t accessToken) worn(now time.Time) bool {
	return t.raw == "" || now.After(t.received.Add(t.expires.Sub(t.received)/2))
}

// keepUntil is how long before it expires a kept token is no longer handed out.
const keepUntil = 10 * time.Minute

// kept reports whether a token is to be handed out again.
func (t accessToken) kept(now time.Time, keep time.Duration) bool {
	return t.raw != "" && now.Sub(t.received) < keep && now.Before(t.expires.Add(-keepUntil))
}

// operator gives the caller's own token for Resource Manager.
func (c *Client) operator(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.own.worn(c.cfg.Now()) {
		return c.own.raw, nil
	}
	token, err := c.post(ctx, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.cfg.ClientID}, "client_secret": {c.cfg.ClientSecret},
		"scope": {c.cfg.ResourceManager + "/.default"},
	})
	if err != nil {
		return "", err
	}
	c.own = token
	return token.raw, nil
}

// exchange gets the identity's token for a resource, on the strength of the
// caller's own.
func (c *Client) exchange(ctx context.Context, who Identity, resource string) (accessToken, error) {
	operator, err := c.operator(ctx)
	if err != nil {
		return accessToken{}, err
	}
	return c.post(ctx, url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {operator},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"requested_subject":  {who.ClientID},
		"scope":              {resource + "/.default"},
	})
}

// post sends a token request. The token service's refusal is an *azure.Error.
func (c *Client) post(ctx context.Context, form url.Values) (accessToken, error) {
	endpoint := c.cfg.ActiveDirectory + "/" + url.PathEscape(c.cfg.TenantID) + "/oauth2/v2.0/token"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return accessToken{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	status, err := c.do(r, &answer)
	if err != nil {
		return accessToken{}, err
	}
	if status != http.StatusOK || answer.AccessToken == "" {
		return accessToken{}, &azure.Error{Status: status, Code: answer.Error, Message: answer.Description}
	}
	now := c.cfg.Now()
	return accessToken{raw: answer.AccessToken, received: now, expires: now.Add(time.Duration(answer.ExpiresIn) * time.Second)}, nil
}

// get reads a document of Resource Manager as the caller.
func (c *Client) get(ctx context.Context, address string, into any) error {
	operator, err := c.operator(ctx)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+operator)
	var answer json.RawMessage
	status, err := c.do(r, &answer)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		var failed struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(answer, &failed); err != nil {
			return fmt.Errorf("the Resource Manager answered with status %d", status)
		}
		return &azure.Error{Status: status, Code: failed.Error.Code, Message: failed.Error.Message}
	}
	return json.Unmarshal(answer, into)
}

// do sends a request and decodes its answer, whatever its status.
func (c *Client) do(r *http.Request, into any) (status int, err error) {
	response, err := c.cfg.HTTP.Do(r)
	if err != nil {
		if unreachable(err) {
			return 0, fmt.Errorf("no cloud answers at %s; start it with `lanyard up`: %w", r.URL.Host, err)
		}
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("reading the answer of %s: %w", r.URL.Host, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return 0, fmt.Errorf("%s answered %s without a document", r.URL.Host, response.Status)
	}
	return response.StatusCode, nil
}

// unreachable reports whether nobody listens where the cloud should be.
func unreachable(err error) bool {
	failed, ok := errors.AsType[*net.OpError](err)
	return ok && failed.Op == "dial"
}

// ResourceManager is the base URL of the cloud's Resource Manager: a resource
// that every identity can have a token for.
func (c *Client) ResourceManager() string { return c.cfg.ResourceManager }
