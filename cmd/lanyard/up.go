package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
)

// newUp makes `lanyard up`.
func newUp() *cobra.Command {
	var data string
	var rehearse []string
	var out command.Output
	cfg := server.UpDefaults("")
	cmd := &cobra.Command{
		Use:     "up",
		GroupID: "cloud",
		Short:   "Run a cloud on this machine, without configuration",
		Long: `Run a cloud on this machine until it is told to stop (Ctrl-C, SIGTERM).

State, certificates, the sealing key and the audit log are kept in one data
directory. The first start makes a tenant, a subscription and an operator with a
random secret; a later start keeps every id, key and address. When the cloud is
ready, its environment file is written and one line is printed to standard
output; logs go to standard error.

Names of the cloud do not resolve by themselves: programs reach them through a
loopback proxy that runs along. "lanyard env" prints the variables for that.

Issuers of federated credentials on private or loopback addresses are refused
unless --issuer-allow names their range.

What takes its time on Azure, and what Azure refuses when it becomes too much, is
immediate and free here. --rehearse has a program meet it all the same: all, or
some of credentialPropagation, roleAssignmentLag and imdsTokenCache (each with a
time of your own, as in roleAssignmentLag=30s), imdsThrottle and armThrottle. With
--clock, "lanyard clock" puts the cloud's clock ahead, so that nobody has to wait.`,
		Example: `  # A cloud that keeps its state
  lanyard up

  # One for a test, in a directory of its own
  lanyard up --data "$(mktemp -d)"

  # One whose metadata service makes this machine the identity "orders"
  lanyard up --imds 127.0.0.1:8169 --imds-identity orders

  # One that takes its time as Azure does, and can be hurried on
  lanyard up --rehearse all --clock

  # One that accepts tokens of a cluster on this machine
  lanyard up --issuer-allow 127.0.0.1/32 --issuer-ca cluster-ca.pem`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := dataDir(data)
			if err != nil {
				return err
			}
			cfg.DataDir = dir
			cfg.Tracing.Enabled = cfg.Tracing.OTLPEndpoint != ""
			for _, name := range rehearse {
				if err := cfg.Rehearsal.Enable(name); err != nil {
					return command.Usagef("--rehearse: %w", err)
				}
			}
			if cfg.EnvFile != "" {
				if cfg.EnvFile, err = filepath.Abs(cfg.EnvFile); err != nil {
					return err
				}
			}
			return runCloud(cmd, cfg, out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", "", "data directory (default "+defaultDataHelp+")")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "address to serve on, `HOST:PORT`; port 0 is chosen once and kept")
	f.StringVar(&cfg.Domain, "domain", "lanyard.localhost", "parent of the cloud's host names")
	f.StringVar(&cfg.EnvFile, "env-file", "", "environment file to write (default env.json in the data directory)")
	f.StringArrayVar(&cfg.IssuerAllow, "issuer-allow", nil, "address range, as `CIDR`, in which issuers may lie though it is not public (repeatable)")
	f.StringVar(&cfg.IssuerCAFile, "issuer-ca", "", "PEM `FILE` of authorities for issuers, beside the system's")
	f.StringSliceVar(&cfg.Aliases, "aliases", cfg.Aliases, "Azure's own host names to answer to, separated by commas; \"\" for none")
	f.StringVar(&cfg.IMDS.Listen, "imds", "", "serve the instance metadata service, for development, on `HOST:PORT` (loopback or link-local)")
	f.StringArrayVar(&cfg.IMDS.Identities, "imds-identity", nil, "identity of this machine there: `NAME`, resource ID or client ID (repeatable)")
	f.BoolVar(&cfg.StrictAzure, "strict-azure", false, "refuse Lanyard's extensions, keep Azure's limits, and rehearse all of its delays")
	f.StringSliceVar(&rehearse, "rehearse", nil, "Azure's delays and throttles to have, separated by commas: all, `NAME` or NAME=DURATION")
	f.BoolVar(&cfg.TestClock, "clock", false, "let \"lanyard clock\" put the cloud's clock ahead, for tests")
	f.StringVar(&cfg.Tracing.OTLPEndpoint, "otlp-endpoint", "", "send OpenTelemetry traces to the collector at `URL`, such as http://127.0.0.1:4318")
	f.StringVar(&cfg.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&cfg.LogFormat, "log-format", "text", "text or json")
	command.Complete(cmd, "log-level", "debug", "info", "warn", "error")
	command.Complete(cmd, "log-format", "text", "json")
	command.Complete(cmd, "rehearse", append([]string{"all"}, server.Rehearsals()...)...)
	command.Complete(cmd, "aliases", server.KnownAliases()...)
	out.Add(cmd)
	return cmd
}
