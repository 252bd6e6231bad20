package azure

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCloudNames(t *testing.T) {
	names := func(c Cloud) map[string]string {
		return map[string]string{
			"arm": c.ResourceManager(), "login": c.ActiveDirectory(), "graph": c.Graph(), "oidc": c.OIDC(),
			"portal": c.Portal(), "vault": c.VaultSuffix(), "registry": c.RegistrySuffix(), "blob": c.BlobSuffix(),
			"vaultURI": c.VaultURI("MyVault"), "v1": c.IssuerV1("t"), "v2": c.IssuerV2("t"),
		}
	}
	for _, tt := range []struct {
		cloud Cloud
		want  map[string]string
	}{
		{Cloud{Domain: "lanyard.localhost", Port: 8443}, map[string]string{
			"arm":      "https://management.lanyard.localhost:8443",
			"login":    "https://login.lanyard.localhost:8443",
			"graph":    "https://graph.lanyard.localhost:8443",
			"oidc":     "https://oidc.lanyard.localhost:8443",
			"portal":   "https://console.lanyard.localhost:8443",
			"vault":    "vault.lanyard.localhost:8443",
			"registry": "azurecr.lanyard.localhost:8443",
			"blob":     "blob.lanyard.localhost:8443",
			"vaultURI": "https://myvault.vault.lanyard.localhost:8443/",
			"v1":       "https://sts.lanyard.localhost:8443/t/",
			"v2":       "https://login.lanyard.localhost:8443/t/v2.0",
		}},
		{Cloud{Domain: "example.org", Port: 443}, map[string]string{
			"arm":      "https://management.example.org",
			"login":    "https://login.example.org",
			"graph":    "https://graph.example.org",
			"oidc":     "https://oidc.example.org",
			"portal":   "https://console.example.org",
			"vault":    "vault.example.org",
			"registry": "azurecr.example.org",
			"blob":     "blob.example.org",
			"vaultURI": "https://myvault.vault.example.org/",
			"v1":       "https://sts.example.org/t/",
			"v2":       "https://login.example.org/t/v2.0",
		}},
	} {
		if diff := cmp.Diff(tt.want, names(tt.cloud)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.cloud, diff)
		}
		for what, name := range names(tt.cloud) {
			if what == "vault" || what == "registry" || what == "blob" {
				continue
			}
			if _, err := url.Parse(name); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

func TestServiceNames(t *testing.T) {
	cloud := Cloud{Domain: "lanyard.localhost", Port: 8443}
	vault := cloud.Service(ServiceKeyVault)
	for audience, want := range map[string]bool{
		"https://vault.azure.net":                   true,
		"https://vault.azure.net/":                  true,
		"https://VAULT.azure.net":                   true,
		"https://vault.lanyard.localhost":           true,
		"https://vault.lanyard.localhost:8443":      true,
		"https://vault.lanyard.localhost:8443/":     true,
		ServiceKeyVault:                             true,
		"CFA8B339-82A2-471A-A3C9-0FC0BE7A4093":      true,
		"https://vault.azure.net//":                 false,
		"https://vault.azure.net/.default":          false,
		"https://vault.azure.net.evil.example":      false,
		"https://vault.azure.net:443":               false,
		"http://vault.azure.net":                    false,
		"vault.azure.net":                           false,
		"https://v1.vault.azure.net":                false,
		ServiceKeyVault + "/":                       false,
		"https://management.azure.com":              false,
		"https://vault.lanyard.localhost:8444":      false,
		"":                                          false,
		"/":                                         false,
		"https://vault.azure.net\u2044":             false,
		"https://vault.azure.net\x00":               false,
		"https://" + longS + "torage.azure.com":     false,
		"api://cfa8b339-82a2-471a-a3c9-0fc0be7a409": false,
	} {
		if got := vault.Names(audience); got != want {
			t.Errorf("Key Vault is named by %q: %v, want %v", audience, got, want)
		}
	}
}

// An audience that named two services would open the second with the first's tokens.
func TestServicesShareNoName(t *testing.T) {
	for _, cloud := range []Cloud{{Domain: "lanyard.localhost", Port: 8443}, {Domain: "example.org", Port: 443}} {
		services := cloud.Services()
		for _, s := range services {
			for _, audience := range append([]string{s.AppID}, s.URIs...) {
				for _, other := range services {
					if got, want := other.Names(audience), other.AppID == s.AppID; got != want {
						t.Errorf("%s is named by %q: %v", other.Name, audience, got)
					}
				}
			}
			if got := cloud.Service(s.AppID); got.Name != s.Name {
				t.Errorf("Service(%q) is %q, want %q", s.AppID, got.Name, s.Name)
			}
		}
	}
}
