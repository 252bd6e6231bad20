package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/go-jose/go-jose/v4"
)

// Algorithms by which a client may sign an assertion with a key of its own; see
// [Assertion.VerifyKey]. They are those of MSAL (PS256), of older libraries
// (RS256) and of clients with elliptic keys (ES256).
const (
	RS256 = string(jose.RS256)
	PS256 = string(jose.PS256)
	ES256 = string(jose.ES256)
)

// KeyMismatchError means that the assertion's algorithm is not one of the key's
// kind, so that the signature was not even looked at: AADSTS5002730.
type KeyMismatchError struct{ Algorithm, Key string }

// Error names the algorithm and the kind of key.
func (e *KeyMismatchError) Error() string {
	return fmt.Sprintf("%q is no algorithm for %s", e.Algorithm, e.Key)
}

// VerifyKey checks the assertion's signature with one public key that the caller
// knows to be the client's: RS256 or PS256 for an RSA key, ES256 for one on the
// curve P-256. The key's kind decides which algorithms are possible, and nothing
// that the assertion brings along replaces the key. Issuer, subject, audience
// and times are the caller's to check.
//
// An ES256 signature may also come as ASN.1, which RFC 7518 does not have:
// Terraform's SDK sends it so.
//
// The error is a [*KeyMismatchError] or a [*SignatureError].
func (a *Assertion) VerifyKey(key crypto.PublicKey) error {
	if a.compact == nil {
		return &SignatureError{Issuer: a.Issuer, KeyID: a.KeyID, Algorithm: a.Algorithm,
			Err: errors.New("it was not parsed")}
	}
	digest := sha256.Sum256([]byte(a.compact.input))
	signature := a.compact.signature
	var valid bool
	switch key := key.(type) {
	case *rsa.PublicKey:
		switch a.Algorithm {
		case RS256:
			valid = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
		case PS256:
			// RFC 7518, section 3.5: the salt is as long as the hash.
			valid = rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature,
				&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		default:
			return &KeyMismatchError{Algorithm: a.Algorithm, Key: "an RSA key"}
		}
	case *ecdsa.PublicKey:
		if a.Algorithm != ES256 || key.Curve != elliptic.P256() {
			return &KeyMismatchError{Algorithm: a.Algorithm, Key: "an elliptic key on " + key.Params().Name}
		}
		valid = verifyES256(key, digest[:], signature)
	default:
		return &KeyMismatchError{Algorithm: a.Algorithm, Key: fmt.Sprintf("a key of type %T", key)}
	}
	if !valid {
		return &SignatureError{Issuer: a.Issuer, KeyID: a.KeyID, Algorithm: a.Algorithm,
			Err: errors.New("the signature is not by this key")}
	}
	return nil
}

// verifyES256 checks a signature of two numbers of 32 bytes each, or in ASN.1.
func verifyES256(key *ecdsa.PublicKey, digest, signature []byte) bool {
	const size = 32
	if len(signature) != 2*size {
		return ecdsa.VerifyASN1(key, digest, signature)
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(key, digest, r, s)
}
