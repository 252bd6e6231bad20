package token

import (
	"errors"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The errors of [Bearer].
var (
	// ErrNoBearer: there is no Authorization header, or the first is empty.
	ErrNoBearer = errors.New("there is no Authorization header")
	// ErrNotBearer: the first Authorization header is of another scheme, or it
	// holds no token.
	ErrNotBearer = errors.New("the Authorization header is not of the form 'Bearer TOKEN'")
	// ErrManyBearers: another Authorization header follows the one that holds a
	// token. None of them counts then: a proxy in front may have read another.
	ErrManyBearers = errors.New("there is more than one Authorization header")
)

// Bearer gives the token that a request brings in its Authorization header (RFC
// 6750, section 2.1): what follows the scheme, whose case does not count, without
// the spaces around it. Whether it is a token is for a [Verifier] to say. The
// errors are [ErrNoBearer], [ErrNotBearer] and [ErrManyBearers] as they are; each
// protocol has its own words for them.
func Bearer(header http.Header) (string, error) {
	values := header.Values("Authorization")
	if len(values) == 0 || values[0] == "" {
		return "", ErrNoBearer
	}
	scheme, raw, _ := strings.Cut(values[0], " ")
	raw = strings.TrimSpace(raw)
	switch {
	case !azure.EqualFold(scheme, "Bearer") || raw == "":
		return "", ErrNotBearer
	case len(values) > 1:
		return "", ErrManyBearers
	}
	return raw, nil
}
