package exchange

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Answer is what the token endpoint answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte

	host     string
	received time.Time
}

// Token is an identity's token.
type Token struct {
	AccessToken string
	// Received is when it came.
	Received time.Time
	// Expires is when it ends.
	Expires time.Time
}

// maxLifetime is the longest that a token may say it lasts; Entra's longest last
// 28 hours. It keeps a nonsense answer from being believed for years.
const maxLifetime = 7 * 24 * time.Hour

// Token reads the answer. A refusal of the token service is an *[azure.Error] with
// the service's own status, code and description, and when to try again.
func (a *Answer) Token() (Token, error) {
	if a.Status != http.StatusOK {
		return Token{}, a.refusal()
	}
	var body struct {
		AccessToken string          `json:"access_token"`
		ExpiresIn   json.RawMessage `json:"expires_in"` // a number, from some a string
	}
	if err := json.Unmarshal(a.Body, &body); err != nil {
		return Token{}, fmt.Errorf("%s answered with no token document", a.host) // err may quote the token
	}
	seconds, err := strconv.ParseInt(unquote(body.ExpiresIn), 10, 64)
	switch {
	case body.AccessToken == "":
		return Token{}, fmt.Errorf("%s answered without an access token", a.host)
	case err != nil || seconds <= 0:
		return Token{}, fmt.Errorf("%s answered with a token that does not say how long it lasts", a.host)
	}
	lifetime := maxLifetime
	if seconds < int64(maxLifetime/time.Second) {
		lifetime = time.Duration(seconds) * time.Second
	}
	return Token{AccessToken: body.AccessToken, Received: a.received, Expires: a.received.Add(lifetime)}, nil
}

func unquote(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// refusal is the token service's error document as an error.
func (a *Answer) refusal() *azure.Error {
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Numbers     []int  `json:"error_codes"`
	}
	e := &azure.Error{Status: a.Status, RetryAfter: a.RetryAfter()}
	if err := json.Unmarshal(a.Body, &body); err != nil || body.Error == "" {
		// Not the token service, but something before it: a gateway, a proxy.
		e.Code = "server_error"
		e.Message = fmt.Sprintf("%s answered %d %s without an error document.", a.host, a.Status, http.StatusText(a.Status))
		return e
	}
	e.Code, e.Message, e.Numbers = body.Error, body.Description, body.Numbers
	return e
}

// RetryAfter is how long the endpoint asks to be left alone; 0 when it does not
// say.
func (a *Answer) RetryAfter() time.Duration {
	value := a.Header.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), 24*60*60)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(a.received), 0)
	}
	return 0
}
