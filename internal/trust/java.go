package trust

import (
	"crypto/x509"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// JavaStore is a trust store (PKCS #12) of certificates, as every JDK from 8 on
// reads it, whether it is given a password or none: it is neither encrypted nor
// has it a MAC, since it holds public certificates alone. (Of one that is
// encrypted, Java without the password reads no certificate, and says nothing.)
// The same certificates make the same bytes.
func JavaStore(certificates []*x509.Certificate) ([]byte, error) {
	entries := make([]pkcs12.TrustStoreEntry, 0, len(certificates))
	for i, c := range certificates {
		// Java keeps one entry a name, and certificates may share a subject.
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: c, FriendlyName: fmt.Sprintf("%d %s", i, c.Subject)})
	}
	store, err := pkcs12.Passwordless.EncodeTrustStoreEntries(entries, "")
	if err != nil {
		return nil, fmt.Errorf("making a trust store for Java: %w", err)
	}
	return store, nil
}

// JavaOptions are the options by which a JVM takes a trust store in the place of
// its own.
func JavaOptions(file string) string {
	return "-Djavax.net.ssl.trustStore=" + file + " -Djavax.net.ssl.trustStoreType=PKCS12"
}
