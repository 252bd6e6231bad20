package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// server is an etcd member that listens on the loopback interface: an outside
// cluster of one.
type server struct {
	t    testing.TB
	dir  string
	addr string
	tls  bool
	etcd *embed.Etcd
}

// ownLoopback is an address on which other processes do not happen to listen: a
// member that was stopped finds its port free again.
func ownLoopback() net.IP {
	if runtime.GOOS != "linux" { // which alone has more than one of them
		return net.IPv4(127, 0, 0, 1)
	}
	pid := os.Getpid()
	return net.IPv4(127, byte(1+pid>>16&0x3f), byte(pid>>8), byte(pid))
}

func startServer(tb testing.TB, change ...func(*embed.Config)) *server {
	tb.Helper()
	srv := &server{t: tb, dir: tb.TempDir(), addr: net.JoinHostPort(ownLoopback().String(), "0")}
	srv.start(change...)
	tb.Cleanup(srv.stop)
	return srv
}

func (srv *server) start(change ...func(*embed.Config)) {
	srv.t.Helper()
	cfg := Config{Dir: srv.dir, QuotaBytes: DefaultQuotaBytes, Logger: slog.New(slog.DiscardHandler)}
	hook := newFailureHook()
	defer hook.started()
	c := engineConfig(&cfg, hook)
	for _, f := range change {
		f(c)
	}
	scheme := "http"
	if c.ClientTLSInfo.CertFile != "" {
		scheme, srv.tls = "https", true
	}
	c.ListenClientUrls = []url.URL{{Scheme: scheme, Host: srv.addr}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		srv.t.Fatal(err)
	}
	<-etcd.Server.ReadyNotify()
	srv.etcd, srv.addr = etcd, etcd.Clients[0].Addr().String()
}

func (srv *server) stop() {
	if srv.etcd != nil {
		srv.etcd.Server.HardStop() // a crash: clients aren't told
		srv.etcd.Close()
		srv.etcd = nil
	}
}

// alarmRequest raises the alarm of a full member.
func alarmRequest(srv *server) *etcdserverpb.AlarmRequest {
	return &etcdserverpb.AlarmRequest{
		MemberID: uint64(srv.etcd.Server.MemberID()),
		Action:   etcdserverpb.AlarmRequest_ACTIVATE,
		Alarm:    etcdserverpb.AlarmType_NOSPACE,
	}
}

// at configures a store over the server.
func (srv *server) at(c *Config) {
	c.Dir = ""
	c.Endpoints = []string{"http://" + srv.addr}
	if srv.tls {
		c.Endpoints = []string{"https://" + srv.addr}
	}
}

func TestReplicasSeeEachOther(t *testing.T) {
	srv := startServer(t)
	a, b := open(t, srv.at), open(t, srv.at)
	viewA, viewB := follow(t, a, "k/"), follow(t, b, "k/")
	put(t, a, "k/a", "1")
	viewA.expect(t, map[string]string{"k/a": "1"})
	// A read on the other replica is linearizable.
	if e, err := b.Get(t.Context(), "k/a"); err != nil || string(e.Value) != "1" {
		t.Error(e, err)
	}
	put(t, b, "k/b", "2")
	viewB.expect(t, map[string]string{"k/a": "1", "k/b": "2"})
	eventually(t, "b's write in a's view", func() bool { return viewA.now()["k/b"] == "2" })
	del(t, b, "k/a")
	eventually(t, "b's delete in a's view", func() bool { _, there := viewA.now()["k/a"]; return !there })
}

func TestReplicasLoseNothing(t *testing.T) {
	srv := startServer(t)
	stores := []*Store{open(t, srv.at), open(t, srv.at)}
	wantIncrements(t, 30, slices.Repeat(stores, 3)...)
}

func TestReplicasExcludeEachOther(t *testing.T) {
	srv := startServer(t)
	a, b := open(t, srv.at), open(t, srv.at)
	l := lock(t, a, "job")
	if _, err := b.TryLock(t.Context(), "job", time.Minute); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	// A replica that starts leaves the others' locks alone.
	if _, err := open(t, srv.at).TryLock(t.Context(), "job", time.Minute); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	// One that stops gives its own back.
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	<-l.Lost()
	lock(t, b, "job")
}

