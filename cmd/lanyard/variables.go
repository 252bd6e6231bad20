package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/server"
)

// variable is one environment variable.
type variable struct{ name, value string }

// authorityAlias is the one name of Microsoft's token service that every SDK
// trusts without asking and that nobody needs for Azure itself: the way by which
// unmodified SDKs reach another token service while login.microsoftonline.com
// stays what it is.
const authorityAlias = "login-us.microsoftonline.com"

// sdkVariables are what makes Azure's SDKs, unmodified, use a cloud as its
// bootstrap principal: they find it through its proxy, trust its authority beside
// the system's, and sign in with the principal's secret. getenv is the caller's
// environment.
func sdkVariables(env server.Environment, envFile string, getenv func(string) string) ([]variable, error) {
	vars, err := reachVariables(env, env.Proxy, getenv)
	if err != nil {
		return nil, err
	}
	return append(vars,
		variable{"AZURE_CLIENT_ID", env.Bootstrap.ClientID},
		variable{"AZURE_CLIENT_SECRET", env.Bootstrap.ClientSecret},
		variable{"LANYARD_ENV_FILE", envFile},
	), nil
}

// reachVariables are those of them that lead to the cloud, whoever signs in:
// proxy is the URL of the loopback proxy, empty where the cloud's names resolve.
func reachVariables(env server.Environment, proxy string, getenv func(string) string) ([]variable, error) {
	authority := env.Endpoints.ActiveDirectory
	ca, err := os.ReadFile(env.CAFile)
	if err != nil {
		return nil, err
	}
	if permits(ca, authorityAlias) {
		authority = "https://" + authorityAlias
	}
	bundle := server.BundleFile(env.CAFile)
	if _, err := os.Stat(bundle); err != nil {
		bundle = env.CAFile
	}
	vars := []variable{
		{"AZURE_AUTHORITY_HOST", authority},
		{"AZURE_TENANT_ID", env.TenantID},
		{"AZURE_SUBSCRIPTION_ID", env.SubscriptionID},
		// Go and .NET; Node; Python. Node adds to its own authorities, the others
		// replace theirs, and so get the system's too.
		{"SSL_CERT_FILE", bundle},
		{"NODE_EXTRA_CA_CERTS", env.CAFile},
		{"REQUESTS_CA_BUNDLE", bundle},
		{"CURL_CA_BUNDLE", bundle},
	}
	if proxy == "" {
		return vars, nil
	}
	// Clients differ in which case they read, and in which of both wins.
	vars = append(vars, variable{"HTTPS_PROXY", proxy}, variable{"https_proxy", proxy})
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		if former := getenv(name); former != "" {
			vars = append(vars, variable{name, withoutCloud(former, env.Domain)})
		}
	}
	return vars, nil
}

// withoutCloud takes out of a NO_PROXY list what would keep clients from going
// to the cloud's names by the proxy; "localhost" is such an entry, since most
// take it for "*.localhost". What is taken out goes by the proxy too, and from
// there directly.
func withoutCloud(noProxy, domain string) string {
	entries := strings.FieldsFunc(noProxy, func(r rune) bool { return r == ',' || r == ' ' })
	return strings.Join(slices.DeleteFunc(entries, func(entry string) bool {
		name, _, _ := strings.Cut(strings.ToLower(entry), ":")
		name = strings.TrimPrefix(strings.TrimPrefix(name, "*"), ".")
		if name == "" { // "*": everything
			return true
		}
		return covers(name, domain) || covers(domain, name) || covers(name, authorityAlias)
	}), ",")
}

// covers reports whether name is parent or lies below it.
func covers(parent, name string) bool {
	return name == parent || strings.HasSuffix(name, "."+parent)
}

// permits reports whether the authority in a CA file says that it may vouch for
// a name: the cloud's own has constraints that list exactly the names which it
// answers to.
func permits(ca []byte, name string) bool {
	for {
		var block *pem.Block
		if block, ca = pem.Decode(ca); block == nil {
			return false
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && slices.ContainsFunc(cert.PermittedDNSDomains, func(d string) bool { return covers(d, name) }) {
			return true
		}
	}
}

// cloudNames are the names that a cloud answers to: what its authority may
// vouch for.
func cloudNames(env server.Environment) ([]string, error) {
	rest, err := os.ReadFile(env.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the cloud's authority: %w; start the cloud again to have the file written", err)
	}
	var names []string
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			for _, domain := range cert.PermittedDNSDomains {
				names = append(names, domain, "*."+domain)
			}
		}
	}
	if len(names) == 0 { // an authority of one's own, without constraints
		names = []string{env.Domain, "*." + env.Domain}
	}
	return names, nil
}
