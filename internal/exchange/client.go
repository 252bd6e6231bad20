package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

const (
	// attemptTimeout bounds one request to the token endpoint.
	attemptTimeout = 15 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes. A token with many
	// groups or roles has some 20 KiB.
	maxAnswer = 1 << 20
	// maxAssertion bounds the token file, in bytes.
	maxAssertion = 64 << 10
)

// Config configures [New].
type Config struct {
	// Authority is the token service's base URL, such as
	// "https://login.microsoftonline.com/". Required; https.
	Authority string
	// TokenFile holds the service account token that is presented. Required.
	TokenFile string
	// TokenProxy takes the authority's place; nil without one.
	TokenProxy *TokenProxy
	// Attempts is how often a request is sent at most, where the first fails for
	// a reason that may pass. Default: 1.
	Attempts int
	// UserAgent names the program.
	UserAgent string
	// Transport sends requests; nil is one of the client's own, which trusts the
	// system's authorities (SSL_CERT_FILE, SSL_CERT_DIR) and heeds HTTPS_PROXY.
	// It must be nil with a TokenProxy, which has its own authorities.
	Transport http.RoundTripper
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Client sends exchanges.
type Client struct {
	cfg       Config
	base      *url.URL
	transport func() (http.RoundTripper, error)
}

// Request asks for a token of an identity.
type Request struct {
	// Tenant is the tenant's GUID or domain name.
	Tenant string
	// ClientID is the identity's.
	ClientID string
	// Scope is the resource with "/.default"; see [Scope].
	Scope string
	// Claims and ClientInfo are sent where they are not empty: claims that the
	// token is to have, and whether the client wants to know itself.
	Claims, ClientInfo string
	// CorrelationID names the request in the token service's log and answer; ""
	// leaves that to the service.
	CorrelationID string
}

// Scope is the scope of all that a client may do at a resource. A slash at the
// resource's end stays: "https://vault.azure.net/" makes
// "https://vault.azure.net//.default", whose audience has the slash again.
func Scope(resource string) string {
	if strings.HasSuffix(resource, "/.default") {
		return resource
	}
	return resource + "/.default"
}

// New checks a configuration. It sends nothing.
func New(cfg Config) (*Client, error) {
	if cfg.TokenFile == "" {
		return nil, errors.New("there is no token file")
	}
	if cfg.Attempts < 1 {
		cfg.Attempts = 1
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg}
	address := cfg.Authority
	if cfg.TokenProxy != nil {
		if cfg.Transport != nil {
			return nil, errors.New("a token proxy has its own transport")
		}
		address = cfg.TokenProxy.URL
	}
	var err error
	if c.base, err = parseBase(address); err != nil {
		return nil, err
	}
	switch {
	case cfg.TokenProxy != nil:
		trust := &proxyTrust{proxy: *cfg.TokenProxy}
		if _, err := trust.roundTripper(); err != nil {
			return nil, err
		}
		c.transport = trust.roundTripper
	case cfg.Transport != nil:
		c.transport = func() (http.RoundTripper, error) { return cfg.Transport, nil }
	default:
		own := newTransport()
		c.transport = func() (http.RoundTripper, error) { return own, nil }
	}
	return c, nil
}

// parseBase checks a base URL: an assertion must not go out in the clear.
func parseBase(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is not a URL", address)
	case u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("%q is not an https URL", address)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q has more than a host and a path", address)
	}
	return u, nil
}

// newTransport makes a transport with limits on everything that may hang.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: attemptTimeout,
		MaxIdleConns: 16, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

var (
	tenantForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$`)
	clientForm = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

// IsTenant reports whether s may be a tenant's GUID or domain name.
func IsTenant(s string) bool { return tenantForm.MatchString(s) }

// IsClientID reports whether s may be a client ID: a GUID in its usual form.
func IsClientID(s string) bool { return clientForm.MatchString(s) }

// Do sends a request and gives the endpoint's answer, whatever it says. An error
// is that there is no answer: of type *[TokenFileError] where the token file is
// at fault.
func (c *Client) Do(ctx context.Context, r Request) (*Answer, error) {
	if !IsTenant(r.Tenant) {
		return nil, fmt.Errorf("%q is no tenant's GUID or domain name", r.Tenant)
	}
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_id":             {r.ClientID},
		"scope":                 {r.Scope},
	}
	for name, value := range map[string]string{"claims": r.Claims, "client_info": r.ClientInfo} {
		if value != "" {
			form.Set(name, value)
		}
	}
	endpoint := c.base.JoinPath(r.Tenant, "oauth2", "v2.0", "token").String()
	return c.retry(ctx, func() (*Answer, error) {
		assertion, err := c.assertion()
		if err != nil {
			return nil, err
		}
		form.Set("client_assertion", assertion)
		return c.post(ctx, endpoint, r.CorrelationID, form)
	})
}

// TokenFileError is a token file that cannot be presented.
type TokenFileError struct{ err error }

func (e *TokenFileError) Error() string { return "the service account token: " + e.err.Error() }

// Unwrap gives the cause.
func (e *TokenFileError) Unwrap() error { return e.err }

// CheckTokenFile reads the token file as a request would. The error is a
// *[TokenFileError].
func (c *Client) CheckTokenFile() error {
	_, err := c.assertion()
	return err
}

func (c *Client) assertion() (string, error) {
	f, err := os.Open(c.cfg.TokenFile)
	if err != nil {
		return "", &TokenFileError{err}
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxAssertion+1))
	if err != nil {
		return "", &TokenFileError{err}
	}
	switch assertion := strings.TrimSpace(string(raw)); {
	case assertion == "":
		return "", &TokenFileError{fmt.Errorf("%s is empty", c.cfg.TokenFile)}
	case len(raw) > maxAssertion:
		return "", &TokenFileError{fmt.Errorf("%s is longer than %d bytes", c.cfg.TokenFile, maxAssertion)}
	default:
		return assertion, nil
	}
}

// post sends one request.
func (c *Client) post(ctx context.Context, endpoint, correlation string, form url.Values) (*Answer, error) {
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.cfg.UserAgent)
	if correlation != "" {
		r.Header.Set("client-request-id", correlation)
		r.Header.Set("return-client-request-id", "true")
	}
	response, err := transport.RoundTrip(r) // the transport follows no redirects
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.base.Host, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", c.base.Host, err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the answer of %s is longer than %d bytes", c.base.Host, maxAnswer)
	}
	return &Answer{Status: response.StatusCode, Header: response.Header, Body: body, host: c.base.Host, received: c.cfg.Now()}, nil
}
