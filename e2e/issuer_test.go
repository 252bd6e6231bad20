package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const exchangeAudience = "api://AzureADTokenExchange"

// issuer is a server with several issuers below its address, one for each path
// /{name}, as many clusters: each has its own key and publishes its documents.
type issuer struct {
	base        string
	certificate []byte
	server      *http.Server
	keys        map[string]*rsa.PrivateKey
}

// clusterNames are the issuers; "other" is a second cluster, for the tests that
// present its tokens where they must not count.
var clusterNames = []string{"main", "other"}

func startIssuer() (*issuer, error) {
	i := &issuer{keys: map[string]*rsa.PrivateKey{}}
	mux := http.NewServeMux()
	for _, name := range clusterNames {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		i.keys[name] = key
		mux.HandleFunc("GET /"+name+"/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, map[string]any{
				"issuer": i.url(name), "jwks_uri": i.url(name) + "/openid/v1/jwks",
				"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
				"id_token_signing_alg_values_supported": []string{"RS256"},
			})
		})
		mux.HandleFunc("GET /"+name+"/openid/v1/jwks", func(w http.ResponseWriter, _ *http.Request) {
			// Under a name of its own, and under the one that Kubernetes gives it.
			writeJSON(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
				{Key: key.Public(), KeyID: name, Algorithm: "RS256", Use: "sig"},
				{Key: key.Public(), KeyID: kubernetesKeyID(&key.PublicKey), Algorithm: "RS256", Use: "sig"},
			}})
		})
	}
	certificate, chain, err := selfSigned()
	if err != nil {
		return nil, err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, err
	}
	i.base, i.certificate = "https://"+listener.Addr().String(), chain
	i.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = i.server.Serve(listener) }()
	return i, nil
}

// kubernetesKeyID names a key as an API server does.
func kubernetesKeyID(key *rsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// keyFile writes a cluster's private key, as an API server's
// --service-account-signing-key-file holds it.
func (i *issuer) keyFile(t *testing.T, cluster string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sa.key")
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(i.keys[cluster])}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (i *issuer) close() { _ = i.server.Close() }

func (i *issuer) url(name string) string { return i.base + "/" + name }

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// assertion is a service-account token and how it departs from a good one.
type assertion struct {
	cluster  string // default "main": the key that signs
	issuer   string // default: the cluster's own
	subject  string
	audience string // default: the exchange audience
	lifetime time.Duration
	pod      string // that the token is bound to; none when empty
}

func (i *issuer) sign(t *testing.T, a assertion) string {
	t.Helper()
	if a.cluster == "" {
		a.cluster = "main"
	}
	if a.issuer == "" {
		a.issuer = i.url(a.cluster)
	}
	if a.audience == "" {
		a.audience = exchangeAudience
	}
	if a.lifetime == 0 {
		a.lifetime = time.Hour
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.keys[a.cluster], KeyID: a.cluster}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	issued := time.Now().Add(min(0, a.lifetime-time.Hour))
	claims := map[string]any{
		"iss": a.issuer, "sub": a.subject, "aud": []string{a.audience},
		"iat": issued.Unix(), "nbf": issued.Unix(), "exp": time.Now().Add(a.lifetime).Unix(),
	}
	if a.pod != "" {
		claims["kubernetes.io"] = map[string]any{"pod": map[string]any{"name": a.pod, "uid": "u-" + a.pod}}
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// tokenFile writes the assertion where a pod would find it.
func (i *issuer) tokenFile(t *testing.T, a assertion) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "azure-identity-token")
	if err := os.WriteFile(file, []byte(i.sign(t, a)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func subjectOf(t *testing.T) string {
	t.Helper()
	return "system:serviceaccount:e2e:" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
}

func selfSigned() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "e2e clusters"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
