package cloudhost

import (
	"context"
	"encoding/json"
	"fmt"
)

// QuickstartNamespace is the namespace of which the quickstart's platform team
// trusts the service accounts "reader" and "stranger".
const QuickstartNamespace = "shop"

// Quickstart is what the quickstart's platform team has made.
type Quickstart struct {
	VaultURL string `json:"vaultUrl"`
	Secret   string `json:"secret"`
	// ClientIDs are those of the identities "reader", which may read the secret, and
	// "stranger", which may not.
	ClientIDs map[string]string `json:"clientIds"`
}

// Quickstart runs the quickstart's platform team on the cloud's host: Azure's SDK
// makes identities that trust the issuer, a vault, a secret and a role. examples is
// the directory of that module.
func (c *Cloud) Quickstart(ctx context.Context, examples, issuer string) (Quickstart, error) {
	var made Quickstart
	out, err := c.Program(ctx, examples, "./quickstart/platform", "-issuer", issuer)
	if err != nil {
		return made, err
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		return made, fmt.Errorf("the platform team said %q: %w", out, err)
	}
	return made, nil
}
