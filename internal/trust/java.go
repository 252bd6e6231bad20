package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/rand/v2"

	"software.sslmate.com/src/go-pkcs12"
)

// JavaStorePassword protects the integrity of a trust store, which holds public
// certificates alone; it is what the JDK's own has.
const JavaStorePassword = "changeit"

// JavaStore is a trust store (PKCS #12) of certificates, as the JDK reads it from
// Java 12 on, and from the updates of July 2021 on before that. The same
// certificates make the same bytes: nothing in it is secret, so that its salts
// may follow from what it holds.
func JavaStore(certificates []*x509.Certificate) ([]byte, error) {
	entries := make([]pkcs12.TrustStoreEntry, 0, len(certificates))
	digest := sha256.New()
	for i, c := range certificates {
		// Java keeps one entry a name, and certificates may share a subject.
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: c, FriendlyName: fmt.Sprintf("%d %s", i, c.Subject)})
		digest.Write(c.Raw)
	}
	salts := rand.NewChaCha8([sha256.Size]byte(digest.Sum(nil)))
	store, err := pkcs12.Modern2023.WithRand(salts).EncodeTrustStoreEntries(entries, JavaStorePassword)
	if err != nil {
		return nil, fmt.Errorf("making a trust store for Java: %w", err)
	}
	return store, nil
}

// JavaOptions are the options by which a JVM takes a trust store in the place of
// its own.
func JavaOptions(file string) string {
	return "-Djavax.net.ssl.trustStore=" + file + " -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=" + JavaStorePassword
}
