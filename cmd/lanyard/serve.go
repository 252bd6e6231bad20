package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
)

// newServe makes `lanyard serve`.
func newServe() *cobra.Command {
	var file string
	var out command.Output
	cmd := &cobra.Command{
		Use:     "serve --config FILE",
		GroupID: "cloud",
		Short:   "Run a cloud as a service, from a configuration file",
		Long: `Run a cloud as a service until it is told to stop, alone on its embedded store or
as one of several replicas over an etcd cluster.

The configuration is YAML; an unknown field is an error that names it.
docs/configuration.md is the reference: every field with its meaning, unit and
default. The key that seals secrets in the store comes from a file outside
the data directory (sealingKeyFile) or from LANYARD_SEALING_KEY.`,
		Example: `  # Make a sealing key, once, and keep it apart from the data
  head -c 32 /dev/urandom | base64 > /etc/lanyard/sealing.key
  chmod 600 /etc/lanyard/sealing.key

  # A small configuration
  cat > /etc/lanyard/lanyard.yaml <<EOF
  listen: ":8443"
  domain: lanyard.example.com
  dataDir: /var/lib/lanyard
  sealingKeyFile: /etc/lanyard/sealing.key
  EOF

  lanyard serve --config /etc/lanyard/lanyard.yaml`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return command.Usagef("--config FILE is required")
			}
			cfg, err := server.LoadConfig(file)
			if err != nil {
				return err
			}
			return runCloud(cmd, cfg, out)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `FILE`")
	out.Add(cmd)
	return cmd
}

// runCloud runs a cloud until the command's context ends: it starts, says that
// it is ready, serves, and stops in order.
func runCloud(cmd *cobra.Command, cfg server.Config, out command.Output) error {
	level, format := cfg.LogLevel, cfg.LogFormat
	if level == "" {
		level = "info"
	}
	if format == "" {
		format = "json"
	}
	log, err := server.NewLogger(cmd.ErrOrStderr(), level, format)
	if err != nil {
		log = slog.New(slog.DiscardHandler) // New names every wrong field, these among them
	}
	cfg.Logger, cfg.Version = log, command.Version()

	s, err := server.New(cmd.Context(), cfg)
	if err != nil {
		return unlessStopped(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(cmd.Context()) }()
	select {
	case <-s.Ready():
		if err := sayReady(cmd.OutOrStdout(), s, out); err != nil {
			log.Warn("the ready line cannot be written", "error", err)
		}
		return <-ran
	case err := <-ran:
		return err
	}
}

// unlessStopped gives the failure of a start, which is none for who was told to stop
// before it was ready.
func unlessStopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// sayReady prints the one line that scripts wait for.
func sayReady(w io.Writer, s *server.Server, out command.Output) error {
	if out.JSON() {
		_, err := fmt.Fprintf(w, `{"ready":true,"listen":%q,"envFile":%q}`+"\n", s.Addr(), s.EnvFile())
		return err
	}
	_, err := fmt.Fprintf(w, "Lanyard is ready on %s; environment file %s\n", s.Addr(), s.EnvFile())
	return err
}
