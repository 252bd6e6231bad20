package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/tokenproxy"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

type tokenProxyFlags struct {
	audience, service, certDir, tlsMinVersion string
	addr, healthAddr, metricsAddr             string
	kubeconfig                                string
	tenants, dnsNames                         []string
	level                                     logLevel
}

// newTokenProxy makes `lanyard-agent token-proxy`.
func newTokenProxy() *cobra.Command {
	var f tokenProxyFlags
	cmd := &cobra.Command{
		Use:   "token-proxy",
		Short: "Serve tokens to pods by identity bindings",
		Long: `Serves the token endpoint inside the cluster that identity bindings need: pods whose
annotation chooses it (webhook --custom-token-endpoint-annotation-suffix) ask here,
with Azure's SDKs, by AZURE_KUBERNETES_TOKEN_PROXY.

The API server says whose service account token is presented, and whether the service
account may use the identity: the verb use-managed-identity in the API group
cid.wi.aks.azure.com, on the client ID, in lower case, as resource. Then the token
proxy asks the token service with its own service account token. One federated
credential of the identity, for the token proxy's service account, serves them all.

Variables:
  AZURE_TENANT_ID              tenant whose tokens are given out, required
  AZURE_AUTHORITY_HOST         the token service, else by
  AZURE_ENVIRONMENT            AzurePublicCloud (default), AzureUSGovernment,
                               AzureChinaCloud, AzureGermanCloud, AzureStackCloud
  AZURE_ENVIRONMENT_FILEPATH   with AzureStackCloud: a JSON file whose
                               activeDirectoryEndpoint is the authority host
  AZURE_FEDERATED_TOKEN_FILE   the token proxy's own service account token, with the
                               audience ` + workloadidentity.DefaultAudience + `, required
  POD_NAMESPACE                the token proxy's namespace
  SSL_CERT_FILE, SSL_CERT_DIR  authorities to trust
  KUBECONFIG                   the cluster, outside of it`,
		Example: `  # In the cluster
  lanyard-agent token-proxy

  # A service account that may use an identity
  kubectl apply -f - <<EOF
  apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRole
  metadata: {name: use-$CLIENT_ID}
  rules:
  - {apiGroups: [cid.wi.aks.azure.com], resources: [$CLIENT_ID], verbs: [use-managed-identity]}
  EOF
  kubectl create clusterrolebinding use-$CLIENT_ID --clusterrole use-$CLIENT_ID \
    --serviceaccount my-namespace:my-account`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.audience, "audience", tokenproxy.DefaultAudience, "audience of the service account tokens that pods present")
	fl.StringSliceVar(&f.tenants, "tenant", nil, "further tenants whose tokens are given out")
	fl.StringVar(&f.service, "service", tokenproxy.DefaultService, "name of the Service, after which Secret and ConfigMap are named too")
	fl.StringSliceVar(&f.dnsNames, "dns-name", nil, "further names of the certificate")
	fl.StringVar(&f.certDir, "cert-dir", "", "directory of tls.crt and tls.key, kept by someone else (default: an own certificate, in a Secret)")
	fl.StringVar(&f.tlsMinVersion, "tls-min-version", "1.2", "lowest TLS version: 1.2 or 1.3")
	fl.StringVar(&f.addr, "addr", ":8443", "address of the token endpoint")
	fl.StringVar(&f.healthAddr, "health-addr", ":9440", "address of /healthz and /readyz; 0 for none")
	fl.StringVar(&f.metricsAddr, "metrics-addr", ":8095", "address of /metrics; 0 for none")
	f.level.add(cmd, "info")
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "file that names the cluster (default $KUBECONFIG, then the cluster that the process is in)")
	command.Complete(cmd, "tls-min-version", "1.2", "1.3")
	return cmd
}

// config checks flags and variables.
func (f *tokenProxyFlags) config(stderr io.Writer) (tokenproxy.Config, error) {
	var none tokenproxy.Config
	tlsVersion, ok := tlsVersions[f.tlsMinVersion]
	if !ok || f.tlsMinVersion < "1.2" {
		return none, command.Usagef("--tls-min-version is %q: it is 1.2 or 1.3", f.tlsMinVersion)
	}
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"} {
		if os.Getenv(name) == "" {
			return none, fmt.Errorf("%s is required", name)
		}
	}
	authority := os.Getenv("AZURE_AUTHORITY_HOST")
	if authority == "" {
		var err error
		if authority, err = workloadidentity.AuthorityHost(workloadidentity.Environment{Getenv: os.Getenv, ReadFile: os.ReadFile}); err != nil {
			return none, err
		}
	}
	cluster, err := clusterConfig(f.kubeconfig)
	if err != nil {
		return none, err
	}
	cluster.UserAgent = "lanyard-agent-token-proxy/" + command.Version()
	return tokenproxy.Config{
		Kubernetes: cluster, Audience: f.audience, Tenants: append([]string{os.Getenv("AZURE_TENANT_ID")}, f.tenants...),
		AuthorityHost: authority, TokenFile: os.Getenv("AZURE_FEDERATED_TOKEN_FILE"),
		Namespace: os.Getenv("POD_NAMESPACE"), Service: f.service, DNSNames: f.dnsNames, CertDir: f.certDir, TLSMinVersion: tlsVersion,
		Addr: f.addr, HealthAddr: f.healthAddr, MetricsAddr: f.metricsAddr, UserAgent: cluster.UserAgent,
		Log: f.level.logger(stderr),
	}, nil
}

func (f *tokenProxyFlags) run(cmd *cobra.Command) error {
	config, err := f.config(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	klog.SetSlogLogger(config.Log) // client-go's own log
	p, err := tokenproxy.New(config)
	if err != nil {
		return err
	}
	// For whoever starts it with port 0, such as a test.
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "token proxy https://%s health %s metrics %s\n",
		address(p.Addr("token proxy")), address(p.Addr("health")), address(p.Addr("metrics"))); err != nil {
		return err
	}
	return p.Run(cmd.Context())
}
