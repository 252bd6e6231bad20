package token

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// Limits of one fetch of an issuer's keys: its two documents together.
const (
	fetchTimeout   = 10 * time.Second
	maxBodyBytes   = 1 << 20
	maxHeaderBytes = 64 << 10
	maxRedirects   = 3
	maxIssuerBytes = 2048
)

// newClient makes the client by which foreign issuers are reached. It speaks
// https alone, ignores the proxies of the environment (which would dial for it,
// unseen), keeps no cookies, and dials no address that is neither public nor
// allowed.
func newClient(allow []netip.Prefix, cas *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            guardedDialer(allow).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: cas, MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: maxHeaderBytes,
			MaxIdleConns:           16,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("it redirects more than %d times", maxRedirects)
			}
			if err := checkURL(req.URL); err != nil {
				return fmt.Errorf("it redirects to a URL that is refused: %w", err)
			}
			return nil
		},
	}
}

// checkURL refuses every URL that is not https with a host, or carries a user.
func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "https":
		return errors.New("it is not https")
	case u.Hostname() == "":
		return errors.New("it has no host")
	case u.User != nil:
		return errors.New("it contains a user name")
	}
	return nil
}

// CheckIssuerURL says why no token of an issuer of that URL is accepted: it is
// not https, has no host, has a user name, a query or a fragment, or is too long.
func CheckIssuerURL(issuer string) error {
	_, err := discoveryURL(issuer)
	return err
}

// discoveryURL gives the address of an issuer's discovery document. By OpenID
// Connect Discovery 1.0, section 4, a slash at the issuer's end is dropped.
func discoveryURL(issuer string) (string, error) {
	if len(issuer) > maxIssuerBytes {
		return "", errors.New("the issuer is too long")
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return "", errors.New("the issuer is not a URL")
	}
	if err := checkURL(u); err != nil {
		return "", fmt.Errorf("the issuer is not usable: %w", err)
	}
	if strings.ContainsAny(issuer, "?#") {
		return "", errors.New("the issuer has a query or a fragment")
	}
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration", nil
}

// fetchKeys reads an issuer's discovery document and its keys, and for how long
// they may be kept.
func fetchKeys(ctx context.Context, client *http.Client, issuer string) ([]foreignKey, time.Duration, error) {
	p, err := read(ctx, client, issuer)
	if err != nil {
		return nil, 0, err
	}
	keys, err := usableKeys(p.keys)
	if err != nil {
		return nil, 0, err
	}
	return keys, lifetime(p.keySet.header), nil
}

// publication is what an issuer publishes, as far as it could be read.
type publication struct {
	discovery document
	// issuer, keysURL and algorithms are what the discovery document says.
	issuer, keysURL string
	algorithms      json.RawMessage
	keySet          document
	keys            []IssuerKey
}

// document is a document as it was answered. Its header is nil when there was
// no answer.
type document struct {
	url    string
	text   []byte
	header http.Header
	tls    *tls.ConnectionState
	peer   net.Addr
}

// read reads an issuer's two documents, and stops at what makes them unusable.
func read(ctx context.Context, client *http.Client, issuer string) (p publication, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	defer client.CloseIdleConnections()
	if p.discovery.url, err = discoveryURL(issuer); err != nil {
		return p, err
	}
	if err := p.discovery.get(ctx, client); err != nil {
		return p, fmt.Errorf("reading the discovery document: %w", explain(err))
	}
	var doc struct {
		Issuer     string          `json:"issuer"`
		JWKSURI    string          `json:"jwks_uri"`
		Algorithms json.RawMessage `json:"id_token_signing_alg_values_supported"`
	}
	if err := json.Unmarshal(p.discovery.text, &doc); err != nil {
		return p, fmt.Errorf("the discovery document at %s is not JSON: %w", p.discovery.url, err)
	}
	p.issuer, p.keysURL, p.algorithms = doc.Issuer, doc.JWKSURI, doc.Algorithms
	if doc.Issuer != issuer {
		return p, fmt.Errorf("the discovery document at %s is of issuer %q", p.discovery.url, doc.Issuer)
	}
	keysAt, err := url.Parse(doc.JWKSURI)
	if err != nil {
		return p, errors.New("the discovery document's jwks_uri is not a URL")
	}
	if err := checkURL(keysAt); err != nil {
		return p, fmt.Errorf("the discovery document's jwks_uri is not usable: %w", err)
	}
	p.keySet.url = keysAt.String()
	if err := p.keySet.get(ctx, client); err != nil {
		return p, fmt.Errorf("reading the keys: %w", explain(err))
	}
	p.keys, err = judgeKeys(p.keySet.text)
	return p, err
}

// get reads the document at its URL.
func (d *document) get(ctx context.Context, client *http.Client) error {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { d.peer = c.Conn.RemoteAddr() }, // the last one's, after redirects
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	d.header, d.tls = resp.Header, resp.TLS
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers with status %d", d.url, resp.StatusCode)
	}
	if d.text, err = io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes+1)); err != nil {
		return fmt.Errorf("reading %s: %w", d.url, err)
	}
	if len(d.text) > maxBodyBytes {
		return fmt.Errorf("%s answers with more than 1 MiB", d.url)
	}
	return nil
}

// lifetime reads for how long keys may be kept.
func lifetime(head http.Header) time.Duration {
	ttl := keysUnstated
	for each := range strings.SplitSeq(strings.Join(head.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(each)), "=")
		switch name {
		case "no-store", "no-cache":
			return minKeysTTL
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				ttl = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(max(ttl, minKeysTTL), maxKeysTTL)
}

// explain adds to a failed fetch how the operator mends it, where that is
// known. Refused addresses say it themselves.
func explain(err error) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w; if the issuer's certificate is by an authority of your own, give its certificate with --issuer-ca FILE", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("it took longer than %s: %w", fetchTimeout, err)
	}
	return err
}
