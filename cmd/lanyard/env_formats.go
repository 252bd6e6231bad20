package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/server"
)

// envFormat is a form in which `lanyard env` tells how to reach a cloud.
type envFormat struct {
	name string
	help string
	// write writes it. vars are those of [sdkVariables].
	write func(w io.Writer, env server.Environment, vars []variable) error
}

// envFormats are the formats, in the order in which help lists them.
var envFormats = []envFormat{
	{"shell", "exports for every SDK", func(w io.Writer, _ server.Environment, vars []variable) error { return writeShell(w, vars) }},
	{"json", "the same as one object", func(w io.Writer, _ server.Environment, vars []variable) error { return writeVariablesJSON(w, vars) }},
	{"go", "exports for the SDK for Go", only("SSL_CERT_FILE")},
	{"node", "exports for the SDK for JavaScript", only("NODE_EXTRA_CA_CERTS")},
	{"python", "exports for the SDK for Python", only("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")},
	{"terraform", "exports for azurerm and azapi", writeTerraform},
	{"az", "commands that make az use the cloud, in a configuration of its own", writeAz},
}

// only writes the exports that a language's SDK reads: who signs in and where,
// the proxy, and the names of that language's own trust.
func only(trust ...string) func(io.Writer, server.Environment, []variable) error {
	return func(w io.Writer, _ server.Environment, vars []variable) error {
		return writeShell(w, slices.DeleteFunc(slices.Clone(vars), func(v variable) bool {
			return !strings.HasPrefix(v.name, "AZURE_") && !isProxy(v.name) && !slices.Contains(trust, v.name)
		}))
	}
}

func isProxy(name string) bool { return strings.HasSuffix(strings.ToUpper(name), "_PROXY") }

// pick gives the variables with the names, and those of the proxy.
func pick(vars []variable, names ...string) []variable {
	return slices.DeleteFunc(slices.Clone(vars), func(v variable) bool { return !isProxy(v.name) && !slices.Contains(names, v.name) })
}

// writeTerraform writes what the providers azurerm and azapi read. azurerm asks
// the metadata host for everything else; azapi has no such thing, and takes the
// endpoints themselves where ARM_ENVIRONMENT is "custom".
func writeTerraform(w io.Writer, env server.Environment, vars []variable) error {
	host, err := url.Parse(env.Endpoints.ResourceManager)
	if err != nil {
		return err
	}
	out := append(pick(vars, "SSL_CERT_FILE"),
		variable{"ARM_TENANT_ID", env.TenantID},
		variable{"ARM_SUBSCRIPTION_ID", env.SubscriptionID},
		variable{"ARM_CLIENT_ID", env.Bootstrap.ClientID},
		variable{"ARM_CLIENT_SECRET", env.Bootstrap.ClientSecret},
		variable{"ARM_METADATA_HOSTNAME", host.Host},
		variable{"ARM_METADATA_HOST", host.Host}, // releases before 3.0 of azurerm
		variable{"ARM_ENVIRONMENT", "custom"},
		variable{"ARM_ACTIVE_DIRECTORY_AUTHORITY_HOST", env.Endpoints.ActiveDirectory + "/"},
		variable{"ARM_RESOURCE_MANAGER_ENDPOINT", env.Endpoints.ResourceManager},
		variable{"ARM_RESOURCE_MANAGER_AUDIENCE", env.Endpoints.ResourceManager},
		variable{"ARM_DISABLE_INSTANCE_DISCOVERY", "true"},
	)
	return writeShell(w, out)
}

// azCloud is the name under which az knows the cloud.
const azCloud = "Lanyard"

// writeAz writes commands for a shell: az keeps its clouds and sign-ins in a
// configuration directory, and this one is beside the cloud's own files, so that
// the user's stays as it is.
func writeAz(w io.Writer, env server.Environment, vars []variable) error {
	e := env.Endpoints
	// The authority ends with /adfs, by which every release of az knows that it
	// need not ask Microsoft's own whether it exists. az lets a resource and its
	// address differ, and takes the address for both.
	cloud := map[string]map[string]string{
		"endpoints": {
			"resourceManager": e.ResourceManager, "management": e.ResourceManager, "activeDirectory": e.ActiveDirectory + "/adfs",
			"activeDirectoryResourceId": e.ResourceManager, "activeDirectoryGraphResourceId": e.Graph,
			"microsoftGraphResourceId": e.Graph, "gallery": e.ResourceManager,
		},
		"suffixes": {
			"keyvaultDns": "." + e.VaultSuffix, "acrLoginServerEndpoint": "." + e.RegistrySuffix,
			"storageEndpoint": strings.TrimPrefix(e.BlobSuffix, "blob."),
		},
	}
	document, err := json.Marshal(cloud)
	if err != nil {
		return err
	}
	out := append(pick(vars, "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
		variable{"AZURE_CONFIG_DIR", filepath.Join(filepath.Dir(env.CAFile), "az")},
		variable{"AZURE_CORE_INSTANCE_DISCOVERY", "false"},
	)
	if err := writeShell(w, out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `mkdir -p "$AZURE_CONFIG_DIR"
az cloud show --name %[1]s >/dev/null 2>&1 && az cloud update --name %[1]s --cloud-config %[2]s >/dev/null || az cloud register --name %[1]s --cloud-config %[2]s
az cloud set --name %[1]s
az login --service-principal --username %[3]s --password %[4]s --tenant %[5]s --output none
`, azCloud, shellQuote(string(document)), shellQuote(env.Bootstrap.ClientID), shellQuote(env.Bootstrap.ClientSecret), shellQuote(env.TenantID))
	return err
}

// shellWord writes a value for POSIX shells, and quotes it where it has to be.
func shellWord(value string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:,=@", r)
	}
	if value != "" && strings.IndexFunc(value, func(r rune) bool { return !plain(r) }) < 0 {
		return value
	}
	return shellQuote(value)
}

// shellQuote quotes a value for POSIX shells.
func shellQuote(value string) string { return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'" }
