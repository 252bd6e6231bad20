package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/controller"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// webhookFlags are upstream's flags, with its defaults; --webhook-addr, which
// upstream does not let choose; and --detect-unmutated-pods.
type webhookFlags struct {
	audience, certDir, tlsMinVersion     string
	healthAddr, metricsAddr, webhookAddr string
	metricsBackend, kubeconfig           string
	customSuffix, customAudience         string
	disableCertRotation, showVersion     bool
	detect                               bool
	level                                logLevel
}

// defaultNamespace is the webhook's own namespace where POD_NAMESPACE is not set.
const defaultNamespace = "azure-workload-identity-system"

// newWebhook makes `lanyard-agent webhook`.
func newWebhook() *cobra.Command {
	var f webhookFlags
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Serve the workload identity webhook",
		Long: `Serves the admission webhook that makes pods Azure workloads: pods with the label
azure.workload.identity/use=true get a projected token and the variables by which
Azure's SDKs become the identity that their service account is annotated with.

It drops in for the webhook of azure-workload-identity v1.6.0: flags, variables,
names of resources, metrics and what pods get are the same.

Variables:
  AZURE_TENANT_ID              tenant of identities, required
  AZURE_ENVIRONMENT            AzurePublicCloud (default), AzureUSGovernment,
                               AzureChinaCloud, AzureGermanCloud, AzureStackCloud
  AZURE_ENVIRONMENT_FILEPATH   with AzureStackCloud: a JSON file whose
                               activeDirectoryEndpoint is the authority host
  PROXY_IMAGE, PROXY_INIT_IMAGE  images of the token proxy
  LANYARD_AGENT_IMAGE          the agent's image, in place of those two: its "proxy"
                               and "proxy-init" need fewer rights
  AZURE_KUBERNETES_*           the custom token endpoint (TOKEN_PROXY, SNI_NAME,
                               CA_DATA, CA_CONFIGMAP_NAME, CA_CTB_SIGNER_NAME,
                               CA_CTB_LABEL_SELECTOR)
  LANYARD_TOKEN_PROXY_CA_CONFIGMAP  a ConfigMap beside the webhook, whose ca.crt is
                               followed as CA_DATA: until it is there, pods that ask
                               for the endpoint are refused
  POD_NAMESPACE                the webhook's namespace
                               (default ` + defaultNamespace + `)
  POD_NAME                     the webhook's name in events (default: the host's)
  KUBECONFIG                   the cluster, outside of it
  GOMAXPROCS, GOGC             processors and collector, as of any program in Go
                               (default: one once it has started, and 200)

` + cloudHelp,
		Example: `  # In the cluster
  lanyard-agent webhook

  # Outside, with a certificate made by someone else
  KUBECONFIG=kubeconfig AZURE_TENANT_ID=$TENANT lanyard-agent webhook \
    --disable-cert-rotation --webhook-cert-dir ./certs --webhook-addr 127.0.0.1:9443`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.showVersion {
				return printVersion(cmd.OutOrStdout())
			}
			return f.run(cmd)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.audience, "audience", "", "audience of service account tokens (default "+workloadidentity.DefaultAudience+")")
	fl.StringVar(&f.certDir, "webhook-cert-dir", "/certs", "directory of tls.crt and tls.key, used with --disable-cert-rotation")
	fl.BoolVar(&f.disableCertRotation, "disable-cert-rotation", false, "do not make and renew the TLS certificate: someone else does, in --webhook-cert-dir")
	fl.StringVar(&f.tlsMinVersion, "tls-min-version", "1.3", "lowest TLS version: 1.0, 1.1, 1.2 or 1.3")
	fl.StringVar(&f.webhookAddr, "webhook-addr", ":9443", "address of the webhook")
	fl.StringVar(&f.healthAddr, "health-addr", ":9440", "address of /healthz and /readyz; 0 for none")
	fl.StringVar(&f.metricsAddr, "metrics-addr", ":8095", "address of /metrics; 0 for none")
	fl.StringVar(&f.metricsBackend, "metrics-backend", "prometheus", "how metrics are given: prometheus")
	f.level.add(cmd, "")
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "file that names the cluster (default $KUBECONFIG, then the cluster that the process is in)")
	fl.StringVar(&f.customSuffix, "custom-token-endpoint-annotation-suffix", "", "suffix of the annotation azure.workload.identity/use-<suffix> that chooses the custom token endpoint")
	fl.StringVar(&f.customAudience, "custom-token-endpoint-audience", "", "audience of tokens for the custom token endpoint")
	fl.BoolVar(&f.detect, "detect-unmutated-pods", true, "report pods that ask for the webhook and run without what it adds: by an event, a metric and the log")
	fl.BoolVar(&f.showVersion, "version", false, "print the version as JSON and exit")
	command.Complete(cmd, "tls-min-version", "1.0", "1.1", "1.2", "1.3")
	command.Complete(cmd, "metrics-backend", "prometheus")
	return cmd
}

