package lanyardtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/lanyard-id/lanyard/internal/token"
)

// issuerAddress is where the cloud's issuers listen.
const issuerAddress = "127.0.0.1"

// TokenExchangeAudience is the audience that a federated credential expects of
// the tokens it trusts, and that service-account tokens have by default.
const TokenExchangeAudience = "api://AzureADTokenExchange" //nolint:gosec // a public name

// Issuer is an issuer of service-account tokens, as a Kubernetes cluster has one:
// it publishes its discovery document and its keys, which the cloud fetches.
type Issuer struct {
	// Name is the name that it was made with.
	Name string
	// URL is the issuer of its tokens, to be named by federated credentials.
	URL string

	cloud  *Cloud
	signer *token.ServiceAccountSigner
}

// issuers serves the documents of a cloud's issuers, on a listener of their own
// that is opened for the first.
type issuers struct {
	certificate tls.Certificate

	mu     sync.Mutex
	mux    *http.ServeMux
	server *http.Server
	base   string
	served chan error
	byName map[string]*Issuer
}

// certify makes the certificate of the issuers' listener, and gives it as PEM to
// be trusted. It is judged by the computer's clock and is valid on any date, for
// it ends with the test.
func (s *issuers) certify() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lanyardtest issuers"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses: []net.IP{net.ParseIP(issuerAddress)}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the issuers' certificate: %w", err)
	}
	s.certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// open opens the listener unless it is open. s.mu is held.
func (s *issuers) open() error {
	if s.server != nil {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(issuerAddress, "0"))
	if err != nil {
		return err
	}
	s.mux, s.byName, s.served = http.NewServeMux(), map[string]*Issuer{}, make(chan error, 1)
	s.base = "https://" + l.Addr().String()
	s.server = &http.Server{
		Handler: s.mux, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.certificate}, MinVersion: tls.VersionTLS12},
	}
	go func() { s.served <- s.server.ServeTLS(l, "", "") }()
	return nil
}

// close stops serving.
func (s *issuers) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	err := s.server.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Issuer makes an issuer of service-account tokens with a key of its own, which
// takes some tens of milliseconds. The cloud reaches it and trusts its TLS; whom
// it vouches for is a matter of [Cloud.Federate]. The same name gives the same
// issuer.
func (c *Cloud) Issuer(t testing.TB, name string) *Issuer {
	t.Helper()
	i, err := c.issuers.issuer(c, name)
	if err != nil {
		t.Fatalf("lanyardtest: making the issuer %s: %v", name, err)
	}
	return i
}

func (s *issuers) issuer(c *Cloud, name string) (*Issuer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return nil, err
	}
	if i, ok := s.byName[name]; ok {
		return i, nil
	}
	i := &Issuer{Name: name, URL: s.base + "/" + url.PathEscape(name), cloud: c}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if i.signer, err = token.NewServiceAccountSigner(i.URL, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, err
	}
	keys, err := i.signer.JWKS()
	if err != nil {
		return nil, err
	}
	discovery, err := json.Marshal(map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/openid/v1/jwks",
		"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
	if err != nil {
		return nil, err
	}
	for path, document := range map[string][]byte{"/.well-known/openid-configuration": discovery, "/openid/v1/jwks": keys} {
		s.mux.HandleFunc("GET /"+url.PathEscape(name)+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(document)
		})
	}
	s.byName[name] = i
	return i, nil
}

// Federate makes an identity trust a subject of an issuer, such as
// "system:serviceaccount:{namespace}:{name}", and returns the federated
// credential's resource ID. It works when Federate returns.
func (c *Cloud) Federate(t testing.TB, identity Identity, issuer *Issuer, subject string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(issuer.URL + "|" + subject))
	id := identity.ResourceID + "/federatedIdentityCredentials/" + hex.EncodeToString(sum[:8])
	// Azure refuses to write two credentials of an identity at once.
	c.federated.Lock()
	defer c.federated.Unlock()
	c.put(t, id, identitiesVersion, map[string]any{"properties": map[string]any{
		"issuer": issuer.URL, "subject": subject, "audiences": []string{TokenExchangeAudience},
	}}, nil)
	return id
}

// TokenOption changes a service-account token.
type TokenOption func(*tokenOptions)

type tokenOptions struct {
	audience string
	lifetime time.Duration
}

// WithAudience makes a token for another audience. Default:
// [TokenExchangeAudience].
func WithAudience(audience string) TokenOption {
	return func(o *tokenOptions) { o.audience = audience }
}

// WithLifetime makes a token of another lifetime than an hour, counted from the
// cloud's present time. For one that has expired, [Cloud.Advance] the clock.
func WithLifetime(d time.Duration) TokenOption { return func(o *tokenOptions) { o.lifetime = d } }

// sign makes a token at the cloud's present time.
func (i *Issuer) sign(namespace, name string, opts []TokenOption) (string, error) {
	o := tokenOptions{audience: TokenExchangeAudience, lifetime: time.Hour}
	for _, option := range opts {
		option(&o)
	}
	return i.signer.Token(namespace, name, o.audience, i.cloud.Now(), o.lifetime)
}

// ServiceAccountToken makes a token of a Kubernetes service account, as the
// cluster's API server would project it into a pod. The subject is
// "system:serviceaccount:{namespace}:{name}".
func (i *Issuer) ServiceAccountToken(t testing.TB, namespace, name string, opts ...TokenOption) string {
	t.Helper()
	raw, err := i.sign(namespace, name, opts)
	if err != nil {
		t.Fatalf("lanyardtest: signing a token of %s/%s: %v", namespace, name, err)
	}
	return raw
}

// ServiceAccountTokenFile puts a token where a pod would find it: in a file, for
// azidentity.WorkloadIdentityCredentialOptions.TokenFilePath. The file is removed
// when the test ends.
func (i *Issuer) ServiceAccountTokenFile(t testing.TB, namespace, name string, opts ...TokenOption) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "azure-identity-token")
	if err := os.WriteFile(file, []byte(i.ServiceAccountToken(t, namespace, name, opts...)), 0o600); err != nil {
		t.Fatalf("lanyardtest: writing a token: %v", err)
	}
	return file
}

// WorkloadCredential gives the credential of a pod that runs under a service
// account and asks to be the identity: it signs in by a fresh service-account
// token each time. Without [Cloud.Federate] the token service refuses it. Every
// call gives one without any token yet.
func (i Identity) WorkloadCredential(issuer *Issuer, namespace, name string, opts ...TokenOption) azcore.TokenCredential {
	return i.cloud.newCredential(i.ClientID, func(_ context.Context, form url.Values) error {
		assertion, err := issuer.sign(namespace, name, opts)
		if err != nil {
			return err
		}
		form.Set("grant_type", "client_credentials")
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
		return nil
	})
}
