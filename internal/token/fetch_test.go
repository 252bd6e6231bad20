package token

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyard-id/lanyard/internal/standin"
)

// fetchError gives the error of a fetch that must fail.
func fetchError(t *testing.T, cfg IssuersConfig, issuer string) error {
	t.Helper()
	keys, _, err := fetchKeys(t.Context(), newClient(cfg.Allow, cfg.CAs), issuer)
	if err == nil {
		t.Fatalf("%d keys were fetched", len(keys))
	}
	return err
}

func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
}

func TestIssuerURLs(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{
		"https://h":       "https://h/.well-known/openid-configuration",
		"https://h/":      "https://h/.well-known/openid-configuration",
		"https://h:8443/": "https://h:8443/.well-known/openid-configuration",
		"https://h/a/b":   "https://h/a/b/.well-known/openid-configuration",
		"https://h/a/b//": "https://h/a/b//.well-known/openid-configuration",
		"":                "",
		"h":               "",
		"http://h":        "",
		"HTTP://h":        "",
		"file:///etc":     "",
		"https:":          "",
		"https:h":         "",
		"https://":        "",
		"https:///a":      "",
		"https://:443/a":  "",
		"https://u@h":     "",
		"https://u:p@h":   "",
		"https://h?q":     "",
		"https://h/?":     "",
		"https://h#f":     "",
		"https://h/#":     "",
		"https://h\n":     "",
		"https://h:port":  "",
		"https://[::1":    "",
		"https://h/" + strings.Repeat("a", maxIssuerBytes): "",
	} {
		got, err := discoveryURL(issuer)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", issuer, got, err, want)
		}
	}
}

func TestDiscoveryRefusals(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, test := range map[string]struct {
		change func(s *issuerServer)
		text   string
	}{
		"not found":           {func(s *issuerServer) { s.broken = 404 }, "status 404"},
		"no content":          {func(s *issuerServer) { s.broken = 204 }, "status 204"},
		"another issuer":      {func(s *issuerServer) { s.doc["issuer"] = "https://other" }, "is of issuer"},
		"a slash more":        {func(s *issuerServer) { s.doc["issuer"] = s.URL + "/" }, "is of issuer"},
		"no issuer":           {func(s *issuerServer) { delete(s.doc, "issuer") }, "is of issuer"},
		"issuer no string":    {func(s *issuerServer) { s.doc["issuer"] = []string{s.URL} }, "not JSON"},
		"no jwks_uri":         {func(s *issuerServer) { delete(s.doc, "jwks_uri") }, "jwks_uri"},
		"jwks_uri relative":   {func(s *issuerServer) { s.doc["jwks_uri"] = "/keys" }, "not https"},
		"jwks_uri plain http": {func(s *issuerServer) { s.doc["jwks_uri"] = plain.URL }, "not https"},
		"jwks_uri a file":     {func(s *issuerServer) { s.doc["jwks_uri"] = "file:///etc/passwd" }, "not https"},
		"jwks_uri with user":  {func(s *issuerServer) { s.doc["jwks_uri"] = "https://u:p@h/" }, "user name"},
		"jwks_uri broken":     {func(s *issuerServer) { s.doc["jwks_uri"] = "https://%" }, "not a URL"},
		"no JSON":             {func(s *issuerServer) { answer(s, "/.well-known/openid-configuration", "<html>") }, "not JSON"},
		"issuer twice": {func(s *issuerServer) {
			answer(s, "/.well-known/openid-configuration",
				fmt.Sprintf(`{"issuer":"https://other","issuer":%q,"jwks_uri":%q}`, s.URL, s.URL+"/keys"))
		}, "not JSON"},
		"Issuer for issuer": {func(s *issuerServer) {
			answer(s, "/.well-known/openid-configuration", fmt.Sprintf(`{"Issuer":%q,"jwks_uri":%q}`, s.URL, s.URL+"/keys"))
		}, "is of issuer"},
		"keys no JSON":   {func(s *issuerServer) { s.jwks = "keys" }, "not JSON"},
		"keys a list":    {func(s *issuerServer) { s.jwks = "[]" }, "not JSON"},
		"no keys member": {func(s *issuerServer) { s.jwks = "{}" }, "no keys"},
		"no keys":        {func(s *issuerServer) { s.jwks = `{"keys":[]}` }, "none of the 0"},
		"broken keys":    {func(s *issuerServer) { s.jwks = `{"keys":[{},null,7,{"kty":"RSA","n":"","e":""}]}` }, "none of the 4"},
		"big document": {func(s *issuerServer) {
			answer(s, "/.well-known/openid-configuration", strings.Repeat(" ", maxBodyBytes+1))
		}, "more than 1 MiB"},
		"big keys":   {func(s *issuerServer) { s.jwks += strings.Repeat(" ", maxBodyBytes) }, "more than 1 MiB"},
		"big header": {func(s *issuerServer) { s.cache = strings.Repeat("x", 2*maxHeaderBytes) }, "header"},
		"redirect to http": {func(s *issuerServer) {
			redirect(s, func(int) string { return plain.URL })
		}, "not https"},
		"redirects": {func(s *issuerServer) {
			redirect(s, func(n int) string { return fmt.Sprint("/again", n) })
		}, "more than 3 times"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newIssuer(t, jwk(0, "a"))
			s.change(func() { test.change(s) })
			wantText(t, fetchError(t, s.config(standin.NewClock(standin.Start)), s.URL), test.text)
		})
	}
}

