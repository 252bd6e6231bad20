package entra_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// Beside the token requests stand what they cannot be faster than: the one RSA
// signature, and a handler that only reads the form and echoes it.

func BenchmarkSignature(b *testing.B) {
	key := testKeys()[0]
	sum := sha256.Sum256([]byte("token"))
	for b.Loop() {
		if _, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEcho(b *testing.B) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})
	benchmarkPost(b, echo, url.Values{"client_id": {contoso}, "client_secret": {strings.Repeat("x", 40)}})
}

func BenchmarkTokenSecret(b *testing.B) {
	c := newCloud(b, options{now: time.Now()})
	benchmarkPost(b, c.handler, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.app.AppID}, "client_secret": {c.appSecret},
		"scope": {management + "/.default"},
	})
}

// BenchmarkTokenFederated has the issuer's keys in memory, as every request but
// the first has.
func BenchmarkTokenFederated(b *testing.B) {
	c := newCloud(b, options{now: time.Now()})
	benchmarkPost(b, c.handler, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.mi.AppID}, "scope": {management + "/.default"},
		"client_assertion":      {c.assertion(b, "valid")},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
}

func BenchmarkTokenCertificate(b *testing.B) {
	c := newCloud(b, options{now: time.Now()})
	benchmarkPost(b, c.handler, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.signer.AppID}, "scope": {management + "/.default"},
		"client_assertion":      {c.assertion(b, "certificate-go")},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
}

func BenchmarkTokenRefused(b *testing.B) {
	c := newCloud(b, options{now: time.Now()})
	post := newPost(b, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.mi.AppID}, "scope": {management + "/.default"},
		"client_assertion":      {c.assertion(b, "subject-other")},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
	for b.Loop() {
		if a := post(c.handler); a.Status != http.StatusUnauthorized {
			b.Fatal(a.Body)
		}
	}
}

// newPost gives what sends a form to a handler, again and again.
func newPost(b *testing.B, form url.Values) func(http.Handler) cloudtest.Answer {
	b.Helper()
	body := form.Encode()
	return func(handler http.Handler) cloudtest.Answer {
		return cloudtest.Send(handler, formRequest(b, "/"+contoso+"/oauth2/v2.0/token", body))
	}
}

func benchmarkPost(b *testing.B, handler http.Handler, form url.Values) {
	b.Helper()
	post := newPost(b, form)
	b.ReportAllocs()
	for b.Loop() {
		if a := post(handler); a.Status != http.StatusOK {
			b.Fatal(a.Body)
		}
	}
}
