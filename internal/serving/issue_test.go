package serving

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"testing"
	"time"
)

const testDNS = "webhook.azwi.svc"

var testNames = Names{Authority: "test-ca", Organization: "test", DNS: []string{testDNS, "sni.example"}}

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// mustNext steps to a time, and checks what holds at any: a client that
// trusts the bundle takes the certificate.
func mustNext(t *testing.T, have certificates, now time.Time, wantChanged bool) certificates {
	t.Helper()
	want, changed, err := have.next(testNames, now)
	if err != nil {
		t.Fatal(err)
	}
	if changed != wantChanged {
		t.Errorf("%s: changed %v, want %v", now, changed, wantChanged)
	}
	verify(t, want.bundle(), want, now)
	return want
}

func verify(t *testing.T, bundle []byte, c certificates, now time.Time) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatal("no authority in the bundle")
	}
	pair, err := c.serving()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: testDNS, CurrentTime: now}); err != nil {
		t.Errorf("%s: %v", now, err)
	}
}

func TestFirstCertificates(t *testing.T) {
	c := mustNext(t, nil, testNow, true)
	mustNext(t, c, testNow, false)
	pair, err := c.serving()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok {
		t.Errorf("the key is a %T", pair.PrivateKey)
	}
	if got := pair.Leaf.NotAfter.Sub(testNow); got != certificateLife {
		t.Errorf("life %s", got)
	}
	mustNext(t, c, testNow.Add(certificateLife-renewBefore-time.Minute), false)
	renewed := mustNext(t, c, testNow.Add(certificateLife-renewBefore+time.Minute), true)
	if string(renewed[keyCACert]) != string(c[keyCACert]) {
		t.Error("a renewed certificate has another authority")
	}
}

// TestAuthoritySucceeds: from one authority to the next, what any replica serves
// is taken by a client with the bundle of the step before and after.
func TestAuthoritySucceeds(t *testing.T) {
	first := mustNext(t, nil, testNow, true)
	now := testNow.Add(authorityLife - succeedBefore + time.Hour)
	announced := mustNext(t, first, now, true)
	if announced[keyNextCert] == nil || string(announced[keyCACert]) != string(first[keyCACert]) {
		t.Fatal("the next authority is not announced, or signs at once")
	}
	now = now.Add(publishFirst - time.Minute)
	mustNext(t, announced, now, false)
	now = now.Add(2 * time.Minute)
	succeeded := mustNext(t, announced, now, true)
	if string(succeeded[keyCACert]) != string(announced[keyNextCert]) || succeeded[keyNextCert] != nil {
		t.Fatal("the next authority has not taken over")
	}
	verify(t, announced.bundle(), succeeded, now) // a late client, a new replica
	verify(t, succeeded.bundle(), announced, now) // a new client, a late replica
	now = now.Add(formerKept)
	forgotten := mustNext(t, succeeded, now, true)
	if forgotten[keyFormerCert] != nil {
		t.Error("the former authority is still trusted")
	}
	mustNext(t, forgotten, now.Add(time.Hour), false)
}

func TestBrokenCertificatesAreMadeAnew(t *testing.T) {
	good := mustNext(t, nil, testNow, true)
	for name, change := range map[string]func(certificates){
		"no authority":        func(c certificates) { delete(c, keyCACert) },
		"another's key":       func(c certificates) { _, c[keyCAKey], _ = newAuthority(testNames, testNow) },
		"no PEM":              func(c certificates) { c[keyCert] = []byte("x") },
		"no key":              func(c certificates) { delete(c, keyKey) },
		"another authority":   func(c certificates) { c[keyCACert], c[keyCAKey], _ = newAuthority(testNames, testNow) },
		"a leaf as authority": func(c certificates) { c[keyCACert], c[keyCAKey] = c[keyCert], c[keyKey] },
	} {
		t.Run(name, func(t *testing.T) {
			c := maps.Clone(good)
			change(c)
			mustNext(t, c, testNow, true)
		})
	}
	t.Run("expired", func(t *testing.T) { mustNext(t, good, testNow.Add(authorityLife+time.Hour), true) })
	t.Run("another name", func(t *testing.T) {
		for _, dns := range [][]string{{"other.azwi.svc"}, {testDNS, "other.example"}} {
			other := testNames
			other.DNS = dns
			if _, changed, err := good.next(other, testNow); err != nil || !changed {
				t.Errorf("%v: %v, %v", dns, changed, err)
			}
		}
	})
}

// TestUpstreamsAuthorityGoesOn: upstream's RSA authority stays, since API
// servers trust it; its RSA certificate is replaced by an ECDSA one.
func TestUpstreamsAuthorityGoesOn(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	own := mustNext(t, nil, testNow, true)
	block, _ := pem.Decode(own[keyCACert])
	template, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	template.SignatureAlgorithm, template.PublicKeyAlgorithm = x509.UnknownSignatureAlgorithm, x509.UnknownPublicKeyAlgorithm
	template.SubjectKeyId, template.AuthorityKeyId, template.PublicKey = nil, nil, nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	theirs := certificates{
		keyCACert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyCAKey:  pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
	theirs[keyCert], theirs[keyKey] = theirs[keyCACert], theirs[keyCAKey]
	ours := mustNext(t, theirs, testNow, true)
	if string(ours[keyCACert]) != string(theirs[keyCACert]) {
		t.Error("the authority is another")
	}
}
