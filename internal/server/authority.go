package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// Lifetimes. The root is long-lived since clients hold it in files; a leaf is
// short-lived since nothing revokes it.
const (
	rootLifetime = 10 * 365 * 24 * time.Hour
	// rootRenewal is how long before its end the root's certificate is issued
	// anew, with the same key and subject.
	rootRenewal  = 365 * 24 * time.Hour
	leafLifetime = 7 * 24 * time.Hour
	// clockSkew is how far a certificate's beginning lies in the past, for
	// clients whose clocks are behind.
	clockSkew = time.Hour
)

// Store keys. The key is one for the cloud. There is a certificate for every
// set of names that a replica was configured with, so that replicas in the
// middle of a change of configuration do not take each other's away.
const (
	authorityKey          = "server/authority/key"
	authorityCertificates = "server/authority/certificates/"
)

// authority is the cloud's own certificate authority: an ECDSA P-256 root whose
// key is sealed in the store. Its critical name constraints permit the domain,
// the enabled aliases and the two loopback addresses alone, so that a client
// which trusts it has not let anyone vouch for the rest of the Internet.
//
// When the set of names changes, the root's certificate is issued anew with the
// same key and subject: clients that hold the former one go on working for the
// names that it permits, since every alias has a leaf certificate of its own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time

	own     leaf
	aliases []*leaf
}

// leaf is a served certificate, issued anew when two thirds of its life are over.
type leaf struct {
	names []string
	ips   []net.IP

	mu   sync.Mutex
	cert *tls.Certificate // nil: none yet
}

// openAuthority reads the authority from the store, or makes it there.
func openAuthority(ctx context.Context, st *store.Store, cloud azure.Cloud, now func() time.Time) (*authority, error) {
	permitted := permittedNames(cloud)
	sum := sha256.Sum256([]byte(strings.Join(permitted, "\n")))
	certKey := authorityCertificates + hex.EncodeToString(sum[:16])

	a := &authority{now: now}
	_, err := st.Update(ctx, func(tx *store.Tx) error {
		var err error
		if a.key, err = rootKey(st, tx); err != nil {
			return err
		}
		e, err := tx.Get(certKey)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil {
			if a.cert, err = x509.ParseCertificate(e.Value); err != nil {
				return fmt.Errorf("the stored certificate: %w", err)
			}
			if now().Before(a.cert.NotAfter.Add(-rootRenewal)) {
				return nil
			}
		}
		if a.cert, err = issueRoot(a.key, cloud.Domain, permitted, now()); err != nil {
			return err
		}
		tx.Put(certKey, a.cert.Raw)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the certificate authority: %w", err)
	}

	d := azure.Fold(cloud.Domain)
	a.own = leaf{
		names: []string{d, "*." + d, "*.vault." + d},
		ips:   loopback(),
	}
	for _, name := range cloud.Aliases {
		a.aliases = append(a.aliases, &leaf{names: []string{name}})
	}
	return a, nil
}

// permittedNames are the root's name constraints: each permits itself and what
// is below it.
func permittedNames(cloud azure.Cloud) []string {
	names := []string{azure.Fold(cloud.Domain)}
	for _, name := range cloud.Aliases {
		names = append(names, strings.TrimPrefix(name, "*."))
	}
	return names
}

func loopback() []net.IP { return []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback} }

// rootKey reads the root's key in the transaction, or makes it.
func rootKey(st *store.Store, tx *store.Tx) (*ecdsa.PrivateKey, error) {
	e, err := tx.Get(authorityKey)
	switch {
	case errors.Is(err, store.ErrNotFound):
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, tx.PutSealed(authorityKey, der)
	case err != nil:
		return nil, err
	}
	der, err := st.Unseal(e)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("the stored key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the stored key is a %T", parsed)
	}
	return key, nil
}

// issueRoot signs the root's certificate. Besides the names, it may vouch for
// servers alone (extended key usage) and for no further authority (path length).
func issueRoot(key *ecdsa.PrivateKey, domain string, permitted []string, now time.Time) (*x509.Certificate, error) {
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber: serial(),
		// The key's digest keeps the authorities of different clouds apart in
		// clients that look issuers up by subject.
		Subject: pkix.Name{
			Organization: []string{"Lanyard"},
			CommonName:   fmt.Sprintf("Lanyard CA of %s %x", domain, id[:4]),
		},
		SubjectKeyId:                id[:20],
		NotBefore:                   now.Add(-clockSkew),
		NotAfter:                    now.Add(rootLifetime),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         permitted,
	}
	for _, ip := range loopback() {
		bits := 8 * len(ip)
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func serial() *big.Int {
	// 127 random bits: positive, and within the 20 octets that RFC 5280 allows.
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	return n.Add(n, big.NewInt(1))
}

// PEM is the root's certificate.
func (a *authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// GetCertificate is for tls.Config. A name that is no alias gets the
// certificate of the domain: the client then says what does not fit.
func (a *authority) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hostname(hello.ServerName)
	for _, l := range a.aliases {
		if matches(l.names[0], name) {
			return l.get(a)
		}
	}
	return a.own.get(a)
}

// matches compares a host name with a certificate's name: a wildcard stands
// for one label.
func matches(pattern, name string) bool {
	parent, wild := strings.CutPrefix(pattern, "*")
	if !wild {
		return name == pattern
	}
	i := strings.IndexByte(name, '.')
	return i > 0 && name[i:] == parent
}

// get gives the leaf's certificate, and issues it when there is none or it is
// getting old.
func (l *leaf) get(a *authority) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := a.now()
	if c := l.cert; c != nil && now.Before(c.Leaf.NotAfter.Add(-leafLifetime/3)) && now.After(c.Leaf.NotBefore) {
		return c, nil
	}
	cert, err := a.issue(l.names, l.ips, now)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate for %s: %w", l.names[0], err)
	}
	l.cert = cert
	return cert, nil
}

// issue signs a leaf certificate with a new key.
func (a *authority) issue(names []string, ips []net.IP, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(leafLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     names,
		IPAddresses:  ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, nil
}
