package directory

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // thumbprints
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

// testKeys are keys of the kinds that certificates come with, made once for all
// tests.
var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	keys := map[string]crypto.Signer{"Ed25519": ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	for name, bits := range map[string]int{"RSA": 2048, "weak RSA": 1024} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		keys[name] = key
	}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		keys[name] = key
	}
	return keys
})

// certificate makes a self-signed certificate of one of the test's keys, valid
// from a day before the tests start for a year.
func certificate(tb testing.TB, key string, serial int64) []byte {
	tb.Helper()
	signer := testKeys()[key]
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "test"},
		NotBefore:    standin.Start.AddDate(0, 0, -1),
		NotAfter:     standin.Start.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func (f *fixture) addCertificate(app Application, c Certificate) (added Certificate, err error) {
	err = f.update(func(tx *store.Tx) (err error) {
		added, err = f.AddCertificate(tx, app.TenantID, app.AppID, c)
		return err
	})
	return added, err
}

func TestAddCertificate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	app, p := f.application(contoso, "app")
	der := certificate(t, "RSA", 1)
	added, err := f.addCertificate(app, Certificate{DER: der, DisplayName: "laptop"})
	if err != nil {
		t.Fatal(err)
	}
	want := Certificate{KeyID: added.KeyID, DisplayName: "laptop", DER: der, Start: standin.Start.AddDate(0, 0, -1), End: standin.Start.AddDate(1, 0, 0)}
	if diff := cmp.Diff(want, added); diff != "" {
		t.Error(diff)
	}
	// Another one, in PEM, of another kind, with a key ID and a shorter life of
	// its own.
	const keyID = "0F1D9C1E-6C5B-4A53-B3F6-7F1E64B1A0B3"
	elliptic := certificate(t, "P-256", 2)
	second, err := f.addCertificate(app, Certificate{
		KeyID: keyID, Start: standin.Start, End: standin.Start.AddDate(0, 1, 0),
		DER: append([]byte("\n"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: elliptic})...),
	})
	if err != nil {
		t.Fatal(err)
	}
	want = Certificate{KeyID: azure.Fold(keyID), DER: elliptic, Start: standin.Start, End: standin.Start.AddDate(0, 1, 0)}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Error(diff)
	}

	client, ok := f.Client(contoso, app.AppID)
	if !ok {
		t.Fatal("no client")
	}
	if diff := cmp.Diff([]Certificate{added, second}, client.Application.Certificates); diff != "" {
		t.Error(diff)
	}
	sha1Sum, sha256Sum := sha1.Sum(der), sha256.Sum256(der) //nolint:gosec // thumbprints
	for _, tt := range []struct {
		thumbprint []byte
		want       []Certificate
	}{
		{sha1Sum[:], []Certificate{added}},
		{sha256Sum[:], []Certificate{added}},
		{sha256Sum[:sha1.Size], nil},
		{sha1Sum[:sha1.Size-1], nil},
		{nil, nil},
		{bytes.Repeat([]byte{0}, sha1.Size), nil},
		{bytes.Repeat([]byte{0}, sha256.Size), nil},
	} {
		if diff := cmp.Diff(tt.want, client.Application.CertificatesByThumbprint(tt.thumbprint)); diff != "" {
			t.Errorf("%x: %s", tt.thumbprint, diff)
		}
	}
	for _, c := range []struct {
		of   Certificate
		want crypto.PublicKey
	}{{added, testKeys()["RSA"].Public()}, {second, testKeys()["P-256"].Public()}} {
		public, err := c.of.PublicKey()
		if k, ok := c.want.(interface{ Equal(crypto.PublicKey) bool }); err != nil || !ok || !k.Equal(public) {
			t.Errorf("the key is %v, %v", public, err)
		}
	}

	for range 2 { // it need not exist
		f.must(func(tx *store.Tx) error {
			return f.RemoveCertificate(tx, contoso, app.AppID, strings.ToUpper(added.KeyID))
		})
		client, _ = f.Client(contoso, app.AppID)
		if diff := cmp.Diff([]Certificate{second}, client.Application.Certificates); diff != "" {
			t.Error(diff)
		}
	}
	f.must(func(tx *store.Tx) error { return f.DeletePrincipal(tx, contoso, p.ObjectID) })
}

func TestAddCertificateRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	app, _ := f.application(contoso, "app")
	good := certificate(t, "RSA", 1)
	existing, err := f.addCertificate(app, Certificate{DER: good})
	if err != nil {
		t.Fatal(err)
	}
	const invalid = "Invalid value specified for property 'keyCredentials' of resource 'Application'. "
	fresh := certificate(t, "RSA", 2)
	asPEM := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for name, tt := range map[string]struct {
		c             Certificate
		code, message string
	}{
		"nothing":      {Certificate{}, "", "The key is not an X.509 certificate."},
		"garbage":      {Certificate{DER: []byte("certificate")}, "", "The key is not an X.509 certificate."},
		"cut off":      {Certificate{DER: fresh[:len(fresh)-1]}, "", "The key is not an X.509 certificate."},
		"with a tail":  {Certificate{DER: append(bytes.Clone(fresh), 0)}, "", "The key is not an X.509 certificate."},
		"two in a row": {Certificate{DER: append(bytes.Clone(fresh), good...)}, "", "The key is not an X.509 certificate."},
		"too long":     {Certificate{DER: make([]byte, 16<<10+1)}, "", "The certificate is longer than 16 KiB."},
		"a private key": {Certificate{DER: asPEM("PRIVATE KEY", fresh)}, "",
			"The PEM text is not that of exactly one certificate."},
		"two in PEM": {Certificate{DER: append(asPEM("CERTIFICATE", fresh), asPEM("CERTIFICATE", good)...)}, "",
			"The PEM text is not that of exactly one certificate."},
		"broken PEM": {Certificate{DER: []byte("-----BEGIN CERTIFICATE-----\n")}, "",
			"The PEM text is not that of exactly one certificate."},
		"a weak key": {Certificate{DER: certificate(t, "weak RSA", 3)}, "",
			"The certificate's RSA key has 1024 bits, but it must have 2048 to 8192."},
		"another curve": {Certificate{DER: certificate(t, "P-384", 3)}, "",
			"The certificate's elliptic key is on P-384, but it must be on P-256."},
		"another kind": {Certificate{DER: certificate(t, "Ed25519", 3)}, "",
			"The certificate's key is neither an RSA key nor an elliptic one."},
		"no GUID": {Certificate{DER: fresh, KeyID: "1"}, "", "The key ID is not a GUID."},
		"a long name": {Certificate{DER: fresh, DisplayName: strings.Repeat("ü", 121)}, "",
			"The display name has 121 characters, but at most 120 are allowed."},
		"twice": {Certificate{DER: good}, "",
			"The certificate is registered already, with the key ID '" + existing.KeyID + "'."},
		"the same key ID": {Certificate{DER: fresh, KeyID: existing.KeyID}, "",
			"There is a key credential with the key ID '" + existing.KeyID + "' already."},
		"before the certificate": {Certificate{DER: fresh, Start: standin.Start.AddDate(0, 0, -2)},
			"KeyCredentialsInvalidStartDate", "Key credential start date is invalid."},
		"start after end": {Certificate{DER: fresh, Start: standin.Start.AddDate(0, 2, 0), End: standin.Start.AddDate(0, 1, 0)},
			"KeyCredentialsInvalidStartDate", "Key credential start date is invalid."},
		"after the certificate": {Certificate{DER: fresh, End: standin.Start.AddDate(1, 0, 1)},
			"KeyCredentialsInvalidEndDate", "Key credential end date is invalid."},
		"expired": {Certificate{DER: fresh, End: standin.Start},
			"KeyCredentialsInvalidEndDate", "Key credential end date is invalid."},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.addCertificate(app, tt.c)
			if tt.code == "" {
				tt.code, tt.message = "Request_BadRequest", invalid+tt.message
			}
			wantError(t, err, 400, tt.code, tt.message)
		})
	}
	notFound := func(id string) string {
		return fmt.Sprintf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
	}
	foreign := app
	foreign.TenantID = fabrikam
	_, err = f.addCertificate(foreign, Certificate{DER: fresh})
	wantError(t, err, 404, "Request_ResourceNotFound", notFound(app.AppID))
	mi := f.identity(contoso, "id1")
	_, err = f.addCertificate(Application{TenantID: contoso, AppID: mi.AppID}, Certificate{DER: fresh})
	wantError(t, err, 404, "Request_ResourceNotFound", notFound(mi.AppID))
	wantError(t, f.update(func(tx *store.Tx) error { return f.RemoveCertificate(tx, fabrikam, app.AppID, existing.KeyID) }),
		404, "Request_ResourceNotFound", notFound(app.AppID))

	client, _ := f.Client(contoso, app.AppID)
	if diff := cmp.Diff([]Certificate{existing}, client.Application.Certificates); diff != "" {
		t.Errorf("a refusal left something behind: %s", diff)
	}
}

// The certificate of yesterday cannot be registered, nor a twenty-first.
func TestAddCertificateLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	app, _ := f.application(contoso, "app")
	for i := range int64(20) {
		if _, err := f.addCertificate(app, Certificate{DER: certificate(t, "P-256", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.addCertificate(app, Certificate{DER: certificate(t, "P-256", 21)})
	wantError(t, err, 400, "Request_BadRequest", "The application has 20 key credentials, which is the most it can have.")

	other, _ := f.application(contoso, "other")
	f.clock.Advance(366 * 24 * time.Hour)
	_, err = f.addCertificate(other, Certificate{DER: certificate(t, "P-256", 1)})
	wantError(t, err, 400, "KeyCredentialsInvalidEndDate", "Key credential end date is invalid.")
}

// Of two certificates with one thumbprint both are found. Nobody can make such
// with SHA-256; with SHA-1 it takes money.
func TestSharedThumbprint(t *testing.T) {
	t.Parallel()
	app := Application{Certificates: []Certificate{{KeyID: "a", DER: []byte{1}}, {KeyID: "b", DER: []byte{1}}, {KeyID: "c", DER: []byte{2}}}}
	sum := app.Certificates[0].SHA1()
	if found := app.CertificatesByThumbprint(sum[:]); len(found) != 2 {
		t.Errorf("%d certificates", len(found))
	}
}
