package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/http/httpproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// direct is an environment without a proxy.
func direct(*url.URL) (*url.URL, error) { return nil, nil }

// start runs a proxy until the test ends.
func start(t *testing.T, cfg Config) *Proxy {
	t.Helper()
	if cfg.Secret == "" {
		cfg.Secret = "s3cret"
	}
	if cfg.Target == "" {
		cfg.Target = "127.0.0.1:1"
	}
	if cfg.Upstream == nil {
		cfg.Upstream = direct
	}
	p, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Serve() }()
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return p
}

// tlsServer answers with its name and the request's host.
func tlsServer(t *testing.T, name string) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, name+" "+r.Host)
	}))
	t.Cleanup(s.Close)
	return s
}

// client speaks through the proxy at proxyURL and believes any certificate:
// where a tunnel leads is what is tested here.
func client(t *testing.T, proxyURL string) *http.Client {
	t.Helper()
	u, err := url.Parse(proxyURL)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestNamesLeadToTheCloud(t *testing.T) {
	cloud := tlsServer(t, "cloud")
	other := tlsServer(t, "other")
	p := start(t, Config{
		Names:  []string{"lanyard.localhost", "*.lanyard.localhost", "login-us.microsoftonline.com", "*.vault.azure.net"},
		Target: cloud.Listener.Addr().String(),
	})
	c := client(t, p.URL())
	for _, tt := range []struct{ url, want string }{
		{"https://lanyard.localhost:7443/", "cloud lanyard.localhost:7443"},
		{"https://v1.vault.lanyard.localhost:7443/", "cloud v1.vault.lanyard.localhost:7443"},
		{"https://LOGIN.Lanyard.localhost/", "cloud LOGIN.Lanyard.localhost"},
		{"https://login-us.microsoftonline.com/", "cloud login-us.microsoftonline.com"},
		{"https://v1.vault.azure.net/", "cloud v1.vault.azure.net"},
		{other.URL + "/", "other " + other.Listener.Addr().String()},
	} {
		got, err := get(c, tt.url)
		if err != nil || got != tt.want {
			t.Errorf("GET %s through the proxy = %q, %v; want %q", tt.url, got, err, tt.want)
		}
	}
}

func TestOwn(t *testing.T) {
	p := &Proxy{names: []string{"d.test", "*.d.test", "login-us.example.com", "*.vault.example.net"}}
	for host, want := range map[string]bool{
		"d.test": true, "D.TEST.": true, "a.d.test": true, "a.b.d.test": true,
		"xd.test": false, "d.test.evil": false, ".d.test": false, "": false,
		"login-us.example.com": true, "x.login-us.example.com": false, "login.example.com": false,
		"v.vault.example.net": true, "vault.example.net": false, "evault.example.net": false,
		"\u212a.d.test": true, "\u212aogin-us.example.com": false,
	} {
		if got := p.own(host); got != want {
			t.Errorf("own(%q) = %v, want %v", host, got, want)
		}
	}
}

func TestSecretIsRequired(t *testing.T) {
	cloud := tlsServer(t, "cloud")
	p := start(t, Config{Names: []string{"*.d.test"}, Target: cloud.Listener.Addr().String(), Secret: "right"})
	for name, proxyURL := range map[string]string{
		"none":   "http://" + p.Addr(),
		"wrong":  "http://lanyard:wrong@" + p.Addr(),
		"prefix": "http://lanyard:righ@" + p.Addr(),
		"empty":  "http://lanyard:@" + p.Addr(),
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, proxyURL)
			if body, err := get(c, "https://x.d.test/"); err == nil || !strings.Contains(err.Error(), "Proxy Authentication Required") {
				t.Errorf("CONNECT without the secret = %q, %v; want 407", body, err)
			}
			resp, err := c.Get("http://127.0.0.1:1/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusProxyAuthRequired || resp.Header.Get("Proxy-Authenticate") == "" {
				t.Errorf("plain request without the secret = %s", resp.Status)
			}
		})
	}
}

// TestUpstream goes through a second proxy, which wants credentials, and
// honours NO_PROXY.
func TestUpstream(t *testing.T) {
	direct := tlsServer(t, "direct")
	hidden := tlsServer(t, "hidden")
	var tunnels atomic.Int32
	outer := start(t, Config{
		Secret: "outer", Names: []string{"hidden.example"}, Target: hidden.Listener.Addr().String(),
		Upstream: func(*url.URL) (*url.URL, error) { tunnels.Add(1); return nil, nil },
	})
	env := func(proxyURL string) func(*url.URL) (*url.URL, error) {
		return (&httpproxy.Config{HTTPSProxy: proxyURL, HTTPProxy: proxyURL, NoProxy: "127.0.0.1"}).ProxyFunc()
	}
	p := start(t, Config{Upstream: env(outer.URL())})
	c := client(t, p.URL())
	if got, err := get(c, "https://hidden.example/"); err != nil || got != "hidden hidden.example" {
		t.Errorf("through the upstream proxy: %q, %v", got, err)
	}
	if got, err := get(c, direct.URL); err != nil || !strings.HasPrefix(got, "direct ") {
		t.Errorf("NO_PROXY: %q, %v", got, err)
	}
	if n := tunnels.Load(); n != 0 {
		t.Errorf("a NO_PROXY target went through the upstream proxy %d times", n)
	}

	refused := start(t, Config{Upstream: env("http://lanyard:wrong@" + outer.Addr())})
	if _, err := get(client(t, refused.URL()), "https://hidden.example/"); err == nil || !strings.Contains(err.Error(), "Bad Gateway") {
		t.Errorf("an upstream proxy that refuses: %v; want 502", err)
	}
	odd := start(t, Config{Upstream: env("ftp://127.0.0.1:1")})
	if _, err := get(client(t, odd.URL()), "https://hidden.example/"); err == nil {
		t.Error("an upstream proxy of an unknown scheme was used")
	}
}

