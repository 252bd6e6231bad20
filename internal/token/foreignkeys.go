package token

import (
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// Limits of a foreign issuer's keys.
const (
	// maxForeignKeys is Entra's: of an issuer's keys only the first 100 count.
	maxForeignKeys = 100
	minForeignBits = 2048
	// maxForeignBits bounds what one verification may cost. go-jose reads no
	// longer keys either, unless told to.
	maxForeignBits = 4096
)

// foreignKey is a public key that a foreign issuer signs with.
type foreignKey struct {
	id     string
	public *rsa.PublicKey
}

// parseForeignKeys reads the RS256 keys of a JWK set, and passes over those of
// other kinds, since issuers publish keys for other purposes beside them.
func parseForeignKeys(text []byte) ([]foreignKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("the key set is not JSON: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("the key set has no keys")
	}
	var keys []foreignKey
	for _, each := range set.Keys[:min(len(set.Keys), maxForeignKeys)] {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(each) != nil {
			continue
		}
		public, ok := jwk.Key.(*rsa.PublicKey)
		if !ok || jwk.Use != "" && jwk.Use != "sig" || jwk.Algorithm != "" && jwk.Algorithm != string(jose.RS256) {
			continue
		}
		if bits := public.N.BitLen(); bits < minForeignBits || bits > maxForeignBits {
			continue
		}
		keys = append(keys, foreignKey{id: jwk.KeyID, public: public})
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of the %d published keys is an RS256 key of %d to %d bits",
			len(set.Keys), minForeignBits, maxForeignBits)
	}
	return keys, nil
}

// signedBy checks the assertion's signature with the keys: those of its key ID,
// or, when it names none, each. The error is a *KeyNotFoundError or a
// *SignatureError.
func (a *Assertion) signedBy(keys []foreignKey) error {
	tried := false
	for _, key := range keys {
		if a.KeyID != "" && a.KeyID != key.id {
			continue
		}
		tried = true
		if a.compact != nil && a.compact.signedBy(key.public) {
			return nil
		}
	}
	if !tried {
		return &KeyNotFoundError{Issuer: a.Issuer, KeyID: a.KeyID}
	}
	return &SignatureError{Issuer: a.Issuer, KeyID: a.KeyID, Algorithm: a.Algorithm,
		Err: errors.New("the signature is not by this key")}
}
