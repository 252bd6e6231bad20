package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

const certificateBlock = "CERTIFICATE"

// Parse reads the certificates of a PEM text, each once, in their order. The
// error names those that cannot be read, or says that there is none; the others
// are given all the same, since a system's bundle may hold what Go does not read.
func Parse(text []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	var bad []error
	for at := 1; ; at++ {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != certificateBlock {
			bad = append(bad, fmt.Errorf("block %d is a %s, not a certificate", at, block.Type))
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			bad = append(bad, fmt.Errorf("block %d: %w", at, err))
		case !slices.ContainsFunc(found, certificate.Equal):
			found = append(found, certificate)
		}
	}
	if len(found) == 0 && len(bad) == 0 {
		bad = append(bad, errors.New("there is no certificate in it"))
	}
	return found, errors.Join(bad...)
}

// EncodePEM writes certificates as a PEM text.
func EncodePEM(certificates []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certificates {
		// Writing to memory does not fail.
		_ = pem.Encode(&out, &pem.Block{Type: certificateBlock, Bytes: c.Raw})
	}
	return out.Bytes()
}
