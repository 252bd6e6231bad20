package token

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// InspectConfig says how [Inspect] reaches an issuer.
type InspectConfig struct {
	// Allow and CAs are as in [IssuersConfig].
	Allow []netip.Prefix
	CAs   *x509.CertPool
	// Client, where it is set, is the way to the issuer in the place of both: that
	// to the own cloud, whose names need not resolve here.
	Client *http.Client
}

// Inspection is what an issuer publishes, read by the steps, and within the
// limits, by which [Issuers] reads it: as far as they led.
type Inspection struct {
	// Issuer is the URL that was asked about.
	Issuer string
	// Discovery and KeySet are the two documents.
	Discovery, KeySet InspectedDocument
	// StatedIssuer and KeysURL are the discovery document's issuer and jwks_uri,
	// Algorithms its id_token_signing_alg_values_supported; empty when absent or
	// not reached.
	StatedIssuer, KeysURL string
	Algorithms            []string
	// Keys are the published keys, usable or not; nil when not reached.
	Keys []IssuerKey
	// KeptFor is for how long the keys are kept before they are read again.
	KeptFor time.Duration
	// Err is why no token of the issuer is accepted, as [Issuers] would say it;
	// nil when the keys can be had and at least one of them counts.
	Err error
}

// InspectedDocument is one of an issuer's documents.
type InspectedDocument struct {
	// URL is empty when it is not known.
	URL string
	// Answered says that a server answered, be it with an error.
	Answered bool
	// Bytes is the length of the document.
	Bytes int
	// ContentType and CacheControl are the answer's headers.
	ContentType, CacheControl string
	// PublicAddress says that the server was reached at a public address, as the
	// internet could reach it.
	PublicAddress bool
	// PublicAuthority says that the server's certificate is by an authority that
	// this machine's system trusts, and NotAfter when it ends.
	PublicAuthority bool
	NotAfter        time.Time
}

// Inspect reads what an issuer publishes, once. What is wrong with it is told by
// the result, [Inspection.Err] above all.
func Inspect(ctx context.Context, cfg InspectConfig, issuer string) *Inspection {
	client := cfg.Client
	if client == nil {
		client = newClient(cfg.Allow, cfg.CAs)
	}
	p, err := read(ctx, client, issuer)
	i := &Inspection{
		Issuer: issuer, Discovery: p.discovery.inspected(), KeySet: p.keySet.inspected(),
		StatedIssuer: p.issuer, KeysURL: p.keysURL, Keys: p.keys, Err: err,
	}
	if json.Unmarshal(p.algorithms, &i.Algorithms) != nil {
		i.Algorithms = nil
	}
	if p.keySet.header != nil {
		i.KeptFor = lifetime(p.keySet.header)
	}
	if i.Err == nil {
		_, i.Err = usableKeys(p.keys)
	}
	return i
}

// KeyIDs gives the IDs of the keys that count.
func (i *Inspection) KeyIDs() []string {
	var ids []string
	for _, key := range i.Keys {
		if key.Unusable == nil && !slices.Contains(ids, key.ID) {
			ids = append(ids, key.ID)
		}
	}
	return ids
}

// Verify checks an assertion's signature, RS256 alone, with the keys that count.
// Times, issuer, subject and audience are the caller's to check. The error is as
// that of [Issuers.Verify].
func (i *Inspection) Verify(a *Assertion) error {
	if i.Err != nil {
		return &UnreachableError{Issuer: i.Issuer, Err: i.Err}
	}
	if a.Algorithm != RS256 {
		return &SignatureError{Issuer: a.Issuer, KeyID: a.KeyID, Algorithm: a.Algorithm, Err: errNotRS256}
	}
	keys, err := usableKeys(i.Keys)
	if err != nil {
		return &UnreachableError{Issuer: i.Issuer, Err: err}
	}
	return a.signedBy(keys)
}

func (d *document) inspected() InspectedDocument {
	i := InspectedDocument{
		URL: d.url, Answered: d.header != nil, Bytes: len(d.text),
		ContentType: d.header.Get("Content-Type"), CacheControl: d.header.Get("Cache-Control"),
	}
	if tcp, ok := d.peer.(*net.TCPAddr); ok {
		i.PublicAddress = checkAddress(tcp.AddrPort().Addr(), nil) == nil
	}
	if d.tls != nil && len(d.tls.PeerCertificates) > 0 {
		i.NotAfter = d.tls.PeerCertificates[0].NotAfter
		i.PublicAuthority = systemTrusts(d.tls.PeerCertificates)
	}
	return i
}

// systemTrusts reports whether the system's roots vouch for a chain whose name
// and dates were verified before.
func systemTrusts(chain []*x509.Certificate) bool {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Intermediates: between})
	return err == nil
}
