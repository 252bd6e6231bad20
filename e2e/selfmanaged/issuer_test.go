package selfmanaged

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lanyard-id/lanyard/e2e/cloudhost"
	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const audience = "api://AzureADTokenExchange"

// world is the one test's cluster, with a cloud and the issuer's web server beside
// it.
type world struct {
	t       *testing.T
	k       *kubetest.Cluster
	cloud   *cloudhost.Cloud
	dir     string
	issuer  string
	keys    string   // the key directory
	trust   []string // flags by which the issuer is reached
	current rotation
}

// rotation is what every step of "lanyard issuer rotate" prints.
type rotation struct {
	Keys []struct {
		KID   string
		Phase string
	}
	Flags struct{ KubeAPIServer []string }
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, k: kubetest.Start(t, kubetest.Options{}), dir: t.TempDir()}
	w.keys = filepath.Join(w.dir, "keys")
	host, err := w.k.Host("issuer")
	if err != nil {
		t.Fatal(err)
	}
	w.issuer = "https://" + netip.AddrPortFrom(host.Addr(), 8443).String() + "/prod"
	certificate, key := w.certificate(host.Addr())
	w.trust = []string{"--issuer-allow", host.Addr().String() + "/32", "--issuer-ca", certificate}
	w.cloud, err = cloudhost.Start(t.Context(), w.k, "../..", append([]string{"--clock"}, w.trust...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.cloud.Stop(); err != nil {
			t.Error(err)
		}
	})
	w.rotate("init", "--issuer", w.issuer, "--lead", "1s", "--max-token-lifetime", "10m")
	w.serve(host, certificate, key)
	return w
}

// certificate makes that of the issuer's web server, its own authority.
func (w *world) certificate(at netip.Addr) (certificate, key string) {
	w.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IPAddresses: []net.IP{at.AsSlice()}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		w.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	certificate, key = filepath.Join(w.dir, "tls.crt"), filepath.Join(w.dir, "tls.key")
	for file, block := range map[string]pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(&block), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return certificate, key
}

// serve has "lanyard issuer publish" serve the documents, and sees that it stops
// in order.
func (w *world) serve(host *kubetest.Host, certificate, key string) {
	w.t.Helper()
	cmd := host.Command(context.WithoutCancel(w.t.Context()), kubetest.GoProgram(w.t, "../..", "./cmd/lanyard"), "issuer", "publish", "--key-dir", w.keys,
		"--serve", "0.0.0.0:8443", "--tls-cert-file", certificate, "--tls-private-key-file", key)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			w.t.Errorf("lanyard issuer publish: %v\n%s", err, &said)
		}
	})
}

