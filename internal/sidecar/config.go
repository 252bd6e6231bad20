package sidecar

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/lanyard-id/lanyard/internal/exchange"
)

// DefaultPort is where the proxy listens.
const DefaultPort = 8000

// Config is all that a proxy is made from.
type Config struct {
	// Port is where it listens on the loopback address; 0 takes a free one.
	Port int
	// TenantID is the tenant whose tokens are asked for (AZURE_TENANT_ID).
	// Required.
	TenantID string
	// ClientID is the identity of requests that name none (AZURE_CLIENT_ID); it
	// may be empty, and then such requests are refused.
	ClientID string
	// AuthorityHost is the token service (AZURE_AUTHORITY_HOST). Required.
	AuthorityHost string
	// TokenFile holds the service account token (AZURE_FEDERATED_TOKEN_FILE).
	// Required.
	TokenFile string
	// TokenProxy takes the token service's place; nil without one.
	TokenProxy *exchange.TokenProxy
	// UserAgent names the program to the token service.
	UserAgent string
	// Transport reaches the token service; nil is a usual one.
	Transport http.RoundTripper
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is required.
	Log *slog.Logger
}

// ConfigFrom reads the variables that the workload identity webhook gives to the
// proxy's container. Its error names every one that is missing.
func ConfigFrom(getenv func(string) string) (Config, error) {
	c := Config{
		TenantID: getenv("AZURE_TENANT_ID"), ClientID: getenv("AZURE_CLIENT_ID"),
		AuthorityHost: getenv("AZURE_AUTHORITY_HOST"), TokenFile: getenv("AZURE_FEDERATED_TOKEN_FILE"),
	}
	var missing []error
	for name, value := range map[string]string{
		"AZURE_TENANT_ID": c.TenantID, "AZURE_AUTHORITY_HOST": c.AuthorityHost, "AZURE_FEDERATED_TOKEN_FILE": c.TokenFile,
	} {
		if value == "" {
			missing = append(missing, fmt.Errorf("%s is not set", name))
		}
	}
	if len(missing) > 0 {
		return c, fmt.Errorf("%w: the workload identity webhook sets it in the proxy's container, unless the pod skips that", errors.Join(missing...))
	}
	var err error
	c.TokenProxy, err = exchange.TokenProxyFrom(getenv)
	return c, err
}
