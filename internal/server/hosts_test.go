package server

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
)

func TestRoute(t *testing.T) {
	r := newRouter(azure.Cloud{Domain: "d.test", Port: 8443, Aliases: []string{"*.vault.azure.net", "login-us.microsoftonline.com"}})
	for host, want := range map[string]plane{
		"login.d.test":                 planeEntra,
		"LOGIN.D.TEST:8443":            planeEntra,
		"login.d.test.:443":            planeEntra,
		"sts.d.test":                   planeEntra,
		"management.d.test:1":          planeARM,
		"v1.vault.d.test:8443":         planeKeyVault,
		"vault.d.test":                 planeNone,
		"a.b.vault.d.test":             planeNone,
		".vault.d.test":                planeNone,
		"d.test":                       planeSelf,
		"localhost:8443":               planeSelf,
		"127.0.0.1:8443":               planeSelf,
		"[::1]:8443":                   planeSelf,
		"::1":                          planeSelf,
		"login-us.microsoftonline.com": planeEntra,
		"login.microsoftonline.com":    planeNone, // known, not enabled
		"v1.vault.azure.net":           planeKeyVault,
		"vault.azure.net":              planeNone,
		"management.azure.com":         planeNone,
		"graph.d.test":                 planeGraph,
		"oidc.d.test:8443":             planeIssuers,
		"agents.d.test":                planeAgents,
		"x.oidc.d.test":                planeNone,
		"graph.microsoft.com":          planeNone,
		"evil.example":                 planeNone,
		"login.d.test.evil.example":    planeNone,
		"xlogin.d.test":                planeNone,
		"":                             planeNone,
		":8443":                        planeNone,
		"\u017fts.d.test":              planeNone, // the long s is no s
	} {
		if got := r.route(host); got != want {
			t.Errorf("route(%q) = %s, want %s", host, got, want)
		}
	}
	for host, want := range map[string]string{
		"x.azurecr.d.test:1": "container registries", "a.blob.d.test": "blob storage",
		"console.d.test": "console", "evil.example": `"evil.example"`,
	} {
		if got := r.explain(host); !strings.Contains(got, want) {
			t.Errorf("explain(%q) = %q, want it to name %s", host, got, want)
		}
	}
}

func TestCheckAliases(t *testing.T) {
	got, err := checkAliases([]string{"*.VAULT.azure.net", "login.microsoftonline.com", "*.vault.azure.net"})
	if want := []string{"*.vault.azure.net", "login.microsoftonline.com"}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("checkAliases = %q, %v; want %q", got, err, want)
	}
	for _, name := range []string{"", "*", "*.com", "vault.azure.net", "*.azurecr.io"} {
		if _, err := checkAliases([]string{name}); err == nil {
			t.Errorf("alias %q was taken", name)
		}
	}
}
