package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// certificate makes an authority with a subject in DER.
func certificate(tb testing.TB, subject []byte) *x509.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), RawSubject: subject, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1_700_000_000, 0), NotAfter: time.Unix(2_700_000_000, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// subject makes a name of sets of attributes; each is a common name.
func subject(tb testing.TB, sets ...[]asn1.RawValue) []byte {
	tb.Helper()
	var name []relativeNameSET
	for _, values := range sets {
		var set relativeNameSET
		for _, v := range values {
			set = append(set, attribute{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: v})
		}
		name = append(name, set)
	}
	der, err := asn1.Marshal(name)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func text(tag int, s string) []asn1.RawValue {
	return []asn1.RawValue{{Class: asn1.ClassUniversal, Tag: tag, Bytes: []byte(s)}}
}

// TestSubjectHash: what `openssl x509 -subject_hash` of OpenSSL 3.0 prints.
func TestSubjectHash(t *testing.T) {
	tests := []struct {
		name    string
		subject []byte
		want    string
	}{
		{"no name", subject(t), "eea339da"},
		{"UTF8String", subject(t, text(asn1.TagUTF8String, "Lanyard CA of lanyard.localhost 0a1b2c3d")), "fc8be36a"},
		{"PrintableString", subject(t, text(asn1.TagPrintableString, "Lanyard CA of lanyard.localhost 0a1b2c3d")), "fc8be36a"},
		{"case and space", subject(t, text(asn1.TagIA5String, "  LANYARD \t ca of\nlanyard.LOCALHOST  0A1B2C3D ")), "fc8be36a"},
		{"two sets", subject(t, text(asn1.TagUTF8String, "Lanyard"), text(asn1.TagUTF8String, "CA")), "711af37d"},
		{"two in a set", subject(t, append(text(asn1.TagUTF8String, "zebra"), text(asn1.TagUTF8String, "Ant")...)), "a6fded31"},
		{"beyond ASCII", subject(t, text(asn1.TagUTF8String, "Zürich ÄÖ K")), "0ed29506"},
		{"T61String", subject(t, text(asn1.TagT61String, "Z\xfcrich")), "13ca640d"},
		{"BMPString", subject(t, text(asn1.TagBMPString, "\x00Z\x00\xfc\x20\xac\x00 ")), "2979f25c"},
		{"only space", subject(t, text(asn1.TagUTF8String, " \t ")), "5da78770"},
		{"NumericString", subject(t, text(asn1.TagNumericString, " 12  3 ")), "bbafd03c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := certificate(t, tt.subject)
			got, err := SubjectHash(c)
			if err != nil || got != tt.want {
				t.Errorf("%s, %v; want %s", got, err, tt.want)
			}
			if theirs := openSSLHash(t, c); theirs != "" && got != theirs {
				t.Errorf("%s; openssl says %s", got, theirs)
			}
		})
	}
}

// openSSLHash asks openssl, "" where there is none.
func openSSLHash(t *testing.T, c *x509.Certificate) string {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		return ""
	}
	cmd := exec.Command(openssl, "x509", "-noout", "-subject_hash")
	cmd.Stdin = bytes.NewReader(EncodePEM([]*x509.Certificate{c}))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestPublicRoots: those that Azure's own endpoints hang from are among them, and
// none that the list trusts under a condition.
func TestPublicRoots(t *testing.T) {
	roots, err := PublicRoots()
	if err != nil || len(roots) < 100 {
		t.Fatalf("%d roots, %v", len(roots), err)
	}
	for _, name := range []string{"DigiCert Global Root G2", "Microsoft RSA Root Certificate Authority 2017"} {
		if !slices.ContainsFunc(roots, func(c *x509.Certificate) bool { return c.Subject.CommonName == name }) {
			t.Errorf("no %s", name)
		}
	}
	for _, c := range roots {
		if _, err := SubjectHash(c); err != nil {
			t.Errorf("%s: %v", c.Subject, err)
		}
	}
	again, err := Parse(EncodePEM(roots))
	if err != nil || !slices.EqualFunc(roots, again, (*x509.Certificate).Equal) {
		t.Errorf("%d of %d roots come back from PEM, %v", len(again), len(roots), err)
	}
}

func TestParse(t *testing.T) {
	one, two := certificate(t, subject(t)), certificate(t, subject(t))
	good := string(EncodePEM([]*x509.Certificate{one, two}))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))
	broken := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	for _, tt := range []struct {
		name, text string
		want       int
		fail       string
	}{
		{"two", good, 2, ""},
		{"with words between", "one:\n" + good + "end", 2, ""},
		{"each once", good + good, 2, ""},
		{"nothing", "", 0, "no certificate"},
		{"no PEM", "hello", 0, "no certificate"},
		{"a key", key, 0, "block 1 is a PRIVATE KEY"},
		{"a broken one", good + broken, 2, "block 3: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.text))
			if len(got) != tt.want || (tt.fail == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.fail)) {
				t.Errorf("%d certificates, %v; want %d, %q", len(got), err, tt.want, tt.fail)
			}
		})
	}
}

// TestJavaStore: every certificate under a name of its own, the same bytes each
// time, others for other certificates.
func TestJavaStore(t *testing.T) {
	list := []*x509.Certificate{certificate(t, subject(t)), certificate(t, subject(t))}
	store, err := JavaStore(list)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pkcs12.DecodeTrustStore(store, "")
	if err != nil || !slices.EqualFunc(list, got, (*x509.Certificate).Equal) {
		t.Errorf("%d certificates, %v", len(got), err)
	}
	again, err := JavaStore(list)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(store, again) {
		t.Error("the same certificates make another store")
	}
}
