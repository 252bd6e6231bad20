package attach

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Issuer is what an API server publishes of the service account tokens that it
// signs.
type Issuer struct {
	// URL is the tokens' iss, --service-account-issuer of the API server.
	URL string
	// JWKS is the JWK set of every key by which it accepts tokens, as the API
	// server gives it.
	JWKS json.RawMessage
}

// Issuer reads the API server's discovery document and its keys. That takes the
// role system:service-account-issuer-discovery, which every service account and
// administrator has.
func (c *Cluster) Issuer(ctx context.Context) (Issuer, error) {
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	if err := c.get(ctx, "/.well-known/openid-configuration", &discovery); err != nil {
		return Issuer{}, explainDiscovery(err)
	}
	if discovery.Issuer == "" {
		return Issuer{}, fmt.Errorf("the API server's discovery document at %s names no issuer", c.server)
	}
	// Not the document's jwks_uri: that is where others read the keys, and may
	// not be there yet.
	var keys json.RawMessage
	if err := c.get(ctx, "/openid/v1/jwks", &keys); err != nil {
		return Issuer{}, explainDiscovery(err)
	}
	return Issuer{URL: discovery.Issuer, JWKS: keys}, nil
}

func explainDiscovery(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("reading the cluster's issuer takes the cluster role system:service-account-issuer-discovery: %w", err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the API server publishes no issuer: its --service-account-issuer is not an https URL: %w", err)
	}
	return fmt.Errorf("reading the cluster's issuer: %w", err)
}
