package token

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// maxKeyIDBytes bounds a kid, x5t and x5t#S256, since error messages repeat
// them.
const maxKeyIDBytes = 256

// Assertion is a client assertion that was parsed and not verified: nothing in
// it is true yet. Printing it shows neither the signature nor the claims.
type Assertion struct {
	// Issuer and Subject are iss and sub; empty when absent.
	Issuer, Subject string
	// Audience is aud, whether it was sent as one string or as a list.
	Audience []string
	// KeyID, Algorithm and Type are the header's kid, alg and typ; KeyID and Type
	// are empty when absent.
	KeyID, Algorithm, Type string
	// X5T and X5TS256 are the header's x5t and x5t#S256, as they were sent: the
	// thumbprint of the certificate whose key signed, in one of several
	// encodings. Empty when absent.
	X5T, X5TS256 string
	// NotBefore, IssuedAt and Expiry are nbf, iat and exp; zero when absent.
	NotBefore, IssuedAt, Expiry time.Time
	// Claims are all claims, as encoding/json decodes into any.
	Claims map[string]any

	compact *compact
}

// ParseAssertion parses a client assertion in the compact form, without
// verifying it. Parts may be padded, as some older clients send them.
//
// It refuses what is longer than 16 KiB or not three parts of base64url, a
// header or payload that is not a JSON object or names a member twice, claims of
// a wrong type, dates out of range, a kid, x5t or x5t#S256 longer than 256 bytes
// or no string, and crit, of which no extension is known here. Other header
// parameters are ignored; above all, a key or certificate that the assertion
// brings along (jwk, jku, x5c, x5u) is never used. The errors quote nothing of
// the assertion.
//
// The token service answers these errors with AADSTS50027.
func ParseAssertion(raw string) (*Assertion, error) {
	a, err := parseAssertion(raw)
	if err != nil {
		return nil, fmt.Errorf("malformed assertion: %w", err)
	}
	return a, nil
}

func parseAssertion(raw string) (*Assertion, error) {
	t, err := parseCompact(raw, true)
	if err != nil {
		return nil, err
	}
	if _, ok := t.names["crit"]; ok {
		return nil, errors.New("the header has crit")
	}
	if len(t.keyID) > maxKeyIDBytes {
		return nil, errors.New("the kid is too long")
	}
	a := &Assertion{KeyID: t.keyID, Algorithm: t.algorithm, Type: t.kind, compact: t}
	for name, to := range map[string]*string{"x5t": &a.X5T, "x5t#S256": &a.X5TS256} {
		value, ok := t.names[name]
		if ok && (value[0] != '"' || json.Unmarshal(value, to) != nil || len(*to) > maxKeyIDBytes) {
			return nil, errors.New("the header's " + name + " is not a short string")
		}
	}
	if json.Unmarshal(t.payload, &a.Claims) != nil || a.Claims == nil {
		return nil, errors.New("the payload is not a JSON object")
	}
	return a, a.read()
}

// read takes the registered claims out of all claims.
func (a *Assertion) read() error {
	for name, to := range map[string]*string{"iss": &a.Issuer, "sub": &a.Subject} {
		if value, ok := a.Claims[name]; ok {
			if *to, ok = value.(string); !ok {
				return errors.New(name + " is not a string")
			}
		}
	}
	for name, to := range map[string]*time.Time{"nbf": &a.NotBefore, "iat": &a.IssuedAt, "exp": &a.Expiry} {
		if value, ok := a.Claims[name]; ok {
			if *to, ok = numericDate(value); !ok {
				return errors.New(name + " is not a date in seconds")
			}
		}
	}
	switch aud := a.Claims["aud"].(type) {
	case nil:
		if _, ok := a.Claims["aud"]; ok {
			return errors.New("aud is null")
		}
	case string:
		a.Audience = []string{aud}
	case []any:
		for _, each := range aud {
			s, ok := each.(string)
			if !ok {
				return errors.New("aud is not a list of strings")
			}
			a.Audience = append(a.Audience, s)
		}
	default:
		return errors.New("aud is neither a string nor a list")
	}
	return nil
}

// numericDate reads a date of RFC 7519: seconds, perhaps with a fraction. It
// must lie between 1970 and 9999, the years that have a text form.
func numericDate(value any) (time.Time, bool) {
	const year10000 = 253402300800
	seconds, ok := value.(float64)
	if !ok || !(seconds >= 0 && seconds < year10000) {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true
}

// String names the assertion by its issuer, subject and key ID.
func (a Assertion) String() string {
	return fmt.Sprintf("assertion of %q for %q by key %q", a.Issuer, a.Subject, a.KeyID)
}

// GoString is String, so that %#v shows no more.
func (a Assertion) GoString() string { return a.String() }

// LogValue is what logs show of the assertion.
func (a Assertion) LogValue() slog.Value {
	return slog.GroupValue(slog.String("iss", a.Issuer), slog.String("sub", a.Subject), slog.String("kid", a.KeyID))
}
