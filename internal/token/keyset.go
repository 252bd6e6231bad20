package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// VerificationKey is a public key by which tokens of service accounts are
// verified, as a Kubernetes API server publishes it.
type VerificationKey struct {
	// ID is the kid. The one that Kubernetes gives a key is the SHA-256 of its
	// PKIX form, in base64url without padding.
	ID string
	// Algorithm is RS256 for an RSA key, and ES256, ES384 or ES512 for an elliptic
	// one, by its curve: those that Kubernetes signs with.
	Algorithm string
	// Public is an *rsa.PublicKey or an *ecdsa.PublicKey.
	Public crypto.PublicKey
}

// NewVerificationKey names a public key as Kubernetes does. It fails for keys
// that Kubernetes cannot sign with.
func NewVerificationKey(public crypto.PublicKey) (VerificationKey, error) {
	algorithm, err := algorithmOf(public)
	if err != nil {
		return VerificationKey{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return VerificationKey{}, fmt.Errorf("encoding the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return VerificationKey{ID: base64.RawURLEncoding.EncodeToString(sum[:]), Algorithm: algorithm, Public: public}, nil
}

// algorithmOf gives the algorithm of a service account's tokens by their key.
func algorithmOf(public crypto.PublicKey) (string, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return string(jose.RS256), nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return string(jose.ES256), nil
		case elliptic.P384():
			return string(jose.ES384), nil
		case elliptic.P521():
			return string(jose.ES512), nil
		}
		return "", fmt.Errorf("an elliptic key on %s cannot sign tokens of service accounts: P-256, P-384 and P-521 can", key.Params().Name)
	}
	return "", fmt.Errorf("a key of type %T cannot sign tokens of service accounts: RSA and elliptic keys can", public)
}

// Usable says why Entra, and this cloud, would not verify tokens by the key;
// nil if they would.
func (k VerificationKey) Usable() error {
	return usable(k.Public, k.Algorithm, "sig")
}

// ParseVerificationKeys reads all keys of a PEM file, as an API server reads its
// --service-account-key-file: public keys in PKIX or PKCS #1 form, certificates,
// and private keys in PKCS #8, PKCS #1 or SEC 1 form, of which the public half
// counts. private reports whether there was one of those, which the file of a
// public key should not hold. A file without a key is an error, and so is a
// block that holds something else. The errors quote nothing of the file.
func ParseVerificationKeys(text []byte) (keys []VerificationKey, private bool, err error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "EC PARAMETERS" { // openssl puts the curve's name before the key
			continue
		}
		public, secret, err := parsePEMKey(block)
		if err != nil {
			return nil, false, err
		}
		key, err := NewVerificationKey(public)
		if err != nil {
			return nil, false, err
		}
		keys, private = append(keys, key), private || secret
	}
	if len(keys) == 0 {
		return nil, false, errors.New("it holds no PEM block with a key")
	}
	return keys, private, nil
}

// parsePEMKey gives the public key of a block, and whether the block holds the
// private one.
func parsePEMKey(block *pem.Block) (public crypto.PublicKey, private bool, err error) {
	if block.Headers["DEK-Info"] != "" {
		return nil, false, errors.New("its private key is encrypted: give the public key")
	}
	var key any
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = certificate.PublicKey
		}
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, false, fmt.Errorf("its PEM block %.40q is not one of a key that can be used", block.Type)
	}
	if err != nil {
		// What the parser says could hold a part of a private key.
		return nil, false, fmt.Errorf("its PEM block %q cannot be read", block.Type)
	}
	if key == nil {
		return public, false, nil
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, false, fmt.Errorf("a key of type %T cannot sign", key)
	}
	return signer.Public(), true, nil
}

// EncodeKeySet gives the JWK set of the keys in their order, each once, with the
// members that an API server writes: use, kty, kid, alg and the key's own. It is
// indented, for people, and ends without a line break.
func EncodeKeySet(keys []VerificationKey) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	published := map[string]bool{}
	for _, key := range keys {
		if published[key.ID] {
			continue
		}
		published[key.ID] = true
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public, KeyID: key.ID, Algorithm: key.Algorithm, Use: "sig"})
	}
	text, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the key set: %w", err)
	}
	return text, nil
}

// ParseKeySet reads a JWK set that an API server publishes, or a file that
// [EncodeKeySet] made, with the key IDs that it names. Unlike a foreign issuer's
// set, of which what cannot be used is passed over, every key must be one that
// Kubernetes signs with, have an ID, and be public: a set with a private key is
// refused, as it must be published nowhere.
func ParseKeySet(text []byte) ([]VerificationKey, error) {
	published, err := openKeySet(text)
	if err != nil {
		return nil, err
	}
	keys := []VerificationKey{}
	for i, each := range published {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(each) != nil {
			return nil, fmt.Errorf("key %d of the key set cannot be read", i+1)
		}
		switch {
		case !jwk.IsPublic():
			return nil, fmt.Errorf("key %d of the key set is not a public key", i+1)
		case jwk.KeyID == "":
			return nil, fmt.Errorf("key %d of the key set has no kid", i+1)
		}
		algorithm, err := algorithmOf(jwk.Key)
		if err != nil {
			return nil, fmt.Errorf("key %q of the key set: %w", jwk.KeyID, err)
		}
		keys = append(keys, VerificationKey{ID: jwk.KeyID, Algorithm: algorithm, Public: jwk.Key})
	}
	return keys, nil
}

// openKeySet gives the keys of a JWK set as they stand there.
func openKeySet(text []byte) ([]json.RawMessage, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("the key set is not JSON: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("the key set has no keys")
	}
	return set.Keys, nil
}