// Two stores of different prefixes share a cluster and nothing else.
func TestPrefixes(t *testing.T) {
	srv := startServer(t)
	a := open(t, srv.at, func(c *Config) { c.Prefix = "/one" })
	b := open(t, srv.at, func(c *Config) { c.Prefix = "/one2/" })
	view := follow(t, b, "")
	put(t, a, "k", "1")
	put(t, b, "m", "2")
	view.expect(t, map[string]string{"m": "2"})
	if _, err := b.Get(t.Context(), "k"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	lock(t, a, "l")
	lock(t, b, "l")
	resp, err := a.client.Get(t.Context(), "", clientv3.WithFromKey(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if key := string(kv.Key); !strings.HasPrefix(key, "/one/") && !strings.HasPrefix(key, "/one2/") {
			t.Errorf("a key outside the prefixes: %s", key)
		}
	}
}

// While the cluster is away, views go stale and operations fail, clearly and
// without a hang; when it is back, all goes on, with nothing missed.
func TestClusterAway(t *testing.T) {
	srv := startServer(t)
	s := open(t, srv.at, func(c *Config) { c.StaleAfter = 5 * time.Second })
	view := follow(t, s, "")
	put(t, s, "a", "1")
	srv.stop()
	eventually(t, "stale views", func() bool { return errors.Is(s.Fresh(), ErrStale) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Update(ctx, func(tx *Tx) error { tx.Put("b", nil); return nil }); err == nil {
		t.Error("written to nowhere")
	}
	srv.start()
	eventually(t, "fresh views", func() bool { return s.Fresh() == nil })
	put(t, s, "c", "3")
	if _, there := view.now()["c"]; !there {
		t.Error("the view stands still")
	}
}

// A cluster that was set back to an earlier state is noticed, and the views are
// told that state anew.
func TestClusterRestored(t *testing.T) {
	srv := startServer(t)
	s := open(t, srv.at, func(c *Config) { c.StaleAfter = 10 * time.Second })
	view := follow(t, s, "k/")
	for i := range 20 {
		put(t, s, fmt.Sprint("k/", i), "1")
	}
	srv.stop()
	srv.dir = t.TempDir()
	srv.start()
	eventually(t, "a reset", func() bool { return len(view.now()) == 0 })
	eventually(t, "fresh views", func() bool { return s.Fresh() == nil })
	put(t, s, "k/new", "1")
	view.expect(t, map[string]string{"k/new": "1"})
}

func TestOpenWithoutACluster(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = Open(ctx, Config{Endpoints: []string{"http://" + addr}, Keyring: testKeyring(t)})
	if err == nil || !strings.Contains(err.Error(), addr) {
		t.Error(err)
	}
}

// certificate makes one for the loopback address that is its own authority.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{ownLoopback()}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

func TestClusterWithTLS(t *testing.T) {
	certFile, keyFile, pool := certificate(t)
	srv := startServer(t, func(c *embed.Config) {
		c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile = certFile, keyFile
	})
	s := open(t, srv.at, func(c *Config) { c.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13} })
	put(t, s, "a", "1")
	// A certificate that nobody vouches for is refused.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	cfg := Config{Keyring: testKeyring(t)}
	srv.at(&cfg)
	if s, err := Open(ctx, cfg); err == nil {
		s.Close()
		t.Error("opened")
	}
}

func TestClusterWithPassword(t *testing.T) {
	srv := startServer(t)
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{srv.addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	var errs []error
	try := func(_ any, err error) { errs = append(errs, err) }
	try(admin.UserAdd(t.Context(), "root", "r"))
	try(admin.UserGrantRole(t.Context(), "root", "root"))
	try(admin.RoleAdd(t.Context(), "lanyard"))
	try(admin.RoleGrantPermission(t.Context(), "lanyard", DefaultPrefix, clientv3.GetPrefixRangeEnd(DefaultPrefix), clientv3.PermissionType(clientv3.PermReadWrite)))
	try(admin.UserAdd(t.Context(), "lanyard", "s3cret"))
	try(admin.UserGrantRole(t.Context(), "lanyard", "lanyard"))
	try(admin.AuthEnable(t.Context()))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	s := open(t, srv.at, func(c *Config) { c.Username, c.Password = "lanyard", "s3cret" })
	view := follow(t, s, "")
	put(t, s, "a", "1")
	view.expect(t, map[string]string{"a": "1"})
	for _, password := range []string{"", "wrong"} {
		_, err := tryOpen(t, srv.at, func(c *Config) { c.Username, c.Password = "lanyard", password })
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

func TestCheckEndpoints(t *testing.T) {
	for _, tt := range []struct {
		endpoints []string
		change    func(*Config)
		secure    bool
		ok        bool
	}{
		{[]string{"https://etcd.example:2379"}, nil, true, true},
		{[]string{"https://a:1", "https://b:1"}, nil, true, true},
		{[]string{"etcd.example:2379"}, func(c *Config) { c.TLS = &tls.Config{} }, true, true},
		{[]string{"http://127.0.0.1:2379"}, nil, false, true},
		{[]string{"http://[::1]:2379"}, nil, false, true},
		{[]string{"http://localhost:2379", "127.0.0.1:2379"}, nil, false, true},
		{[]string{"unix:///run/etcd.sock"}, nil, false, true},
		{[]string{"http://etcd.example:2379"}, func(c *Config) { c.Plaintext = true }, false, true},
		{[]string{"http://etcd.example:2379"}, nil, false, false},
		{[]string{"http://10.0.0.1:2379"}, nil, false, false},
		{[]string{"http://127.0.0.1.example:2379"}, nil, false, false},
		{[]string{"etcd.example:2379"}, nil, false, false},
		{[]string{"https://a:1", "http://127.0.0.1:1"}, nil, false, false},
		{[]string{"etcd.example"}, nil, false, false},
		{[]string{"ftp://127.0.0.1:1"}, nil, false, false},
		{[]string{"https://user:pass@etcd.example:1"}, nil, false, false},
		{[]string{"http://%zz"}, nil, false, false},
		{[]string{""}, nil, false, false},
	} {
		cfg := &Config{Endpoints: tt.endpoints}
		if tt.change != nil {
			tt.change(cfg)
		}
		secure, err := checkEndpoints(cfg)
		if (err == nil) != tt.ok || secure != tt.secure {
			t.Errorf("%v: secure %v, %v", tt.endpoints, secure, err)
		}
		if err != nil && strings.Contains(err.Error(), "pass@") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}
