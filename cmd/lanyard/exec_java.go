package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// javaTrustPassword protects the integrity of a trust store, which holds public
// certificates alone; it is what the JDK's own has.
const javaTrustPassword = "changeit"

// javaVariables have Java trust the certificates of a PEM bundle: the JDK reads
// no PEM and no environment variable but its options, so that the bundle goes
// into a trust store in dir, and options that the caller has set are kept.
func javaVariables(bundle, dir string, getenv func(string) string) ([]variable, error) {
	certificates, err := readCertificates(bundle)
	if err != nil {
		return nil, err
	}
	entries := make([]pkcs12.TrustStoreEntry, 0, len(certificates))
	for i, certificate := range certificates {
		// Java keeps one entry a name, and certificates may share a subject.
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: certificate, FriendlyName: fmt.Sprintf("%d %s", i, certificate.Subject)})
	}
	store, err := pkcs12.Modern.EncodeTrustStoreEntries(entries, javaTrustPassword)
	if err != nil {
		return nil, fmt.Errorf("making a trust store for Java: %w", err)
	}
	file := filepath.Join(dir, "truststore.p12")
	if err := os.WriteFile(file, store, 0o600); err != nil {
		return nil, err
	}
	options := "-Djavax.net.ssl.trustStore=" + file + " -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=" + javaTrustPassword
	return []variable{{"JAVA_TOOL_OPTIONS", strings.TrimSpace(getenv("JAVA_TOOL_OPTIONS") + " " + options)}}, nil
}

// readCertificates reads a PEM bundle, each certificate once.
func readCertificates(bundle string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(bundle)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out, nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // a system's bundle may hold what Go does not read
		}
		if !slices.ContainsFunc(out, certificate.Equal) {
			out = append(out, certificate)
		}
	}
}
