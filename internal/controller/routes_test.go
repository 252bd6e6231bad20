package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// TestRoute: what is not the cloud, by the way of the pods, is found out.
func TestRoute(t *testing.T) {
	other := newCA(t, "Another CA")
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
	}
	document := func(endpoint string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"token_endpoint":%q}`, endpoint)
		}
	}
	tests := []struct {
		name   string
		host   string
		change func(*fakeCloud, *routes)
		fail   string
	}{
		{"the alias", aliasURL, nil, ""},
		{"the own host", ownURL, nil, ""},
		{"another's certificate", aliasURL, func(c *fakeCloud, _ *routes) { c.present(other.issue(t, "login-us.microsoftonline.com")) }, "unknown authority"},
		{"a certificate for another name", aliasURL, func(c *fakeCloud, _ *routes) { c.present(c.ca.issue(t, "login.microsoftonline.com")) }, "not login-us.microsoftonline.com"},
		{"an unknown tenant", aliasURL, func(_ *fakeCloud, r *routes) { r.tenant = "contoso.com" }, `does not know the tenant "contoso.com" (AZURE_TENANT_ID): AADSTS90002: Tenant not found.`},
		{"nobody there", aliasURL, func(_ *fakeCloud, r *routes) {
			r.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		}, "at 192.0.2.10: connection refused"},
		{"a redirect", aliasURL, func(c *fakeCloud, _ *routes) { c.answer(redirect) }, "302"},
		{"not found", aliasURL, func(c *fakeCloud, _ *routes) { c.answer(http.NotFound) }, "404"},
		{"no document", aliasURL, func(c *fakeCloud, _ *routes) {
			c.answer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
		}, "invalid character"},
		{"a token endpoint elsewhere", aliasURL, func(c *fakeCloud, _ *routes) {
			c.answer(document("https://login.microsoftonline.com/t/oauth2/v2.0/token"))
		}, "is not under https://login-us.microsoftonline.com/"},
		{"a token endpoint that looks alike", aliasURL, func(c *fakeCloud, _ *routes) {
			c.answer(document("https://login-us.microsoftonline.com.example/t/oauth2/v2.0/token"))
		}, "is not under"},
		{"no token endpoint", aliasURL, func(c *fakeCloud, _ *routes) { c.answer(document("")) }, "is not under"},
		{"the DNS knows nothing", aliasURL, func(_ *fakeCloud, r *routes) { resolve(r) }, "gives 0 addresses"},
		{"the DNS fails", aliasURL, func(_ *fakeCloud, r *routes) {
			r.address = netip.Addr{}
			r.lookup = func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
		}, "the cluster's DNS: no such host"},
		{"by DNS", aliasURL, func(_ *fakeCloud, r *routes) { resolve(r, "192.0.2.1", "2001:db8::1") }, ""},
		{"one of two addresses is another's", aliasURL, func(c *fakeCloud, r *routes) {
			resolve(r, "192.0.2.1", "203.0.113.9")
			dial := r.dial
			r.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.HasPrefix(address, "203.") {
					return nil, errors.New("another's")
				}
				return dial(ctx, network, address)
			}
		}, "at 203.0.113.9: another's"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud := newFakeCloud(t)
			w, err := NewWebhook(cloud.config(t, newFakeAPI(t)))
			if err != nil {
				t.Fatal(err)
			}
			defer w.servers.Close()
			cloud.reach(w)
			if tt.change != nil {
				tt.change(cloud, w.routes)
			}
			if err := w.routes.check(tt.host); err == nil {
				t.Error("a route that nobody has tried counts as good")
			}
			for _, one := range w.routes.order {
				w.routes.note(t.Context(), one, w.routes.try(t.Context(), one, w.authority.load()))
			}
			err = w.routes.check(tt.host)
			if (tt.fail == "") != (err == nil) || (err != nil && (!strings.Contains(err.Error(), tt.fail) || !strings.Contains(err.Error(), tt.host))) {
				t.Errorf("%v, want %q of %s", err, tt.fail, tt.host)
			}
			if missing := w.routes.missing(); tt.host == aliasURL && (len(missing) == 0) != (err == nil) {
				t.Errorf("missing %q", missing)
			}
			if err := w.routes.check("https://login.microsoftonline.com/"); err == nil {
				t.Error("a host that is no way to the cloud is let through")
			}
		})
	}
}

// resolve makes the cluster's DNS lead to addresses.
func resolve(r *routes, addresses ...string) {
	r.address = netip.Addr{}
	r.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		var found []netip.Addr
		for _, a := range addresses {
			found = append(found, netip.MustParseAddr(a))
		}
		return found, nil
	}
}

func TestRouteGoesWherePodsGo(t *testing.T) {
	cloud := newFakeCloud(t)
	api := cluster(t)
	w := start(t, api, cloud.config(t, api), cloud.reach)
	eventually(t, func() error { return w.routes.check(ownURL) })
	cloud.mu.Lock()
	defer cloud.mu.Unlock()
	for _, want := range []string{"192.0.2.10:443", "192.0.2.10:8443"} {
		if !slices.Contains(cloud.dialled, want) {
			t.Errorf("the webhook went to %q, not to %s", cloud.dialled, want)
		}
	}
}

// TestRouteGuardsPods: without a good route no pod is let in, before the first
// check and after a later failure; and a route that is mended counts again.
func TestRouteGuardsPods(t *testing.T) {
	cloud, api := newFakeCloud(t), cluster(t)
	theirs := newCA(t, "Another CA").issue(t, "login-us.microsoftonline.com", "login.lanyard.example")
	own := cloud.certificate
	cloud.present(theirs)
	config := cloud.config(t, api)
	w := launch(t, config, cloud.reach)
	eventually(t, func() error { // all but the route is in order
		if err := w.ready(); err == nil || !strings.HasPrefix(err.Error(), "not ready: the route to the cloud is not in order: "+aliasURL) || !strings.Contains(err.Error(), "unknown authority") || strings.Count(err.Error(), "\n") > 1 {
			return fmt.Errorf("%w", errors.Join(errors.New("/readyz"), err))
		}
		return nil
	})
	w.trust(t, bundleOf(t, api, 0))
	refused := func() {
		t.Helper()
		if got := w.post(t, review("app", 1)); got.Allowed || got.Status.Code != http.StatusServiceUnavailable || !strings.Contains(got.Status.Message, aliasURL) || got.Patch != nil {
			t.Errorf("%+v", got)
		}
	}
	refused()
	if api.get("/api/v1/namespaces/ns/configmaps/"+workloadidentity.TrustConfigMap) != nil {
		t.Error("a refused pod had a config map made")
	}
	cloud.present(own)
	eventually(t, w.ready)
	if got := w.post(t, review("app", 1)); !got.Allowed {
		t.Errorf("%+v", got)
	}
	// Led astray later: refused, though still ready to say so.
	cloud.present(theirs)
	first := w.routes.order[0]
	w.routes.note(t.Context(), first, w.routes.try(t.Context(), first, w.authority.load()))
	refused()
	if err := w.ready(); err != nil {
		t.Errorf("a webhook that is not ready cannot say why pods are refused: %v", err)
	}
	_, metrics := w.plain(t, "metrics", "/metrics")
	if !strings.Contains(metrics, `lanyard_webhook_route_up{authority_host="`+aliasURL+`"} 0`) || strings.Contains(metrics, `lanyard_webhook_route_failures_total{authority_host="`+aliasURL+`"} 0`) {
		t.Error("the metrics do not tell of the route")
	}
}

// TestPodsThatChooseAnotherWay are judged by that way's route.
func TestPodsThatChooseAnotherWay(t *testing.T) {
	cloud, api := newFakeCloud(t), cluster(t)
	cloud.present(cloud.ca.issue(t, "login-us.microsoftonline.com"))
	w := start(t, api, cloud.config(t, api), cloud.reach)
	eventually(t, func() error {
		if err := w.routes.check(ownURL); !strings.Contains(err.Error(), "login.lanyard.example") || errors.Is(err, errUnchecked) {
			return err
		}
		return nil
	})
	chosen := strings.Replace(review("app", 1), `"labels":`, `"annotations":{"lanyard.dev/authority":"own-host"},"labels":`, 1)
	if got := w.post(t, chosen); got.Allowed || got.Status.Code != http.StatusServiceUnavailable || !strings.Contains(got.Status.Message, ownURL) {
		t.Errorf("%+v", got)
	}
	if got := w.post(t, review("app", 1)); !got.Allowed {
		t.Errorf("%+v", got)
	}
}
