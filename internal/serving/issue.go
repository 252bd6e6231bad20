package serving

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// The data of the Secret. The first four are those of azure-workload-identity.
const (
	keyCACert     = "ca.crt"
	keyCAKey      = "ca.key"
	keyCert       = "tls.crt"
	keyKey        = "tls.key"
	keyNextCert   = "next-ca.crt"
	keyNextKey    = "next-ca.key"
	keyFormerCert = "former-ca.crt"
)

// Lifetimes. The authority's and the certificate's are azure-workload-identity's.
const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 365 * 24 * time.Hour
	// renewBefore is what must be left of a certificate.
	renewBefore = 90 * 24 * time.Hour
	// succeedBefore is what must be left of an authority; less, and it could
	// not sign a certificate of full length.
	succeedBefore = certificateLife + renewBefore
	// publishFirst is how long the next authority is trusted before it signs,
	// and formerKept how long the former one stays trusted after that began.
	publishFirst = time.Hour
	formerKept   = 48 * time.Hour
	// backdated allows for clocks that are behind.
	backdated = 5 * time.Minute
)

// Names are what certificates are made out to.
type Names struct {
	// Authority and Organization name the authority. Required.
	Authority, Organization string
	// DNS are the names of the server; the first is the certificate's subject.
	// At least one.
	DNS []string
}

// certificates is the content of the Secret.
type certificates map[string][]byte

// next gives what the Secret should hold at a time: have itself when nothing is
// due. A new authority is trusted before it signs, and the one before it a while
// longer, so that no replica and no client is ever caught between the two.
// What is missing, broken or expired is made anew.
func (have certificates) next(names Names, now time.Time) (want certificates, changed bool, err error) {
	want = certificates{}
	for k, v := range have {
		want[k] = v
	}
	ca, err := want.authority(keyCACert, keyCAKey, now)
	if err != nil {
		clear(want)
		if want[keyCACert], want[keyCAKey], err = newAuthority(names, now); err != nil {
			return nil, false, err
		}
		changed = true
		if ca, err = want.authority(keyCACert, keyCAKey, now); err != nil {
			return nil, false, err
		}
	}
	if ca.Leaf.NotAfter.Sub(now) < succeedBefore {
		successor, err := want.authority(keyNextCert, keyNextKey, now)
		switch {
		case err != nil:
			if want[keyNextCert], want[keyNextKey], err = newAuthority(names, now); err != nil {
				return nil, false, err
			}
			changed = true
		case now.Sub(successor.Leaf.NotBefore) >= backdated+publishFirst:
			want[keyFormerCert] = want[keyCACert]
			want[keyCACert], want[keyCAKey] = want[keyNextCert], want[keyNextKey]
			delete(want, keyNextCert)
			delete(want, keyNextKey)
			ca, changed = successor, true
		}
	}
	if want[keyFormerCert] != nil && now.Sub(ca.Leaf.NotBefore) > backdated+formerKept {
		delete(want, keyFormerCert)
		changed = true
	}
	if !want.certificateValid(ca, names, now) {
		if want[keyCert], want[keyKey], err = ca.issue(names, now); err != nil {
			return nil, false, err
		}
		changed = true
	}
	return want, changed, nil
}

// bundle is what clients are to trust.
func (have certificates) bundle() []byte {
	return slices.Concat(have[keyCACert], have[keyNextCert], have[keyFormerCert])
}

// serving gives the certificate to serve with.
func (have certificates) serving() (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(have[keyCert], have[keyKey])
	if err != nil {
		return nil, fmt.Errorf("reading the serving certificate: %w", err)
	}
	return &pair, nil
}

// authority is a CA that can sign.
type authority struct {
	*tls.Certificate
	signer crypto.Signer
}

// authority reads a CA of any key type, so that one that upstream made goes on.
func (have certificates) authority(cert, key string, now time.Time) (authority, error) {
	pair, err := tls.X509KeyPair(have[cert], have[key])
	if err != nil {
		return authority{}, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA || now.Before(pair.Leaf.NotBefore) || !now.Before(pair.Leaf.NotAfter) {
		return authority{}, errors.New("not a certificate authority in force")
	}
	return authority{&pair, signer}, nil
}

// certificateValid: clients take it by every name, for long enough, and it is
// ECDSA, whose handshakes cost a tenth of RSA's.
func (have certificates) certificateValid(ca authority, names Names, now time.Time) bool {
	pair, err := have.serving()
	if err != nil {
		return false
	}
	if _, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok {
		return false
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	for _, name := range names.DNS {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
			return false
		}
	}
	return pair.Leaf.NotAfter.Sub(now) >= renewBefore
}

func newAuthority(names Names, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: names.Authority, Organization: []string{names.Organization}},
		DNSNames:              []string{names.Authority},
		NotBefore:             now.Add(-backdated),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return sign(template, template, key, key)
}

// issue makes a serving certificate that does not outlive its authority.
func (ca authority) issue(names Names, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	until := now.Add(certificateLife)
	if until.After(ca.Leaf.NotAfter) {
		until = ca.Leaf.NotAfter
	}
	return sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: names.DNS[0]},
		DNSNames:    names.DNS,
		NotBefore:   now.Add(-backdated),
		NotAfter:    until,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca.Leaf, key, ca.signer)
}

func sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer) (certPEM, keyPEM []byte, err error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the certificate of %s: %w", template.Subject.CommonName, err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
