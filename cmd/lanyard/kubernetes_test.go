package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/server"
	"github.com/lanyard-id/lanyard/internal/token"
)

// kubernetesAPI is as much of an API server as commands talk to: its issuer's
// documents, service accounts and their tokens. A real one is what e2e has; what
// is proved by it here is the commands' own conduct.
type kubernetesAPI struct {
	mu       sync.Mutex
	issuer   string
	signing  []byte // PEM
	keys     []byte // the JWK set
	accounts map[string]map[string]any
	made     int
	lists    map[string][]unstructured.Unstructured // by the name of the resource
	writes   []string                               // requests that are not to read
}

// kubernetes ISSUER SIGNING-KEY PUBLIC-KEY... starts the script's API server and
// writes its kubeconfig, or gives the one that runs other flags, as by a restart.
func kubernetes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: kubernetes ISSUER SIGNING-KEY PUBLIC-KEY...")
	}
	var public []token.VerificationKey
	for _, file := range args[2:] {
		keys, _, err := token.ParseVerificationKeys([]byte(ts.ReadFile(file)))
		ts.Check(err)
		public = append(public, keys...)
	}
	set, err := token.EncodeKeySet(public)
	ts.Check(err)
	k := ts.Value(kubernetesKey{}).(*kubernetesAPI)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.issuer, k.signing, k.keys = args[0], []byte(ts.ReadFile(args[1])), set
	if k.accounts != nil {
		return
	}
	k.accounts = map[string]map[string]any{}
	s := httptest.NewServer(k)
	ts.Defer(s.Close)
	ts.Check(os.WriteFile(ts.MkAbs("kubeconfig"), []byte(`{"apiVersion":"v1","kind":"Config","current-context":"test",`+
		`"contexts":[{"name":"test","context":{"cluster":"test","user":"test"}}],`+
		`"clusters":[{"name":"test","cluster":{"server":"`+s.URL+`"}}],"users":[{"name":"test","user":{"token":"t"}}]}`), 0o600))
}

// kubernetesKey is under which a script's environment keeps its API server.
type kubernetesKey struct{}

func (k *kubernetesAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.Method != http.MethodGet {
		k.writes = append(k.writes, r.Method+" "+r.URL.Path)
	}
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/")
	switch {
	case r.URL.Path == "/.well-known/openid-configuration":
		k.answer(w, http.StatusOK, map[string]any{"issuer": k.issuer, "jwks_uri": "https://10.0.0.1/openid/v1/jwks"})
	case r.URL.Path == "/openid/v1/jwks":
		w.Header().Set("Content-Type", "application/json")
		w.Write(k.keys)
	case r.Method == http.MethodGet && k.lists[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]] != nil:
		k.list(w, r)
	case len(path) == 4 && path[3] == "token" && r.Method == http.MethodPost:
		k.token(w, r, path[0], path[2])
	case len(path) < 2 || path[1] != "serviceaccounts" || len(path) > 3:
		k.refuse(w, http.StatusNotFound, "NotFound", r.URL.Path+" not found")
	case path[0] == "nowhere":
		k.refuse(w, http.StatusNotFound, "NotFound", `namespaces "nowhere" not found`)
	case path[0] == "forbidden":
		k.refuse(w, http.StatusForbidden, "Forbidden", "serviceaccounts is forbidden")
	default:
		k.account(w, r, strings.TrimSuffix(strings.Join(path, "/"), "/"))
	}
}

// account NAMESPACE/NAME none|FACT|set FACT looks at a service account, or writes
// to it as somebody else does. A FACT is "label KEY VALUE" or "annotation KEY
// VALUE", with the value - for none.
func account(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: account NAMESPACE/NAME none|FACT|set FACT")
	}
	namespace, name, _ := strings.Cut(args[0], "/")
	key := namespace + "/serviceaccounts/" + name
	k := ts.Value(kubernetesKey{}).(*kubernetesAPI)
	k.mu.Lock()
	defer k.mu.Unlock()
	have := k.accounts[key]
	if args[1] == "none" {
		if have != nil {
			ts.Fatalf("there is a service account %s: %v", args[0], have)
		}
		return
	}
	var kind, label, value string
	if n, err := fmt.Sscan(args[len(args)-1], &kind, &label, &value); n != 3 {
		ts.Fatalf("%q is no fact: %v", args[len(args)-1], err)
	}
	if args[1] == "set" {
		if have == nil {
			have = map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"namespace": namespace, "name": name, "uid": key}}
			k.accounts[key] = have
		}
		mergePatch(have, map[string]any{"metadata": map[string]any{kind + "s": map[string]any{label: value}}})
		return
	}
	if have == nil {
		ts.Fatalf("there is no service account %s", args[0])
	}
	all, _ := have["metadata"].(map[string]any)[kind+"s"].(map[string]any)
	got, ok := all[label]
	if !ok {
		got = "-"
	}
	if got != value {
		ts.Fatalf("the service account %s has the %s %s %v, not %s", args[0], kind, label, got, value)
	}
}