func TestUpstreamIsNeverItself(t *testing.T) {
	other := tlsServer(t, "other")
	var self string
	p := start(t, Config{Upstream: func(*url.URL) (*url.URL, error) { return url.Parse(self) }})
	self = p.URL()
	if got, err := get(client(t, p.URL()), other.URL); err != nil || !strings.HasPrefix(got, "other ") {
		t.Errorf("with itself as its upstream: %q, %v", got, err)
	}
}

func TestPlainHTTP(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s", r.Host, r.Header.Get("X-Forwarded-For"), r.Header.Get("Proxy-Authorization"))
	}))
	defer web.Close()
	p := start(t, Config{Names: []string{"*.d.test"}})
	c := client(t, p.URL())
	if got, err := get(c, web.URL+"/x"); err != nil || got != web.Listener.Addr().String()+"||" {
		t.Errorf("plain request = %q, %v", got, err)
	}
	for url, status := range map[string]int{
		"http://login.d.test/": http.StatusBadRequest,
		"http://127.0.0.1:1/":  http.StatusBadGateway,
	} {
		resp, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("GET %s = %s, want %d", url, resp.Status, status)
		}
	}
	// A request that is meant for a server, not for a proxy.
	req, _ := http.NewRequest(http.MethodGet, "http://"+p.Addr()+"/", nil)
	u, _ := url.Parse(p.URL())
	password, _ := u.User.Password()
	probe := http.Request{Header: http.Header{}}
	probe.SetBasicAuth(user, password)
	req.Header.Set("Proxy-Authorization", probe.Header.Get("Authorization"))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("origin-form request = %s, want 400", resp.Status)
	}
}

// tunnel opens a raw tunnel to target.
func tunnel(t *testing.T, p *Proxy, target string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	auth := http.Request{Header: http.Header{}}
	auth.SetBasicAuth(user, p.text)
	// "early" follows in the same segment: a client need not wait for the answer.
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: %s\r\n\r\nearly ",
		target, target, auth.Header.Get("Authorization"))
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT: %v, %v", resp, err)
	}
	return conn, br
}

func TestHalfClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		// The answer comes only after the client's end of input.
		b, _ := io.ReadAll(c)
		fmt.Fprintf(c, "got %q", b)
	}()
	p := start(t, Config{})
	conn, br := tunnel(t, p, l.Addr().String())
	if _, err := io.WriteString(conn, "and late"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(br)
	if want := `got "early and late"`; err != nil || string(got) != want {
		t.Errorf("after a half-close: %q, %v; want %q", got, err, want)
	}
}

// TestCloseEndsTunnels: Close returns though a tunnel is open and quiet at both
// ends, and though a dial through a silent upstream proxy is under way.
func TestCloseEndsTunnels(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	asked := make(chan struct{}, 1)
	p, err := Listen(Config{Secret: "s", Target: "127.0.0.1:1", Upstream: func(u *url.URL) (*url.URL, error) {
		if u.Hostname() == "stuck.example" {
			asked <- struct{}{}
			return &url.URL{Scheme: "http", Host: silent.Addr().String()}, nil
		}
		return nil, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve() }()

	_, br := tunnel(t, p, silent.Addr().String())
	stuck := make(chan error, 1)
	c := client(t, p.URL())
	go func() {
		_, err := get(c, "https://stuck.example/")
		stuck <- err
	}()
	<-asked

	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := br.ReadByte(); err == nil {
		t.Error("the tunnel outlived the proxy")
	}
	if err := <-stuck; err == nil {
		t.Error("a request succeeded through a silent proxy")
	}
	if _, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.Addr()); err == nil {
		t.Error("the closed proxy still accepts connections")
	}
}

func TestListenErrors(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no secret":    {Target: "127.0.0.1:1"},
		"no target":    {Secret: "s"},
		"every host":   {Secret: "s", Target: "t:1", Listen: ":0"},
		"unspecified":  {Secret: "s", Target: "t:1", Listen: "0.0.0.0:0"},
		"not an addr":  {Secret: "s", Target: "t:1", Listen: "127.0.0.1"},
		"public addr":  {Secret: "s", Target: "t:1", Listen: "192.0.2.1:0"},
		"foreign name": {Secret: "s", Target: "t:1", Listen: "example.com:0"},
	} {
		if p, err := Listen(cfg); err == nil {
			p.Close()
			t.Errorf("%s: Listen succeeded on %s", name, p.Addr())
		}
	}
}
