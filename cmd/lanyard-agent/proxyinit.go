package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/sidecar"
)

// newProxyInit makes `lanyard-agent proxy-init`.
func newProxyInit() *cobra.Command {
	return &cobra.Command{
		Use:   "proxy-init",
		Short: "Lead a pod's metadata requests to the proxy",
		Long: `Installs the redirect of the pod's TCP connections for the instance metadata
service (IMDS) to "lanyard-agent proxy", except those of the proxy's own user, and
exits. It runs as an init container, as root with the capability NET_ADMIN and no
other right, and may run again: it replaces its own nf_tables table and touches
nothing else.

Variables:
  PROXY_PORT     where the proxy listens (default 8000)
  PROXY_UID      user that the proxy runs as (default ` + fmt.Sprint(sidecar.DefaultUID) + `)
  METADATA_IP    address of the metadata service (default 169.254.169.254)
  METADATA_PORT  its port (default 80)`,
		Example: `  # As an init container
  PROXY_PORT=8000 lanyard-agent proxy-init`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			redirect, err := sidecar.RedirectFrom(os.Getenv)
			if err != nil {
				return err
			}
			if err := redirect.Install(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "redirected: %s to port %d, except for user %d\n", redirect.Metadata, redirect.Port, redirect.ExceptUID)
			return err
		},
	}
}
