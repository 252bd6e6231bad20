package token

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// ServiceAccountSigner signs tokens of Kubernetes service accounts, as an API
// server with the same key does: for programs that run outside a cluster as one
// of its workloads.
type ServiceAccountSigner struct {
	issuer string
	signer jose.Signer
	public VerificationKey
}

// NewServiceAccountSigner reads a PEM private key (PKCS #1 or #8, RSA of 2048
// bits or more). The key ID is the one that Kubernetes publishes for the key:
// the SHA-256 of its public half in PKIX form.
func NewServiceAccountSigner(issuer string, keyPEM []byte) (*ServiceAccountSigner, error) {
	key, err := parseRSAKey(keyPEM)
	if err != nil {
		return nil, err
	}
	public, err := NewVerificationKey(key.Public())
	if err != nil {
		return nil, err
	}
	jwk := jose.JSONWebKey{Key: key, KeyID: public.ID, Algorithm: public.Algorithm, Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jwk}, nil)
	if err != nil {
		return nil, err
	}
	return &ServiceAccountSigner{issuer: strings.TrimSpace(issuer), signer: signer, public: public}, nil
}

// JWKS gives the JWK set of the public key, as an API server publishes it.
func (s *ServiceAccountSigner) JWKS() ([]byte, error) {
	return EncodeKeySet([]VerificationKey{s.public})
}

func parseRSAKey(keyPEM []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	var key *rsa.PrivateKey
	if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		var ok bool
		if key, ok = parsed.(*rsa.PrivateKey); !ok {
			return nil, fmt.Errorf("the key is a %T; only RSA keys can be used with federated credentials", parsed)
		}
	} else if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		return nil, errors.New("the PEM block holds no private key in PKCS #8 or PKCS #1 form")
	}
	if key.N.BitLen() < 2048 {
		return nil, fmt.Errorf("the key has %d bits; at least 2048 are needed", key.N.BitLen())
	}
	return key, nil
}

// Token signs a token of the service account for one audience, valid from now
// on for ttl.
func (s *ServiceAccountSigner) Token(namespace, name, audience string, now time.Time, ttl time.Duration) (string, error) {
	return jwt.Signed(s.signer).Claims(map[string]any{
		"iss": s.issuer,
		"sub": "system:serviceaccount:" + namespace + ":" + name,
		"aud": []string{audience},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(ttl).Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]string{"name": name}},
	}).Serialize()
}