func (w *world) lanyard(args ...string) string {
	w.t.Helper()
	out, err := w.cloud.Lanyard(w.t.Context(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// refused wants a command to fail with a text.
func (w *world) refused(want string, args ...string) {
	w.t.Helper()
	if out, err := w.cloud.Lanyard(w.t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
		w.t.Errorf("lanyard %v: %v, want it refused with %q\n%s", args, err, want, out)
	}
}

// rotate takes a step.
func (w *world) rotate(step string, args ...string) {
	w.t.Helper()
	out := w.lanyard(append([]string{"issuer", "rotate", step, "--key-dir", w.keys, "-o", "json"}, args...)...)
	w.current = rotation{}
	if err := json.Unmarshal([]byte(out), &w.current); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
}

// kid is that of the key in a phase.
func (w *world) kid(phase string) string {
	w.t.Helper()
	for _, k := range w.current.Keys {
		if k.Phase == phase {
			return k.KID
		}
	}
	w.t.Fatalf("no key is %s: %+v", phase, w.current)
	return ""
}

// restart gives the API server the flags that the last step printed.
func (w *world) restart() {
	w.t.Helper()
	flags := map[string][]string{}
	for _, f := range w.current.Flags.KubeAPIServer {
		name, value, _ := strings.Cut(f, "=")
		flags[name] = append(flags[name], value)
	}
	err := w.k.RestartAPIServer(w.t.Context(), func(o *kubetest.APIServerOptions) {
		o.Issuers, o.JWKSURI = flags["--service-account-issuer"], flags["--service-account-jwks-uri"][0]
		o.SigningKey, o.Keys = flags["--service-account-signing-key-file"][0], flags["--service-account-key-file"]
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// check is "lanyard issuer check" with the cluster; it gives what is an error.
func (w *world) check() (errors []string, err error) {
	args := append([]string{"issuer", "check", "--kubeconfig", w.k.Kubeconfig, "-o", "json"}, w.trust...)
	out, err := w.cloud.Lanyard(w.t.Context(), args...)
	var said struct {
		Findings []struct{ Check, Severity, Message string }
	}
	if e := json.Unmarshal([]byte(out), &said); e != nil {
		w.t.Fatalf("%v: %s", e, out)
	}
	for _, f := range said.Findings {
		if f.Severity == "error" {
			errors = append(errors, f.Check+": "+f.Message)
		}
	}
	return errors, err
}

func (w *world) checks() {
	w.t.Helper()
	if errors, err := w.check(); err != nil {
		w.t.Errorf("lanyard issuer check: %v", errors)
	}
}

// token is one of the service account that the API server signs now.
func (w *world) token() string {
	w.t.Helper()
	out, err := w.k.Kubectl(w.t.Context(), "create", "token", "web", "--audience", audience, "--duration", "1h")
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// signedBy reads a token's kid.
func signedBy(t *testing.T, token string) string {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	var head struct{ KID string }
	if err := json.Unmarshal(text, &head); err != nil {
		t.Fatal(err)
	}
	return head.KID
}

// signIn has Azure's SDK, unmodified, become the application by a token.
func (w *world) signIn(clientID, token string) error {
	env := w.cloud.Env
	ca, err := os.ReadFile(env.CAFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	host := w.cloud.Host
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { // this process is not on the LAN
			return host.Dial(ctx, network, netip.AddrPortFrom(host.Addr(), 443).String())
		},
	}
	defer transport.CloseIdleConnections()
	credential, err := azidentity.NewClientAssertionCredential(env.TenantID, clientID,
		func(context.Context) (string, error) { return token, nil },
		&azidentity.ClientAssertionCredentialOptions{DisableInstanceDiscovery: true, ClientOptions: azcore.ClientOptions{
			Transport: &http.Client{Transport: transport},
			Cloud:     azcloud.Configuration{ActiveDirectoryAuthorityHost: env.Endpoints.ActiveDirectory},
		}})
	if err != nil {
		return err
	}
	_, err = credential.GetToken(w.t.Context(), policy.TokenRequestOptions{Scopes: []string{env.Endpoints.ResourceManager + "/.default"}})
	return err
}

// eventually waits for what the issuer's server takes up by itself.
func (w *world) eventually(what string, done func() (bool, any)) {
	w.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		yes, seen := done()
		if yes {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("waiting for %s: %v", what, seen)
		}
	}
}

// TestSelfManagedIssuer: the key of a self-managed cluster is replaced, and at no
// step is a workload's token refused, be it by the old key or the new.
func TestSelfManagedIssuer(t *testing.T) {
	w := newWorld(t)
	if errors, err := w.check(); err == nil || !slices.ContainsFunc(errors, func(e string) bool {
		return strings.HasPrefix(e, "discovery document: ") || strings.HasPrefix(e, "token: ")
	}) {
		t.Errorf("before the API server has the issuer: %v, %v", errors, err)
	}
	w.restart()
	w.eventually("the issuer to be as the API server has it", func() (bool, any) {
		errors, err := w.check()
		return err == nil, errors
	})
	out := w.lanyard("serviceaccount", "create", "--service-account-name", "web", "--kubeconfig", w.k.Kubeconfig, "--skip-phases", "role-assignment", "-o", "json")
	var made struct{ ClientID, Issuer string }
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Issuer != w.issuer {
		t.Fatalf("%v: %s", err, out)
	}
	accepted := func(step string, tokens ...string) {
		t.Helper()
		for i, token := range tokens {
			if err := w.signIn(made.ClientID, token); err != nil {
				t.Errorf("%s: token %d of %d: %v", step, i+1, len(tokens), err)
			}
		}
	}
	first := w.token()
	old := w.kid("signing")
	accepted("init", first)

	w.rotate("prepare")
	w.restart()
	accepted("prepare", first, w.token())
	w.eventually("the key to be published, and activated", func() (bool, any) {
		_, err := w.cloud.Lanyard(t.Context(), append([]string{"issuer", "rotate", "activate", "--key-dir", w.keys}, w.trust...)...)
		return err == nil, err
	})
	w.rotate("status")
	if w.kid("replaced") != old {
		t.Errorf("%+v", w.current)
	}
	confirm := []string{"issuer", "rotate", "confirm", "--key-dir", w.keys, "--kubeconfig", w.k.Kubeconfig}
	w.refused("signs with the key "+old, confirm...)
	w.refused("confirm first", "issuer", "rotate", "retire", "--key-dir", w.keys)
	w.restart()
	w.lanyard(confirm...)
	second := w.token()
	if kid := signedBy(t, second); kid != w.kid("signing") || kid == old {
		t.Fatalf("the API server signs with %s: %+v", kid, w.current)
	}
	// The cloud asks an issuer for an unknown key twice a minute at most.
	w.lanyard("clock", "advance", "1m")
	accepted("activate", second, first)
	w.checks()

	w.refused("not before ", "issuer", "rotate", "retire", "--key-dir", w.keys)
	w.rotate("retire", "--force")
	if len(w.current.Keys) != 1 || w.kid("signing") == old {
		t.Errorf("%+v", w.current)
	}
	w.restart()
	w.eventually("the old key to be gone", func() (bool, any) {
		out, err := w.cloud.Lanyard(t.Context(), append([]string{"issuer", "check", w.issuer, "-o", "json"}, w.trust...)...)
		return err == nil && !strings.Contains(out, old), fmt.Sprint(err, out)
	})
	accepted("retire", w.token(), second)
	w.checks()
	if out := w.lanyard("serviceaccount", "delete", "--service-account-name", "web", "--kubeconfig", w.k.Kubeconfig); strings.Count(out, "deleted") != 3 {
		t.Errorf("lanyard serviceaccount delete:\n%s", out)
	}
}
