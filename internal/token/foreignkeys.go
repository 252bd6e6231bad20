package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
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
	all, err := judgeKeys(text)
	if err != nil {
		return nil, err
	}
	return usableKeys(all)
}

// IssuerKey is a key that an issuer publishes, and whether it counts.
type IssuerKey struct {
	// ID, Algorithm and Use are the key's kid, alg and use as they were
	// published; empty when absent or when the key cannot be read.
	ID, Algorithm, Use string
	// Bits is the length of an RSA key's modulus, 0 for keys of other kinds.
	Bits int
	// Unusable says why no token by this key is accepted; nil: they are.
	Unusable error
	// Secret says that what is published is a private or a symmetric key.
	Secret bool

	public *rsa.PublicKey
}

// Is reports whether both are the same RSA key, whatever their IDs.
func (k IssuerKey) Is(other VerificationKey) bool {
	return k.public != nil && k.public.Equal(other.Public)
}

// judgeKeys reads all keys of a JWK set.
func judgeKeys(text []byte) ([]IssuerKey, error) {
	published, err := openKeySet(text)
	if err != nil {
		return nil, err
	}
	all := make([]IssuerKey, 0, min(len(published), maxForeignKeys))
	for i, each := range published {
		if i == maxForeignKeys {
			all = append(all, IssuerKey{Unusable: fmt.Errorf("only the first %d keys count, and there are %d", maxForeignKeys, len(published))})
			break
		}
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(each) != nil {
			all = append(all, IssuerKey{Unusable: errors.New("it cannot be read")})
			continue
		}
		key := IssuerKey{ID: jwk.KeyID, Algorithm: jwk.Algorithm, Use: jwk.Use, Secret: !jwk.IsPublic(),
			Unusable: usable(jwk.Key, jwk.Algorithm, jwk.Use)}
		if public, ok := jwk.Key.(*rsa.PublicKey); ok {
			key.Bits, key.public = public.N.BitLen(), public
		}
		all = append(all, key)
	}
	return all, nil
}

// usable says why no token by a published key is accepted; nil if they are.
func usable(key any, algorithm, use string) error {
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("it is %s; only RSA public keys count", kindOf(key))
	}
	if use != "" && use != "sig" {
		return fmt.Errorf("its use is %.40q, not sig", use)
	}
	if algorithm != "" && algorithm != string(jose.RS256) {
		return fmt.Errorf("its alg is %.40q, not RS256", algorithm)
	}
	if bits := public.N.BitLen(); bits < minForeignBits || bits > maxForeignBits {
		return fmt.Errorf("it has %d bits, not %d to %d", bits, minForeignBits, maxForeignBits)
	}
	return nil
}

// kindOf names a key that is no RSA public key.
func kindOf(key any) string {
	switch key.(type) {
	case *ecdsa.PublicKey:
		return "an elliptic key"
	case ed25519.PublicKey:
		return "an Ed25519 key"
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return "a private key, which must never be published"
	case []byte:
		return "a symmetric key, which must never be published"
	}
	return "a key of another kind"
}

// usableKeys gives those keys that count.
func usableKeys(all []IssuerKey) ([]foreignKey, error) {
	var keys []foreignKey
	for _, key := range all {
		if key.Unusable == nil {
			keys = append(keys, foreignKey{id: key.ID, public: key.public})
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of the %d published keys is an RS256 key of %d to %d bits",
			len(all), minForeignBits, maxForeignBits)
	}
	return keys, nil
}

var errNotRS256 = errors.New("it is not signed with RS256, the only algorithm accepted")

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
