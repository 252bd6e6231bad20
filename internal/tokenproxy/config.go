package tokenproxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/exchange"
)

const (
	// DefaultAudience is the audience of the tokens that pods present: AKS's.
	DefaultAudience = "api://AKSIdentityBinding"
	// DefaultService is the name of the token proxy's Service.
	DefaultService = "lanyard-token-proxy"
)

// Config is all that a token proxy is made from.
type Config struct {
	// Kubernetes reaches the API server. Required.
	Kubernetes *rest.Config
	// Audience is that of the tokens that pods present; DefaultAudience when empty.
	Audience string
	// Tenants are those whose tokens are given out: GUIDs or domain names. The
	// first one counts where a request names none. At least one.
	Tenants []string
	// AuthorityHost is the token service. Required.
	AuthorityHost string
	// TokenFile holds the token proxy's own service account token. Required.
	TokenFile string
	// Namespace and Service (DefaultService when empty) are the token proxy's own:
	// its certificate is SERVICE.NAMESPACE.svc's, kept in the Secret SERVICE-cert;
	// its authority is in the ConfigMap SERVICE-ca. Namespace is required without
	// CertDir.
	Namespace, Service string
	// DNSNames are more names of the certificate.
	DNSNames []string
	// CertDir holds tls.crt and tls.key, kept by someone else. Empty, the token
	// proxy keeps its own certificate.
	CertDir string
	// TLSMinVersion is a constant of crypto/tls; TLS 1.3 when 0.
	TLSMinVersion uint16
	// Addr, HealthAddr and MetricsAddr are host:port to listen on. An empty health
	// or metrics address, or "0", goes without.
	Addr, HealthAddr, MetricsAddr string
	// UserAgent names the program to the token service.
	UserAgent string
	// Transport reaches the token service; nil is a usual one.
	Transport http.RoundTripper
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is required.
	Log *slog.Logger
}

// validate checks a configuration and fills in the defaults. Its errors name what
// the operator set.
func (c *Config) validate() error {
	if c.Audience == "" {
		c.Audience = DefaultAudience
	}
	if c.Service == "" {
		c.Service = DefaultService
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if len(c.Tenants) == 0 {
		return errors.New("AZURE_TENANT_ID is required")
	}
	for i, tenant := range c.Tenants {
		if !exchange.IsTenant(tenant) || slices.Contains(everybody, azure.Fold(tenant)) {
			return fmt.Errorf("the tenant %q is neither a GUID nor a domain name", tenant)
		}
		c.Tenants[i] = azure.Fold(tenant)
	}
	if c.Namespace == "" && c.CertDir == "" {
		return errors.New("POD_NAMESPACE is required for a token proxy that keeps its own certificate")
	}
	if azure.EqualFold(c.Audience, exchangeAudience) {
		// A token for Entra must not be good for anything here, nor one for here
		// at Entra: each could be replayed at the other.
		return fmt.Errorf("--audience must not be %q, by which pods reach the token service itself", exchangeAudience)
	}
	return nil
}

// exchangeAudience is what Entra's federated credentials expect.
const exchangeAudience = "api://AzureADTokenExchange"

// everybody are path segments of the token service that stand for no tenant.
var everybody = []string{"common", "organizations", "consumers", "adfs"}
