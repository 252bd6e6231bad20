package token

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID = "11111111-1111-1111-1111-111111111111"
	objectID = "22222222-2222-2222-2222-222222222222"
	clientID = "33333333-3333-3333-3333-333333333333"
)

var cloud = azure.Cloud{Domain: "lanyard.test", Port: 8443}

// discardLog silences servers whose clients break off on purpose.
var discardLog = log.New(io.Discard, "", 0)

func openStore(t testing.TB, dir string, sealing byte) *store.Store {
	t.Helper()
	ring, err := store.NewKeyring(bytes.Repeat([]byte{sealing}, 32))
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{Dir: dir, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func openKeys(t testing.TB, st *store.Store, now func() time.Time) *Keys {
	t.Helper()
	k, err := OpenKeys(t.Context(), st, now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newKeys opens keys on a store of the test's own.
func newKeys(t testing.TB) (*Keys, *standin.Clock) {
	t.Helper()
	c := standin.NewClock(standin.Start)
	return openKeys(t, openStore(t, t.TempDir(), 1), c.Now), c
}

// appClaims are a managed identity's version 1.0 claims for Resource Manager.
func appClaims(c *standin.Clock) Claims {
	now := c.Now().Unix()
	return Claims{
		Audience: "https://management.azure.com/", Issuer: cloud.IssuerV1(tenantID),
		IssuedAt: now, Expiry: now + 3600, Version: Version1,
		TenantID: tenantID, ObjectID: objectID, AppID: clientID,
		AppIDACR: ACRCertificate, IDType: IDTypeApp,
	}
}

func mint(t testing.TB, k *Keys, c Claims) string {
	t.Helper()
	raw, err := k.Mint(c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// decode gives a token's header and claims.
func decode(t testing.TB, raw string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(raw, ".")
	for i, to := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, to); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// rsaKey gives the n-th key of the tests, made once for all of them.
func rsaKey(n int) *rsa.PrivateKey { return rsaKeys[n]() }

var rsaKeys = []func() *rsa.PrivateKey{makeKey(2048), makeKey(2048), makeKey(1024)}

func makeKey(bits int) func() *rsa.PrivateKey {
	return sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return key
	})
}

// private gives the private key behind a published one.
func private(t testing.TB, k *Keys, id string) *rsa.PrivateKey {
	t.Helper()
	e, err := k.st.Get(t.Context(), keyPrefix+id)
	if err != nil {
		t.Fatal(err)
	}
	r, err := readRecord(k.st, e)
	if err != nil {
		t.Fatal(err)
	}
	key, err := parsePrivate(r)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// forge signs any header and payload, with RS256 whatever the header says.
func forge(t testing.TB, key *rsa.PrivateKey, header, payload any) string {
	t.Helper()
	return signRS256(t, key, segment(t, header)+"."+segment(t, payload))
}

func segment(t testing.TB, v any) string {
	t.Helper()
	text, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

func signRS256(t testing.TB, key *rsa.PrivateKey, input string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}
