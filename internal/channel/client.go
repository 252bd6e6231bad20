package channel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// How an agent dials. After a failure it waits a random time below a bound that
// doubles, so that the agents of many clusters do not come back all at once.
const (
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 15 * time.Second
	// requestTimeout bounds a report, and what comes before a stream's head.
	requestTimeout = 15 * time.Second
	// maxTokenBytes bounds the token file, and maxAnswerBytes an answer that is
	// not a stream.
	maxTokenBytes  = 64 << 10
	maxAnswerBytes = 64 << 10
)

// ClientConfig configures [NewClient].
type ClientConfig struct {
	// Endpoint is the base URL of the cloud's channel, "https://agents.D", as the
	// enrolment answers it. Required; https alone.
	Endpoint string
	// ClusterID is the cluster's GUID. Required.
	ClusterID string
	// TokenFile holds the agent's projected service account token, of audience
	// [Audience]. It is read for each request, since the kubelet replaces it.
	// Required.
	TokenFile string
	// CAs judge the cloud's certificate; nil stands for the system's roots.
	CAs *x509.CertPool
	// Version is the agent's, for the cloud's logs.
	Version string
	// Dial makes connections, where names do not resolve by the usual way; nil:
	// the network's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Silence is after how long without a line the agent dials again; 0: three
	// heartbeats.
	Silence time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// Client is the agent's side of the channel. It is safe for concurrent use.
type Client struct {
	cfg    ClientConfig
	base   string
	http   *http.Client
	state  *State
	at     position // of Run alone
	logged string   // the last failure that was logged
}

// RefusedError is an answer of the cloud that is neither a stream nor an accepted
// report. Code and Message are the cloud's own; Message says how to mend it.
type RefusedError struct {
	Status        int
	Code, Message string
}

// Error gives the status, the code and the message.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the cloud answered %d %s: %s", e.Status, e.Code, e.Message)
}

// NewClient checks the configuration. Nothing is dialled before [Client.Run] or
// [Client.Report].
func NewClient(cfg ClientConfig) (*Client, error) {
	u, err := url.Parse(cfg.Endpoint)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the cloud's endpoint %q is not of the form https://HOST[:PORT]", cfg.Endpoint)
	case cfg.ClusterID == "" || url.PathEscape(cfg.ClusterID) != cfg.ClusterID:
		return nil, fmt.Errorf("the cluster's ID %q is not a GUID", cfg.ClusterID)
	case cfg.TokenFile == "":
		return nil, errors.New("the agent's token file is not given")
	}
	if cfg.Silence <= 0 {
		cfg.Silence = 3 * HeartbeatSeconds * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: cfg.Dial,
		// A connection a request: a stream has one of its own anyway, reports are
		// rare, and a connection that died unseen is never used again.
		DisableKeepAlives:      true,
		Protocols:              protocols,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.CAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    requestTimeout,
		ResponseHeaderTimeout:  requestTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if transport.DialContext == nil {
		transport.DialContext = (&net.Dialer{Timeout: requestTimeout}).DialContext
	}
	return &Client{
		cfg: cfg, base: strings.TrimSuffix(u.String(), "/"), state: newState(),
		http: &http.Client{
			Transport: transport,
			// The token is for this host alone.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// State is what the client has learnt. It is always the same one, void until
// [Client.Run] has had the whole state.
func (c *Client) State() *State { return c.state }

// Run follows the cloud until ctx ends: it dials, and after every end of the
// stream dials again and goes on from where it was. It must be called once.
func (c *Client) Run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		synced, err := c.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if synced {
			attempt = 0
		}
		c.settle(ctx, err)
		bound := min(firstBackoff<<min(attempt, 16), lastBackoff)
		timer := time.NewTimer(rand.N(bound)) //nolint:gosec // nobody gains by guessing it
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// settle notes why a stream ended.
func (c *Client) settle(ctx context.Context, err error) {
	level := slog.LevelWarn
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		switch refused.Status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
			c.state.void()
			c.at = position{}
		}
	}
	if errors.Is(err, errNoReset) || errors.Is(err, errBackwards) || errors.Is(err, errNoCluster) || errors.Is(err, errTooLarge) {
		c.at = position{} // the next stream begins anew; what is known stays until then
	}
	if err == nil || errors.Is(err, io.EOF) || c.logged == err.Error() {
		level = slog.LevelDebug
	}
	c.logged = ""
	if err != nil {
		c.logged = err.Error()
	}
	c.cfg.Logger.Log(ctx, level, "the stream of changes ended; dialling again", "endpoint", c.base, "error", err)
}

// follow reads one stream to its end. synced tells whether it brought a whole
// group of changes.
func (c *Client) follow(ctx context.Context) (synced bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(max(c.cfg.Silence, requestTimeout), func() {
		cancel(fmt.Errorf("the cloud was silent for longer than %v", c.cfg.Silence))
	})
	defer silence.Stop()
	where := ChangesPath(c.cfg.ClusterID)
	if c.at.history != "" {
		where += "?" + url.Values{
			HistoryParameter:  {c.at.history},
			RevisionParameter: {strconv.FormatInt(c.at.revision, 10)},
		}.Encode()
	}
	resp, err := c.do(ctx, http.MethodGet, where, nil)
	if err != nil {
		return false, silenceOr(ctx, err)
	}
	defer resp.Body.Close()
	in := &intake{state: c.state, at: &c.at}
	defer c.state.live.Store(false)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4<<10), MaxLineBytes)
	for silence.Reset(c.cfg.Silence); lines.Scan(); silence.Reset(c.cfg.Silence) {
		var change Change
		if err := json.Unmarshal(lines.Bytes(), &change); err != nil {
			return synced, fmt.Errorf("the cloud sent a line that is not a change: %w", err)
		}
		ended, err := in.take(change)
		if err != nil {
			return synced, err
		}
		if ended && !synced {
			synced = true
			c.cfg.Logger.InfoContext(ctx, "the changes of the cloud are followed", "endpoint", c.base,
				"revision", change.Revision)
		}
	}
	if err := lines.Err(); err != nil {
		return synced, silenceOr(ctx, err)
	}
	return synced, io.EOF
}

// silenceOr gives the reason for which ctx was ended, else err.
func silenceOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// Report sends a report, once: the caller repeats it when it will. The error is a
// [*RefusedError] when the cloud answered.
func (c *Client) Report(ctx context.Context, r Report) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	resp, err := c.do(ctx, http.MethodPost, ReportsPath(c.cfg.ClusterID), body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswerBytes))
	return err
}

// do sends a request with the token, and gives the answer if it is a 200.
func (c *Client) do(ctx context.Context, method, where string, body []byte) (*http.Response, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+where, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", strings.TrimSuffix("lanyard-agent/"+c.cfg.Version, "/"))
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// token reads the agent's token.
func (c *Client) token() (string, error) {
	f, err := os.Open(c.cfg.TokenFile)
	if err != nil {
		return "", fmt.Errorf("reading the agent's token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenBytes))
	if err != nil {
		return "", fmt.Errorf("reading the agent's token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("the agent's token file %s does not hold a token", c.cfg.TokenFile)
	}
	return token, nil
}

// refusal reads an error document.
func refusal(resp *http.Response) error {
	var doc struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil || json.Unmarshal(text, &doc) != nil || doc.Error.Code == "" {
		doc.Error.Code, doc.Error.Message = http.StatusText(resp.StatusCode), "the answer is not the cloud's: is the endpoint right?"
	}
	return &RefusedError{Status: resp.StatusCode, Code: doc.Error.Code, Message: doc.Error.Message}
}
