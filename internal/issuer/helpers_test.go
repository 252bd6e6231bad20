package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const issuerURL = "https://oidc.example/cluster"

// rsaKeys are made once for all tests.
var rsaKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, 3)
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

// publicKey gives the n-th key as a cluster publishes it.
func publicKey(t testing.TB, n int) token.VerificationKey {
	t.Helper()
	key, err := token.NewVerificationKey(rsaKeys()[n].Public())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ellipticKey(t *testing.T) (*ecdsa.PrivateKey, token.VerificationKey) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.NewVerificationKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return private, key
}

// privatePEM is the file that kubeadm would have of the n-th key.
func privatePEM(n int) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKeys()[n])})
}

func publicPEM(t *testing.T, n int) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(rsaKeys()[n].Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func documents(t *testing.T, url string, keys ...token.VerificationKey) Documents {
	t.Helper()
	d, err := NewDocuments(url, keys)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%v; want an error with %q", err, text)
	}
}
