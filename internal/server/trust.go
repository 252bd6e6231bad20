package server

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
)

// File names in the data directory.
const (
	caFileName     = "ca.pem"
	bundleFileName = "ca-bundle.pem"
)

// systemBundles are where systems keep the authorities that they trust, in one
// PEM file: Debian and Alpine, Fedora, openSUSE, and the BSDs and macOS.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// BundleFile is the file beside an environment's CA file that holds the
// system's authorities and the cloud's own. Programs whose variable replaces
// the authorities they trust (SSL_CERT_FILE, REQUESTS_CA_BUNDLE) are given this
// one, so that their other connections go on working.
func BundleFile(caFile string) string { return filepath.Join(filepath.Dir(caFile), bundleFileName) }

// writeTrust writes the CA certificate and the bundle to the data directory and
// gives the CA certificate's path. Neither is secret.
func writeTrust(dir string, ca []byte) (caFile string, err error) {
	caFile = filepath.Join(dir, caFileName)
	if err := atomicfile.Write(caFile, ca, 0o644); err != nil {
		return "", err
	}
	bundle := BundleFile(caFile)
	system, err := systemAuthorities(bundle)
	if err != nil {
		return "", err
	}
	if len(system) > 0 && !bytes.HasSuffix(system, []byte("\n")) {
		system = append(system, '\n')
	}
	return caFile, atomicfile.Write(bundle, append(system, ca...), 0o644)
}

// systemAuthorities reads what this process's environment trusts: SSL_CERT_FILE,
// unless that is the bundle itself from an earlier run, or the system's file. It
// gives nothing where the system has no such file.
func systemAuthorities(bundle string) ([]byte, error) {
	files := systemBundles
	if f := os.Getenv("SSL_CERT_FILE"); f != "" && f != bundle {
		files = append([]string{f}, files...)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading the system's authorities: %w", err)
		}
	}
	return nil, nil
}
