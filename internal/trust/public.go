package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// PublicRoots are the public authorities of Mozilla's list, as the build of this
// program holds it. Those that the list trusts under a condition only ("nothing
// issued after a date") are left out: neither PEM nor a trust store can say it.
func PublicRoots() ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fmt.Errorf("reading the public authorities: %w", err)
		}
		roots = append(roots, certificate)
	}
	return roots, nil
}

// PublicRootsDigest tells lists of public authorities apart: another release of
// this program may hold another.
func PublicRootsDigest() [sha256.Size]byte {
	sum := sha256.New()
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			sum.Write(root.Certificate)
		}
	}
	return [sha256.Size]byte(sum.Sum(nil))
}
