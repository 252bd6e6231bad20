package directory

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the name by which older clients call a certificate, not a proof
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	// maxCertificates is Lanyard's own: with certificates of the greatest size an
	// application still fits its record.
	maxCertificates     = 20
	maxCertificateBytes = 16 << 10
	// RSA keys of fewer bits are weak; longer ones make every token request with
	// them costly.
	minCertificateBits = 2048
	maxCertificateBits = 8192
	// maxKeyDisplayName is Graph's limit in characters.
	maxKeyDisplayName = 120
)

// Graph's errors of a key credential's dates.

func errKeyStart() *azure.Error {
	return azure.Errorf(http.StatusBadRequest, "KeyCredentialsInvalidStartDate", "Key credential start date is invalid.")
}

func errKeyEnd() *azure.Error {
	return azure.Errorf(http.StatusBadRequest, "KeyCredentialsInvalidEndDate", "Key credential end date is invalid.")
}

func errCertificate(why string) *azure.Error {
	return errInvalid("keyCredentials", "Application", why)
}

// SHA1 gives the certificate's thumbprint, by which Azure's users and older
// clients (x5t, kid) name it.
func (c *Certificate) SHA1() [sha1.Size]byte { return sha1.Sum(c.DER) } //nolint:gosec // see the import

// SHA256 gives the certificate's SHA-256 thumbprint, by which present clients
// (x5t#S256) name it.
func (c *Certificate) SHA256() [sha256.Size]byte { return sha256.Sum256(c.DER) }

// PublicKey gives the certificate's key: an RSA key of 2048 to 8192 bits, or an
// elliptic one on the curve P-256.
func (c *Certificate) PublicKey() (crypto.PublicKey, error) {
	parsed, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return nil, fmt.Errorf("parsing the certificate %s: %w", c.KeyID, err)
	}
	return parsed.PublicKey, nil
}

// CertificatesByThumbprint gives the application's certificates with that
// thumbprint: SHA-1 where it has 20 bytes, SHA-256 where it has 32. There is one
// at most, unless somebody made two certificates with one SHA-1 thumbprint and
// registered both. Whether one is valid now is the caller's to check.
func (a *Application) CertificatesByThumbprint(thumbprint []byte) []Certificate {
	var found []Certificate
	for _, c := range a.Certificates {
		var own []byte
		switch len(thumbprint) {
		case sha1.Size:
			sum := c.SHA1()
			own = sum[:]
		case sha256.Size:
			sum := c.SHA256()
			own = sum[:]
		default:
			return nil
		}
		if bytes.Equal(own, thumbprint) {
			found = append(found, c)
		}
	}
	return found
}

// AddCertificate adds a key credential to the application with the given client
// ID, and gives it as it is kept. Of c, DER is required: one X.509 certificate in
// DER, or in PEM, as some of Graph's clients send it. A KeyID is made where c has
// none; a zero Start or End is the certificate's own.
//
// The key must be one with which clients sign assertions: RSA of 2048 to 8192
// bits, or elliptic on P-256. The dates must lie within the certificate's, and
// the end in the future. A certificate is registered once, and an application
// has at most 20. Each failure is Graph's 400; 404 where there is no application.
func (d *Directory) AddCertificate(tx *store.Tx, tenantID, appID string, c Certificate) (Certificate, error) {
	c, err := newCertificate(c, d.now().UTC())
	if err != nil {
		return Certificate{}, err
	}
	app, err := readApplication(tx, tenantID, appID)
	if err != nil {
		return Certificate{}, err
	}
	if len(app.Certificates) >= maxCertificates {
		return Certificate{}, errBadRequest("The application has %d key credentials, which is the most it can have.", maxCertificates)
	}
	for _, other := range app.Certificates {
		switch {
		case other.KeyID == c.KeyID:
			return Certificate{}, errCertificate("There is a key credential with the key ID '" + c.KeyID + "' already.")
		case bytes.Equal(other.DER, c.DER):
			return Certificate{}, errCertificate("The certificate is registered already, with the key ID '" + other.KeyID + "'.")
		}
	}
	app.Certificates = append(app.Certificates, c)
	return c, store.PutJSON(tx, key(applications, app.TenantID, app.ObjectID), app)
}

// RemoveCertificate ends the key credential with the given key ID, which need
// not exist.
func (d *Directory) RemoveCertificate(tx *store.Tx, tenantID, appID, keyID string) error {
	app, err := readApplication(tx, tenantID, appID)
	if err != nil {
		return err
	}
	app.Certificates = slices.DeleteFunc(app.Certificates, func(c Certificate) bool { return azure.EqualFold(c.KeyID, keyID) })
	return store.PutJSON(tx, key(applications, app.TenantID, app.ObjectID), app)
}

// newCertificate checks and completes a key credential.
func newCertificate(c Certificate, now time.Time) (Certificate, error) {
	parsed, err := parseCertificate(c.DER)
	if err != nil {
		return Certificate{}, err
	}
	if why := keyFault(parsed.PublicKey); why != "" {
		return Certificate{}, errCertificate(why)
	}
	if c.KeyID == "" {
		c.KeyID = newGUID()
	}
	var isGUID bool
	if c.KeyID, isGUID = canonicalGUID(c.KeyID); !isGUID {
		return Certificate{}, errCertificate("The key ID is not a GUID.")
	}
	if n := utf8.RuneCountInString(c.DisplayName); n > maxKeyDisplayName {
		return Certificate{}, errCertificate(fmt.Sprintf("The display name has %d characters, but at most %d are allowed.", n, maxKeyDisplayName))
	}
	if c.Start.IsZero() {
		c.Start = parsed.NotBefore
	}
	if c.End.IsZero() {
		c.End = parsed.NotAfter
	}
	c.DER, c.Start, c.End = parsed.Raw, c.Start.UTC(), c.End.UTC()
	switch {
	case c.Start.Before(parsed.NotBefore) || !c.Start.Before(c.End):
		return Certificate{}, errKeyStart()
	case c.End.After(parsed.NotAfter) || !c.End.After(now):
		return Certificate{}, errKeyEnd()
	}
	return c, nil
}

// parseCertificate reads one certificate and nothing after it.
func parseCertificate(text []byte) (*x509.Certificate, error) {
	if len(text) > maxCertificateBytes {
		return nil, errCertificate("The certificate is longer than 16 KiB.")
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN")) {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
			return nil, errCertificate("The PEM text is not that of exactly one certificate.")
		}
		text = block.Bytes
	}
	parsed, err := x509.ParseCertificate(text)
	if err != nil {
		return nil, errCertificate("The key is not an X.509 certificate.")
	}
	return parsed, nil
}

// keyFault says why clients cannot sign with the private key of public, or
// nothing.
func keyFault(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minCertificateBits || bits > maxCertificateBits {
			return fmt.Sprintf("The certificate's RSA key has %d bits, but it must have %d to %d.", bits, minCertificateBits, maxCertificateBits)
		}
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "The certificate's elliptic key is on " + k.Params().Name + ", but it must be on P-256."
		}
	default:
		return "The certificate's key is neither an RSA key nor an elliptic one."
	}
	return ""
}
