package token

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// maxTokenBytes bounds every token and assertion that is read. Entra's own grow
// to some 3 KiB, and 200 groups (its limit) add 8 KiB.
const maxTokenBytes = 16 << 10

// The JSON of tokens is decoded by go-jose's decoder: it takes member names as
// they are spelled, and refuses a name that comes twice. The standard decoder
// would read "SUB" as "sub" and the last of two, so that what one program
// checked is not what another uses.

// compact is a token or assertion in the compact serialization, taken apart
// once: what is read is what the signature is checked over.
type compact struct {
	header
	payload, signature []byte
	input              string // what is signed: the first two parts as they came
}

// header is a header, with the text of the parameters that are read; absent
// ones are empty.
type header struct {
	algorithm, keyID, kind string
	names                  map[string]json.RawMessage
}

// parseCompact takes apart what is exactly three parts of the base64url
// alphabet, padded where padding is allowed, with a JSON object as the header.
// Its errors quote nothing of it.
func parseCompact(raw string, padding bool) (*compact, error) {
	if len(raw) > maxTokenBytes {
		return nil, errTooLong
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, errors.New("it does not consist of three parts")
	}
	t := &compact{input: raw[:len(parts[0])+1+len(parts[1])]}
	first, err := decodeSegment(parts[0], padding)
	if err != nil {
		return nil, errors.New("the header is not base64url")
	}
	if t.header, err = parseHeader(first); err != nil {
		return nil, err
	}
	if t.payload, err = decodeSegment(parts[1], padding); err != nil {
		return nil, errors.New("the payload is not base64url")
	}
	if t.signature, err = decodeSegment(parts[2], padding); err != nil {
		return nil, errors.New("the signature is not base64url")
	}
	return t, nil
}

var errTooLong = errors.New("it is longer than 16 KiB")

// decodeSegment decodes one part. Go's decoder, even the strict one, skips line
// breaks; no part may have any.
func decodeSegment(s string, padding bool) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("a line break in base64url")
	}
	if padding && strings.HasSuffix(s, "=") {
		return base64.URLEncoding.Strict().DecodeString(s)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func parseHeader(text []byte) (header, error) {
	h := header{}
	if json.Unmarshal(text, &h.names) != nil {
		return h, errors.New("the header is not a JSON object")
	}
	for _, p := range []struct {
		name string
		to   *string
	}{{"alg", &h.algorithm}, {"kid", &h.keyID}, {"typ", &h.kind}} {
		if value, ok := h.names[p.name]; ok {
			if value[0] != '"' || json.Unmarshal(value, p.to) != nil {
				return h, errors.New("the header's " + p.name + " is not a string")
			}
		}
	}
	if h.algorithm == "" {
		return h, errors.New("the header has no alg")
	}
	return h, nil
}

// signedBy reports whether the key made the RS256 signature. The header's alg
// is for the caller to check before.
//
// This is crypto/rsa's and not go-jose's verification since the latter encodes
// the parts anew, and so refuses the padded parts of older clients' assertions.
func (t *compact) signedBy(key *rsa.PublicKey) bool {
	digest := sha256.Sum256([]byte(t.input))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.signature) == nil
}
