package entra

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/token"
)

// maxClientAssertion is the longest life of an assertion that a client makes for
// itself. Whoever sees it can use it until it ends.
const maxClientAssertion = 24 * time.Hour

// checkCertificate proves an application by an assertion of its own, signed with
// the private key of one of its certificates (private_key_jwt). Nothing that the
// assertion brings along is trusted: its header names a registered certificate,
// and the key is that one's. An x5c header is passed over, so that there is no
// trust by a certificate's subject and issuer either.
func (h *Handler) checkCertificate(x *exchange, a *token.Assertion) *azure.Error {
	switch {
	case !azure.EqualFold(a.Issuer, x.clientID):
		return errCertificateClient.new()
	case !azure.EqualFold(a.Subject, a.Issuer):
		return errCertificateSubject.new()
	case len(a.Audience) != 1 || !h.isOwnEndpoint(x, a.Audience[0]):
		return h.withHint(errCertificateAudience.new(), fmt.Sprintf("It must be this tenant's token endpoint, such as %s/%s/oauth2/v2.0/token.",
			h.cloud.ActiveDirectory(), x.tenant.ID))
	}
	name, ok := certificateName(a)
	if !ok {
		return errCertificateUnnamed.new()
	}
	x.note("assertionThumbprint", name.String())
	c, e := h.signer(x, a, name)
	if e != nil {
		return e
	}
	now := h.now()
	if e := checkTimes(a, now); e != nil {
		return e
	}
	begins := beginning(a)
	if begins.IsZero() {
		begins = now
	}
	if a.Expiry.Sub(begins) > maxClientAssertion {
		return h.withHint(outOfTime(a, now), "It must not last longer than 24 hours.")
	}
	x.proof.acr, x.proof.name = token.ACRCertificate, c.KeyID
	return nil
}

// signer gives the registered certificate that the assertion names and whose key
// signed it.
func (h *Handler) signer(x *exchange, a *token.Assertion, name thumbprint) (directory.Certificate, *azure.Error) {
	var none directory.Certificate
	var named []directory.Certificate
	app := x.client.Application // nil for a managed identity, which has no certificates
	if app != nil && name.size == len(name.sum) {
		named = app.CertificatesByThumbprint(name.sum)
	}
	if len(named) == 0 {
		return none, unusable(x, registered(app), "The certificate with identifier used to sign the client assertion is not registered on application.",
			"The key was not found.", name, nil)
	}
	now := h.now()
	var refused *azure.Error
	for _, c := range named {
		if now.Before(c.Start) || !now.Before(c.End) {
			refused = unusable(x, fmt.Errorf("the key credential %s is not valid now", c.KeyID), "The certificate with identifier used to sign the client assertion is expired on application.",
				"The key used is expired.", name, &c)
			continue
		}
		key, err := c.PublicKey()
		if err != nil {
			return none, errInternal.because(err)
		}
		err = a.VerifyKey(key)
		if err == nil {
			return c, nil
		}
		if _, ok := errors.AsType[*token.KeyMismatchError](err); ok {
			refused = errCertificateAlgorithm.because(err)
			continue
		}
		refused = unusable(x, err, "Client assertion failed signature validation.",
			"The provided signature value did not match the expected signature value.", name, &c)
	}
	return none, refused
}

// unusable is the error of an assertion that none of the client's certificates
// vouches for. found is the one that it names.
func unusable(x *exchange, cause error, lead, reason string, name thumbprint, found *directory.Certificate) *azure.Error {
	parts := []string{reason}
	if len(name.sum) > 0 {
		parts = append(parts, "Thumbprint of key used by client: '"+name.String()+"'")
	}
	if found != nil {
		const date = "01/02/2006 15:04:05"
		parts = append(parts, "Found key 'Start="+found.Start.Format(date)+", End="+found.End.Format(date)+"'")
	}
	parts = append(parts, "Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '"+x.clientID+"'.")
	return errAssertionSignature.because(cause, lead, strings.Join(parts, ", "))
}

// registered lists, for the record, the thumbprints of an application's
// certificates.
func registered(app *directory.Application) error {
	if app == nil {
		return errors.New("a managed identity has no certificates")
	}
	var all []string
	for _, c := range app.Certificates {
		sum := c.SHA1()
		all = append(all, strings.ToUpper(hex.EncodeToString(sum[:])))
	}
	if len(all) == 0 {
		return errors.New("the application has no certificates")
	}
	return errors.New("the application's certificates are " + strings.Join(all, ", "))
}

// thumbprint is how an assertion names its certificate.
type thumbprint struct {
	// sum is what the header says, decoded; empty if it is no thumbprint.
	sum []byte
	// size is how long such a thumbprint must be.
	size int
}

// String is the thumbprint as Azure's users know it.
func (t thumbprint) String() string { return strings.ToUpper(hex.EncodeToString(t.sum)) }

// certificateName reads the header's x5t#S256, x5t or kid, the first of them that
// is there: the SHA-256 thumbprint of the certificate, its SHA-1 thumbprint, or
// that as the key's name.
//
// They should be base64url. MSAL for Go sends the standard alphabet with padding,
// other clients base64url with padding, and some a kid in hexadecimal; none of it
// can be mistaken for another certificate's name.
func certificateName(a *token.Assertion) (thumbprint, bool) {
	const sha1Size, sha256Size = 20, 32
	switch {
	case a.X5TS256 != "":
		return thumbprint{decodeThumbprint(a.X5TS256), sha256Size}, true
	case a.X5T != "":
		return thumbprint{decodeThumbprint(a.X5T), sha1Size}, true
	case a.KeyID != "":
		if len(a.KeyID) == hex.EncodedLen(sha1Size) {
			if sum, err := hex.DecodeString(a.KeyID); err == nil {
				return thumbprint{sum, sha1Size}, true
			}
		}
		return thumbprint{decodeThumbprint(a.KeyID), sha1Size}, true
	default:
		return thumbprint{}, false
	}
}

// decodeThumbprint decodes base64 of either alphabet, padded or not; nothing
// else has a result.
func decodeThumbprint(s string) []byte {
	if strings.ContainsAny(s, "\r\n") { // which the decoder passes over
		return nil
	}
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	sum, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil
	}
	return sum
}

// isOwnEndpoint reports whether an assertion's audience is this service for the
// request's tenant: one of its token endpoints or its issuer, in version 1, 2 or
// AD FS form, under any host of this service, with the tenant's identifier or one
// of its domains.
func (h *Handler) isOwnEndpoint(x *exchange, audience string) bool {
	u, err := url.Parse(audience)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || !h.isOwnHost(x, u.Host) {
		return false
	}
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	switch strings.TrimSuffix(rest, "/") {
	case "", "v2.0", "oauth2/token", "oauth2/v2.0/token":
	default:
		return false
	}
	tenant = azure.Fold(tenant)
	if tenant == adfs {
		own, e := h.adfsTenant()
		return e == nil && own.ID == x.tenant.ID
	}
	return tenant == x.tenant.ID || slices.Contains(x.tenant.Domains, tenant)
}

// isOwnHost reports whether a host is one of this service's. The port is the one
// that the service knows or the one by which the client came, which need not be
// the same where ports are mapped. An alias may have any.
func (h *Handler) isOwnHost(x *exchange, host string) bool {
	for _, known := range h.hosts {
		switch name := withoutPort(known); {
		case azure.EqualFold(host, known),
			azure.EqualFold(withoutPort(host), name) && (name == known || azure.EqualFold(host, x.host)):
			return true
		}
	}
	return false
}
