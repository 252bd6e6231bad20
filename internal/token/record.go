package token

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-id/lanyard/internal/store"
)

// keyBits is the size of signing keys: what Entra uses, and what every client
// accepts.
const keyBits = 2048

// record is a signing key as the store has it, sealed.
type record struct {
	Certificate []byte    `json:"certificate"` // DER
	PrivateKey  []byte    `json:"privateKey"`  // PKCS #8
	Published   time.Time `json:"published"`
	SignsFrom   time.Time `json:"signsFrom"`
	RetiresAt   time.Time `json:"retiresAt,omitzero"`
}

// newRecord makes a key that is published now and signs after lead.
func newRecord(now time.Time, lead time.Duration) (*record, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("generating an RSA key: %w", err)
	}
	now = now.UTC().Round(0)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("choosing a serial number: %w", err)
	}
	// The certificate only carries the key, as in Entra's documents; nobody
	// judges its chain or its dates, and it is no authority.
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Lanyard token signing"},
		NotBefore:    now.Add(-ClockSkew),
		NotAfter:     now.AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("making the key's certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	return &record{Certificate: der, PrivateKey: pkcs8, Published: now, SignsFrom: now.Add(lead)}, nil
}

// thumbprint is the key ID that Entra derives from a certificate.
func thumbprint(der []byte) string {
	sum := sha1.Sum(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (r *record) key() Key {
	return Key{ID: thumbprint(r.Certificate), Published: r.Published, SignsFrom: r.SignsFrom, RetiresAt: r.RetiresAt}
}

// put writes the record, sealed, under its key ID.
func (r *record) put(tx *store.Tx) error {
	plain, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding signing key: %w", err)
	}
	return tx.PutSealed(keyPrefix+r.key().ID, plain)
}

// readRecord unseals and decodes a record. The seal holds the record to the name
// under which it was written.
func readRecord(st *store.Store, e store.Entry) (*record, error) {
	plain, err := st.Unseal(e)
	if err != nil {
		return nil, err
	}
	r := &record{}
	if json.Unmarshal(plain, r) != nil {
		// The decoder's error may quote what it read, which is a private key.
		return nil, errors.New("the record is not the JSON of a signing key")
	}
	return r, nil
}

// signingKey is a key ready for use.
type signingKey struct {
	Key
	certificate []byte
	public      *rsa.PublicKey
	// Signers of version 1.0 and 2.0 tokens, whose headers differ.
	v1, v2 jose.Signer
}

// parse makes the key ready for use.
func (r *record) parse() (*signingKey, error) {
	private, err := parsePrivate(r)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		return nil, fmt.Errorf("parsing the certificate: %w", err)
	}
	if !private.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the certificate is of another key")
	}
	key := &signingKey{Key: r.key(), certificate: r.Certificate, public: &private.PublicKey}
	signing := jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: private, KeyID: key.ID}}
	if key.v1, err = jose.NewSigner(signing, (&jose.SignerOptions{}).WithType("JWT").WithHeader("x5t", key.ID)); err != nil {
		return nil, fmt.Errorf("making a signer: %w", err)
	}
	if key.v2, err = jose.NewSigner(signing, (&jose.SignerOptions{}).WithType("JWT")); err != nil {
		return nil, fmt.Errorf("making a signer: %w", err)
	}
	return key, nil
}

func parsePrivate(r *record) (*rsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(r.PrivateKey)
	if err != nil {
		return nil, errors.New("the private key cannot be parsed")
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the private key is a %T, not RSA", parsed)
	}
	return private, nil
}