var tlsVersions = map[string]uint16{
	"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13,
}

// config checks flags and variables.
func (f *webhookFlags) config(stderr io.Writer) (controller.WebhookConfig, error) {
	var none controller.WebhookConfig
	tlsVersion, ok := tlsVersions[f.tlsMinVersion]
	if !ok {
		return none, command.Usagef("--tls-min-version is %q: it is one of 1.0, 1.1, 1.2, 1.3", f.tlsMinVersion)
	}
	if f.metricsBackend != "prometheus" {
		return none, command.Usagef("--metrics-backend is %q: there is prometheus", f.metricsBackend)
	}
	settings, err := workloadidentity.SettingsFrom(
		workloadidentity.Environment{Getenv: os.Getenv, ReadFile: os.ReadFile}, f.customSuffix, f.customAudience)
	if err != nil {
		return none, err
	}
	settings.Audience, settings.ProxyLogLevel = f.audience, string(f.level)
	if err := settings.Validate(); err != nil {
		return none, err
	}
	cluster, err := clusterConfig(f.kubeconfig)
	if err != nil {
		return none, err
	}
	cluster.UserAgent = "lanyard-agent-webhook/" + command.Version()
	c := controller.WebhookConfig{
		Kubernetes: cluster, Settings: settings,
		Addr: f.webhookAddr, HealthAddr: f.healthAddr, MetricsAddr: f.metricsAddr,
		TLSMinVersion: tlsVersion, Namespace: os.Getenv("POD_NAMESPACE"), Instance: os.Getenv("POD_NAME"), Version: command.Version(),
		AuthorityFile: os.Getenv("LANYARD_CA_FILE"), Detect: f.detect,
		Log: f.level.logger(stderr),
	}
	if c.Namespace == "" {
		c.Namespace = defaultNamespace
	}
	if c.Instance == "" {
		if c.Instance, err = os.Hostname(); err != nil {
			return none, err
		}
	}
	if f.disableCertRotation {
		c.CertDir = f.certDir
	}
	c.Channel, err = channelConfig(os.Getenv)
	return c, err
}

// clusterConfig finds the cluster as kubectl does, and the one that the process
// runs in where no file names another.
func clusterConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w", err)
	}
	return config, nil
}

func (f *webhookFlags) run(cmd *cobra.Command) error {
	config, err := f.config(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	klog.SetSlogLogger(config.Log) // client-go's own log
	config.Started = controller.Tune(os.Getenv)
	w, err := controller.NewWebhook(config)
	if err != nil {
		return err
	}
	// For whoever starts it with port 0, such as a test.
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "webhook https://%s%s health %s metrics %s\n",
		address(w.Addr("webhook")), controller.MutatePath, address(w.Addr("health")), address(w.Addr("metrics"))); err != nil {
		return err
	}
	return w.Run(cmd.Context())
}

// address is a listener's, or that there is none.
func address(a net.Addr) string {
	if a == nil {
		return "none"
	}
	return a.String()
}
