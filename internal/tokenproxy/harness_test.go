package tokenproxy

import (
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
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/lanyard-id/lanyard/internal/standin"
)

const (
	tenantID = "2f0b4a5e-1d5d-4f3a-9f59-0a8f6c2b7e22"
	clientID = "6e1ba9d3-9a9b-4d9c-8e2f-3f3f0a8c0b11"
	otherID  = "00000000-1111-2222-3333-444444444444"
)

// jwt makes a token as far as anybody here looks at it: the API server of these
// tests knows tokens by their text, and checks nothing.
func jwt(audience any, name string) string {
	claims, err := json.Marshal(map[string]any{"aud": audience, "sub": name})
	if err != nil {
		panic(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".signature-of-" + name
}

var (
	podToken  = jwt([]string{DefaultAudience}, "app")
	ownToken  = jwt(exchangeAudience, "token-proxy")
	forgedOne = jwt(DefaultAudience, "forged")
)

// apiServer answers reviews as the tests tell it. What a real one says is e2e's
// to see.
type apiServer struct {
	*httptest.Server
	mu      sync.Mutex
	users   map[string]map[string]any // status of a TokenReview by token
	allowed func(spec map[string]any) bool
	fail    int
	asked   []map[string]any // specs, in order

	configMap map[string]any // the one there is
	conflicts int            // writes that are refused before one is taken
}

func serviceAccountUser(extra map[string]any) map[string]any {
	return map[string]any{"authenticated": true, "audiences": []string{DefaultAudience}, "user": map[string]any{
		"username": "system:serviceaccount:ns:app", "uid": "u-1",
		"groups": []string{"system:serviceaccounts", "system:serviceaccounts:ns"}, "extra": extra,
	}}
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	a := &apiServer{
		users: map[string]map[string]any{podToken: serviceAccountUser(map[string]any{podNameExtra: []string{"app-0"}})},
		allowed: func(spec map[string]any) bool {
			return spec["resourceAttributes"].(map[string]any)["resource"] == clientID
		},
	}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	t.Cleanup(a.CloseClientConnections)
	return a
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/ns/configmaps") {
		a.serveConfigMap(w, r)
		return
	}
	var sent map[string]any
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	spec, _ := sent["spec"].(map[string]any)
	a.asked = append(a.asked, spec)
	w.Header().Set("Content-Type", "application/json")
	if a.fail != 0 {
		fail(w, a.fail, "InternalError")
		return
	}
	switch r.URL.Path {
	case "/apis/authentication.k8s.io/v1/tokenreviews":
		status, known := a.users[spec["token"].(string)]
		if !known {
			status = map[string]any{"error": "invalid bearer token"}
		}
		sent["status"] = status
	case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
		sent["status"] = map[string]any{"allowed": a.allowed(spec)}
	default:
		http.NotFound(w, r)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(sent)
}

func fail(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":%q,"message":"out of order","code":%d}`, reason, status)
}

func (a *apiServer) serveConfigMap(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && a.configMap == nil:
		fail(w, http.StatusNotFound, "NotFound")
		return
	case r.Method != http.MethodGet && a.conflicts > 0:
		a.conflicts--
		fail(w, http.StatusConflict, "Conflict")
		return
	case r.Method == http.MethodPost && a.configMap != nil:
		fail(w, http.StatusConflict, "AlreadyExists")
		return
	case r.Method != http.MethodGet:
		a.configMap = nil
		if err := json.NewDecoder(r.Body).Decode(&a.configMap); err != nil {
			fail(w, http.StatusBadRequest, "BadRequest")
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a.configMap)
}

func (a *apiServer) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *apiServer) questions() []map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// tokenService is the cloud's.
type tokenService struct {
	mu     sync.Mutex
	forms  []url.Values
	urls   []string
	header []http.Header
	status int
	body   string
	err    error
}

func (s *tokenService) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forms, s.urls, s.header = append(s.forms, form), append(s.urls, r.URL.String()), append(s.header, r.Header)
	if s.err != nil {
		return nil, s.err
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Ms-Request-Id", "r-1")
	w.Header().Set("Set-Cookie", "fpc=secret")
	w.Header().Set("Retry-After", "9")
	w.WriteHeader(s.status)
	w.WriteString(s.body)
	return w.Result(), nil
}

func (s *tokenService) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.forms)
}

const theAnswer = `{"token_type":"Bearer","expires_in":3599,"access_token":"the.token"}`

type running struct {
	*Proxy
	api    *apiServer
	cloud  *tokenService
	client *http.Client
	file   string
	log    *standin.Log
}

func start(t *testing.T, change func(*Config)) *running {
	t.Helper()
	dir := t.TempDir()
	r := &running{
		api: newAPIServer(t), cloud: &tokenService{status: http.StatusOK, body: theAnswer},
		file: filepath.Join(dir, "token"), log: new(standin.Log),
	}
	roots := writePair(t, dir)
	if err := os.WriteFile(r.file, []byte(ownToken), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{
		Kubernetes: &rest.Config{Host: r.api.URL}, Tenants: []string{tenantID, "contoso.example"},
		AuthorityHost: "https://login.example/", TokenFile: r.file, CertDir: dir, Transport: r.cloud,
		Addr: "127.0.0.1:0", HealthAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0",
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.Proxy = p
	r.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "proxy.example"}, ForceAttemptHTTP2: true}}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// writePair writes a certificate that is its own authority, and its key.
func writePair(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"proxy.example"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return roots
}

// form is a good request, but for what changes say: name, value, name, value; an
// empty value leaves the parameter out.
func form(changes ...string) url.Values {
	f := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion": {podToken}, "client_id": {clientID}, "scope": {"https://vault.azure.net/.default openid"},
	}
	for i := 0; i < len(changes); i += 2 {
		if f.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			f.Del(changes[i])
		}
	}
	return f
}

const tokenPath = "/" + tenantID + "/oauth2/v2.0/token"

func (r *running) do(t *testing.T, method, target, body string, header ...string) (*http.Response, map[string]any) {
	t.Helper()
	request, err := http.NewRequest(method, "https://"+r.Addr("token proxy").String()+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			request.Host = header[i+1]
		}
	}
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var document map[string]any
	if err := json.NewDecoder(response.Body).Decode(&document); err != nil {
		t.Errorf("%s %s: %s without a document: %v", method, target, response.Status, err)
	}
	return response, document
}

func (r *running) post(t *testing.T, f url.Values) (int, map[string]any) {
	t.Helper()
	response, document := r.do(t, http.MethodPost, tokenPath, f.Encode())
	return response.StatusCode, document
}
