package graph

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// keyCredential is a certificate as clients write it.
type keyCredential struct {
	KeyID       string `json:"keyId"`
	DisplayName string `json:"displayName"`
	Type        string `json:"type"`
	Usage       string `json:"usage"`
	// Key is the certificate in base64; empty for one that is registered already.
	Key string `json:"key"`
	period
}

// keyWrite is the property keyCredentials of a write; nil: not given. It lists
// all that the application is to have.
type keyWrite struct{ credentials []keyCredential }

// The only type and usage: a certificate that verifies the client's assertions.
const (
	keyType  = "AsymmetricX509Cert"
	keyUsage = "Verify"
)

func takeKeys(b body) (*keyWrite, error) {
	if !b.has("keyCredentials") {
		return nil, nil
	}
	w := &keyWrite{}
	if _, err := b.takeInto(applicationKind.resource, "keyCredentials", &w.credentials); err != nil {
		return nil, err
	}
	for _, c := range w.credentials {
		if c.Type != "" && c.Type != keyType || c.Usage != "" && c.Usage != keyUsage {
			return nil, invalidValue("keyCredentials", applicationKind.resource,
				"Only certificates of the type "+keyType+" with the usage "+keyUsage+" are possible.")
		}
	}
	return w, nil
}

// keep leaves an application those of its certificates that the write names.
func (w *keyWrite) keep(app *directory.Application) error {
	if w == nil {
		return nil
	}
	app.Certificates = slices.DeleteFunc(app.Certificates, func(have directory.Certificate) bool {
		return !slices.ContainsFunc(w.credentials, func(c keyCredential) bool { return azure.EqualFold(c.KeyID, have.KeyID) })
	})
	return nil
}

// addKeys registers the certificates of the write that the application does not
// have. A registered one cannot become another under its key ID.
func (h *Handler) addKeys(tx *store.Tx, app directory.Application, w *keyWrite) error {
	if w == nil {
		return nil
	}
	for _, c := range w.credentials {
		der, err := decodeKey(c.Key)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(app.Certificates, func(have directory.Certificate) bool { return azure.EqualFold(c.KeyID, have.KeyID) })
		switch {
		case i >= 0 && (len(der) == 0 || bytes.Equal(der, app.Certificates[i].DER)):
			continue
		case i >= 0:
			return invalidValue("keyCredentials", applicationKind.resource, "The key credential '"+c.KeyID+"' cannot be changed.")
		case len(der) == 0:
			return invalidValue("keyCredentials", applicationKind.resource, "The property 'key' of a new key credential must be given.")
		}
		_, err = h.cfg.Directory.AddCertificate(tx, app.TenantID, app.AppID, directory.Certificate{
			KeyID: c.KeyID, DisplayName: c.DisplayName, DER: der, Start: c.Start, End: c.End,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeKey reads base64 in both of its alphabets, padded or not.
func decodeKey(text string) ([]byte, error) {
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", "\r", "", "\n", "").Replace(text), "=")
	der, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalidValue("keyCredentials", applicationKind.resource, "The property 'key' is not base64.")
	}
	return der, nil
}

// showCertificates gives the certificates without themselves, as Graph lists
// them: the thumbprint tells which is which.
func showCertificates(certificates []directory.Certificate) []entity {
	shown := []entity{}
	for _, c := range certificates {
		thumbprint := c.SHA1()
		shown = append(shown, entity{
			"customKeyIdentifier": strings.ToUpper(hex.EncodeToString(thumbprint[:])), "displayName": orNull(c.DisplayName),
			"key": nil, "keyId": c.KeyID, "type": keyType, "usage": keyUsage,
			"startDateTime": instant(c.Start), "endDateTime": instant(c.End),
		})
	}
	return shown
}
