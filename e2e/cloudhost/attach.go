package cloudhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

// Namespace is where the agent runs, as upstream's does.
const Namespace = "azure-workload-identity-system"

// Attach does what an operator does, with further flags where they are given, and
// gives the cluster's issuer. The first "lanyard attach" registers the cluster and
// says by which issuer its API server must go; the API server is told; the second
// attaches it.
func (c *Cloud) Attach(ctx context.Context, k *kubetest.Cluster, name, group, image string, flags ...string) (issuer string, err error) {
	attach := []string{
		"attach", name, "--resource-group", group, "--location", "westeurope", "--kubeconfig", k.Kubeconfig,
		"--address", c.Host.Addr().String(), "--image", image, "--yes", "--timeout", "90s",
	}
	attach = append(attach, flags...)
	_, refused := c.Lanyard(ctx, attach...)
	if refused == nil {
		return "", errors.New("a cluster with another issuer was attached")
	}
	out, err := c.Lanyard(ctx, "cluster", "show", name, "--resource-group", group, "-o", "json")
	if err != nil {
		return "", err
	}
	var shown struct {
		Properties struct {
			OIDCIssuerProfile struct{ IssuerURL string }
		}
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil {
		return "", fmt.Errorf("lanyard cluster show: %w", err)
	}
	issuer = shown.Properties.OIDCIssuerProfile.IssuerURL
	if issuer == "" || !strings.Contains(refused.Error(), "--service-account-issuer="+issuer) {
		return "", fmt.Errorf("attach does not say that the issuer must be %q: %w", issuer, refused)
	}
	if err := k.RestartAPIServer(ctx, func(o *kubetest.APIServerOptions) {
		o.Issuers, o.JWKSURI = append([]string{issuer}, o.Issuers...), issuer+"openid/v1/jwks"
	}); err != nil {
		return "", err
	}
	if _, err := c.Lanyard(ctx, attach...); err != nil {
		return "", fmt.Errorf("%w\n%s", err, agentState(ctx, k))
	}
	return issuer, nil
}

// agentState says what became of the agent's pods.
func agentState(ctx context.Context, k *kubetest.Cluster) string {
	var out strings.Builder
	for _, ask := range [][]string{
		{"get", "pods,events", "--namespace=" + Namespace, "--output=wide"},
		{"logs", "--namespace=" + Namespace, "--selector=app.kubernetes.io/name", "--all-containers", "--prefix", "--tail=40"},
	} {
		said, err := k.Kubectl(ctx, ask...)
		fmt.Fprintln(&out, said)
		if err != nil {
			fmt.Fprintln(&out, err)
		}
	}
	return out.String()
}