// answer makes the server give a text at a path.
func answer(s *issuerServer, path, text string) {
	s.handler = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		w.Write([]byte(text))
		return true
	}
}

// redirect makes the server redirect every request; to gets their count.
func redirect(s *issuerServer, to func(n int) string) {
	n := 0
	s.handler = func(w http.ResponseWriter, r *http.Request) bool {
		n++
		http.Redirect(w, r, to(n), http.StatusFound)
		return true
	}
}

func TestThreeRedirectsAreFollowed(t *testing.T) {
	t.Parallel()
	for redirects, followed := range map[int]bool{3: true, 4: false} {
		s := newIssuer(t, jwk(0, "a"))
		s.change(func() {
			n := 0
			s.handler = func(w http.ResponseWriter, r *http.Request) bool {
				if n++; n > redirects {
					return false
				}
				http.Redirect(w, r, s.URL+"/.well-known/openid-configuration", http.StatusFound)
				return true
			}
		})
		cfg := s.config(standin.NewClock(standin.Start))
		_, _, err := fetchKeys(t.Context(), newClient(cfg.Allow, cfg.CAs), s.URL)
		if (err == nil) != followed {
			t.Errorf("%d redirects: %v, want followed %t", redirects, err, followed)
		}
	}
}

// Every way to an address that is not allowed ends at the dialled address.
func TestRefusedAddresses(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, jwk(0, "a"))
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// The victim is on an address that is not allowed, and counts its visitors.
	visited := make(chan struct{}, 1)
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	victim := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited <- struct{}{} }))
	victim.Listener.Close()
	victim.Listener = listener
	victim.Config.ConnState = func(net.Conn, http.ConnState) {
		select {
		case visited <- struct{}{}:
		default:
		}
	}
	victim.StartTLS()
	t.Cleanup(victim.Close)

	nothing := s.config(standin.NewClock(standin.Start))
	nothing.Allow = nil
	only := nothing
	only.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	for name, test := range map[string]struct {
		cfg    IssuersConfig
		issuer string
		change func()
	}{
		"loopback":            {nothing, s.URL, nil},
		"a name for loopback": {nothing, "https://localhost:" + port, nil},
		"IPv6 loopback":       {nothing, "https://[::1]:" + port, nil},
		"IPv4 in IPv6":        {nothing, "https://[::ffff:127.0.0.1]:" + port, nil},
		"metadata service":    {nothing, "https://169.254.169.254", nil},
		"unspecified":         {nothing, "https://0.0.0.0:" + port, nil},
		"the neighbour":       {only, victim.URL, nil},
		"jwks_uri elsewhere":  {only, s.URL, func() { s.doc["jwks_uri"] = victim.URL + "/keys" }},
		"redirect elsewhere":  {only, s.URL, func() { redirect(s, func(int) string { return victim.URL }) }},
	} {
		s.change(func() {
			s.handler, s.doc = nil, map[string]any{"issuer": s.URL, "jwks_uri": s.URL + "/keys"}
			if test.change != nil {
				test.change()
			}
		})
		t.Run(name, func(t *testing.T) {
			err := fetchError(t, test.cfg, test.issuer)
			wantText(t, err, "is not a public one", "--issuer-allow")
		})
	}
	select {
	case <-visited:
		t.Error("the victim was connected to")
	default:
	}
}

func TestUnknownAuthority(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, jwk(0, "a"))
	cfg := s.config(standin.NewClock(standin.Start))
	cfg.CAs = nil
	wantText(t, fetchError(t, cfg, s.URL), "--issuer-ca FILE")
}

// A certificate of another name is not excused by trusting its authority.
func TestWrongServerName(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, jwk(0, "a"))
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	wantText(t, fetchError(t, s.config(standin.NewClock(standin.Start)), "https://localhost:"+port), "localhost")
}

func TestEnvironmentProxyIsIgnored(t *testing.T) {
	s := newIssuer(t, jwk(0, "a"))
	used := false
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { used = true }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	cfg := s.config(standin.NewClock(standin.Start))
	client := newClient(cfg.Allow, cfg.CAs)
	if client.Transport.(*http.Transport).Proxy != nil {
		t.Error("the transport has a proxy")
	}
	if _, _, err := fetchKeys(t.Context(), client, s.URL); err != nil {
		t.Error(err)
	}
	if used {
		t.Error("the proxy was used")
	}
}

// A peer that accepts and says nothing is left after ten seconds.
func TestSilentIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(nil, nil)
		client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go io.Copy(io.Discard, there)
			return here, nil
		}
		began := time.Now()
		if _, _, err := fetchKeys(t.Context(), client, "https://issuer"); err == nil {
			t.Error("a silent peer gave keys")
		}
		if took := time.Since(began); took != fetchTimeout {
			t.Errorf("it took %s, want %s", took, fetchTimeout)
		}
	})
}

// An answer without an end is left when the context is over.
func TestSlowIssuer(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, jwk(0, "a"))
	entered := make(chan struct{})
	s.change(func() {
		s.handler = func(w http.ResponseWriter, r *http.Request) bool {
			w.Write([]byte("{"))
			http.NewResponseController(w).Flush()
			close(entered)
			<-r.Context().Done()
			return true
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { <-entered; cancel() }()
	cfg := s.config(standin.NewClock(standin.Start))
	if _, _, err := fetchKeys(ctx, newClient(cfg.Allow, cfg.CAs), s.URL); err == nil {
		t.Error("an answer without an end was taken")
	}
}
