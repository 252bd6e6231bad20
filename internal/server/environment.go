package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
)

// envFileName is the environment file's name in the data directory, by default.
const envFileName = "env.json"

// Environment is the environment file: what scripts, tests and this program's
// own commands need to know to use a running cloud. It holds the bootstrap
// secret and the proxy's, so the file has mode 0600.
type Environment struct {
	// Listen is the HTTPS listener's address, "host:port".
	Listen string `json:"listen"`
	// Domain is the parent of the cloud's host names.
	Domain string `json:"domain"`
	// CAFile is the absolute path of the PEM file that verifies the cloud.
	CAFile string `json:"caFile"`
	// TenantID and SubscriptionID are those of the first start.
	TenantID       string `json:"tenantId"`
	SubscriptionID string `json:"subscriptionId"`
	// Proxy is the loopback proxy's URL, with its secret; empty where none runs.
	Proxy string `json:"proxy"`
	// Endpoints are the cloud's addresses.
	Endpoints Endpoints `json:"endpoints"`
	// Bootstrap is the principal that the first start made: an Owner at the
	// tenant's root.
	Bootstrap Bootstrap `json:"bootstrap"`
}

// Endpoints are the addresses that clients are configured with. URLs have no
// trailing slash, suffixes no leading dot; all carry the port unless it is 443.
type Endpoints struct {
	ResourceManager string `json:"resourceManager"`
	ActiveDirectory string `json:"activeDirectory"`
	Graph           string `json:"graph"`
	OIDC            string `json:"oidc"`
	VaultSuffix     string `json:"vaultSuffix"`
	RegistrySuffix  string `json:"registrySuffix"`
	BlobSuffix      string `json:"blobSuffix"`
	// IMDS is the base URL of the instance metadata service, null where none runs.
	IMDS *string `json:"imds"`
}

// Bootstrap names the bootstrap principal.
type Bootstrap struct {
	ClientID string `json:"clientId"`
	// ClientSecret is empty in the file of a replica that did not make it.
	ClientSecret string `json:"clientSecret"`
	ObjectID     string `json:"objectId"`
}

// LoadEnvironment reads an environment file.
func LoadEnvironment(path string) (Environment, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Environment{}, fmt.Errorf("no environment file at %s: start a cloud with `lanyard up`, "+
			"or name its file with --env-file or LANYARD_ENV_FILE: %w", path, err)
	}
	if err != nil {
		return Environment{}, fmt.Errorf("reading the environment file: %w", err)
	}
	var e Environment
	if err := json.Unmarshal(b, &e); err != nil {
		return Environment{}, fmt.Errorf("environment file %s: %w", path, err)
	}
	if e.Listen == "" || e.Domain == "" || e.TenantID == "" {
		return Environment{}, fmt.Errorf("environment file %s: listen, domain or tenantId is missing: it is not one of Lanyard's", path)
	}
	return e, nil
}

// Write writes the file at once and for its owner only.
func (e Environment) Write(path string) error {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing the environment file: %w", err)
	}
	return atomicfile.Write(path, append(b, '\n'), 0o600)
}

// formerEnvironments gives the environment files of earlier runs on the data
// directory: the configured one, and the default one where that is another.
func formerEnvironments(cfg Config) iter.Seq[Environment] {
	return func(yield func(Environment) bool) {
		files := []string{cfg.EnvFile, filepath.Join(cfg.DataDir, envFileName)}
		for _, file := range slices.Compact(files) {
			if e, err := LoadEnvironment(file); err == nil && !yield(e) {
				return
			}
		}
	}
}

// DialAddress is where a client on this machine reaches the listener: Listen,
// with loopback in the place of "every address".
func (e Environment) DialAddress() string { return dialAddress(e.Listen) }

func dialAddress(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1" // Go's listener on every address takes both families
	}
	return net.JoinHostPort(host, port)
}

// environment fills in the environment file.
func (s *Server) environment(record bootstrapRecord, bootstrap Bootstrap, caFile string) Environment {
	env := Environment{
		Listen: s.Addr(), Domain: s.cloud.Domain, CAFile: caFile,
		TenantID: record.TenantID, SubscriptionID: record.SubscriptionID,
		Endpoints: Endpoints{
			ResourceManager: s.cloud.ResourceManager(), ActiveDirectory: s.cloud.ActiveDirectory(),
			Graph: s.cloud.Graph(), OIDC: s.cloud.OIDC(),
			VaultSuffix: s.cloud.VaultSuffix(), RegistrySuffix: s.cloud.RegistrySuffix(), BlobSuffix: s.cloud.BlobSuffix(),
		},
		Bootstrap: bootstrap,
	}
	if s.proxy != nil {
		env.Proxy = s.proxy.URL()
	}
	return env
}
