package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/sidecar"
)

// newProxy makes `lanyard-agent proxy`.
func newProxy() *cobra.Command {
	var port int
	var probe, showVersion bool
	var level logLevel
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Answer a pod's metadata requests by workload identity",
		Long: `Answers requests for tokens of the instance metadata service (IMDS) from the pod's
service account token, for programs that know no other way to get one. It runs as a
sidecar, as user ` + fmt.Sprint(sidecar.DefaultUID) + `; "lanyard-agent proxy-init" leads the pod's requests to it.

It drops in for the proxy of azure-workload-identity v1.6.0. Nothing is passed on to
another metadata service: what is not a token request is answered with 404.

Variables, as the webhook sets them:
  AZURE_TENANT_ID              tenant of the identity, required
  AZURE_CLIENT_ID              identity of requests that name none
  AZURE_AUTHORITY_HOST         the token service, required
  AZURE_FEDERATED_TOKEN_FILE   the service account token, required
  AZURE_KUBERNETES_*           a token proxy in the token service's place
                               (TOKEN_PROXY, SNI_NAME, CA_FILE, CA_DATA)
  SSL_CERT_FILE, SSL_CERT_DIR  authorities to trust`,
		Example: `  # As a sidecar
  lanyard-agent proxy --proxy-port 8000

  # As its probe: waits until it is ready
  lanyard-agent proxy --proxy-port 8000 --probe`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case showVersion:
				return printVersion(cmd.OutOrStdout())
			case port < 0 || port > 65535:
				return command.Usagef("--proxy-port is %d: it is a port, 1 to 65535, or 0 for a free one", port)
			case probe:
				return sidecar.Probe(cmd.Context(), port)
			}
			config, err := sidecar.ConfigFrom(os.Getenv)
			if err != nil {
				return err
			}
			config.Port, config.UserAgent = port, "lanyard-agent-proxy/"+command.Version()
			config.Log = level.logger(cmd.ErrOrStderr())
			return runProxy(cmd, config)
		},
	}
	fl := cmd.Flags()
	fl.IntVar(&port, "proxy-port", sidecar.DefaultPort, "port to listen on, on the loopback address")
	fl.BoolVar(&probe, "probe", false, "wait until the proxy on the port is ready, and exit")
	level.add(cmd, "")
	fl.BoolVar(&showVersion, "version", false, "print the version as JSON and exit")
	return cmd
}

func runProxy(cmd *cobra.Command, config sidecar.Config) error {
	p, err := sidecar.New(config)
	if err != nil {
		return err
	}
	// For whoever starts it with port 0, such as a test.
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "proxy http://%s\n", p.Addr()); err != nil {
		return err
	}
	return p.Run(cmd.Context())
}