// group NAME LOCATION makes a resource group in the cloud of LANYARD_ENV_FILE.
func group(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: group NAME LOCATION")
	}
	env, err := server.LoadEnvironment(ts.Getenv("LANYARD_ENV_FILE"))
	ts.Check(err)
	path := azure.ResourceGroupScope(env.SubscriptionID, args[0]).String() + resourceGroupVersion
	ts.Check(manage(context.Background(), env, http.MethodPut, path, map[string]any{"location": args[1]}, nil))
}

// account serves one service account: get, create, merge patch and delete.
func (k *kubernetesAPI) account(w http.ResponseWriter, r *http.Request, key string) {
	var sent map[string]any
	if body, _ := io.ReadAll(r.Body); len(body) > 0 {
		_ = json.Unmarshal(body, &sent)
	}
	if r.Method == http.MethodPost {
		key += "/" + sent["metadata"].(map[string]any)["name"].(string)
	}
	have := k.accounts[key]
	switch {
	case r.Method == http.MethodPost && have != nil:
		k.refuse(w, http.StatusConflict, "AlreadyExists", key+" exists")
	case r.Method == http.MethodPost:
		k.made++
		meta := sent["metadata"].(map[string]any)
		meta["uid"], meta["namespace"] = fmt.Sprint("uid-", k.made), strings.Split(key, "/")[0]
		k.accounts[key] = sent
		k.answer(w, http.StatusCreated, sent)
	case have == nil:
		k.refuse(w, http.StatusNotFound, "NotFound", key+" not found")
	case r.Method == http.MethodPatch:
		mergePatch(have, sent)
		k.answer(w, http.StatusOK, have)
	case r.Method == http.MethodDelete:
		delete(k.accounts, key)
		k.answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Success"})
	default:
		k.answer(w, http.StatusOK, have)
	}
}

// mergePatch is RFC 7396's.
func mergePatch(into, patch map[string]any) {
	for name, value := range patch {
		inner, isObject := value.(map[string]any)
		have, hasObject := into[name].(map[string]any)
		switch {
		case value == nil:
			delete(into, name)
		case isObject && hasObject:
			mergePatch(have, inner)
		default:
			into[name] = value
		}
	}
}

// token signs a token as the API server does.
func (k *kubernetesAPI) token(w http.ResponseWriter, r *http.Request, namespace, name string) {
	var sent struct {
		Spec struct {
			Audiences         []string
			ExpirationSeconds int64
		}
	}
	_ = json.NewDecoder(r.Body).Decode(&sent)
	signer, err := token.NewServiceAccountSigner(k.issuer, k.signing)
	if err != nil || namespace == "forbidden" {
		k.refuse(w, http.StatusForbidden, "Forbidden", "serviceaccounts/token is forbidden")
		return
	}
	text, err := signer.Token(namespace, name, sent.Spec.Audiences[0], time.Now(), time.Duration(sent.Spec.ExpirationSeconds)*time.Second)
	if err != nil {
		k.refuse(w, http.StatusInternalServerError, "InternalError", err.Error())
		return
	}
	k.answer(w, http.StatusCreated, map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "status": map[string]any{"token": text}})
}

func (k *kubernetesAPI) refuse(w http.ResponseWriter, code int, reason, message string) {
	k.answer(w, code, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code})
}

func (k *kubernetesAPI) answer(w http.ResponseWriter, code int, v map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(maps.Clone(v))
}

// keyfile KIND FILE makes a private key, rsa or ec, with FILE.key and FILE.pub.
func keyfile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keyfile rsa|ec FILE")
	}
	var key crypto.Signer
	var err error
	if args[0] == "ec" {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644))
}

// certificate FILE makes a server's certificate for loopback, its own authority:
// FILE.crt and FILE.key.
func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificate FILE")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// freeport NAME sets the variable to an address on loopback that nobody listens on.
// The port is none of those that systems choose for port 0, so that nobody else is
// given it meanwhile.
func freeport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport NAME")
	}
	for {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+mathrand.IntN(10_000)))
		l, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		ts.Check(err)
		ts.Check(l.Close())
		ts.Setenv(args[0], address)
		return
	}
}

// listening ADDRESS waits until somebody listens there.
func listening(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listening ADDRESS")
	}
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", args[0])
		if err == nil {
			ts.Check(c.Close())
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("nobody listens on %s: %v", args[0], err)
		}
	}
}

// eventually PROGRAM ARGUMENT... runs a command until it succeeds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: eventually PROGRAM [ARGUMENT...]")
	}
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("it never succeeds: %v", err)
		}
	}
}
