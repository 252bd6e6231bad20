package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
)

// newEnv makes `lanyard env`.
func newEnv() *cobra.Command {
	var where environmentFlags
	var format string
	var out command.Output
	cmd := &cobra.Command{
		Use:     "env",
		GroupID: "use",
		Short:   "Print the variables by which Azure's SDKs find a cloud",
		Long: `Print the environment variables with which Azure's SDKs, unmodified, use a cloud as
its operator: where the token service is, whom to trust, which proxy leads to the
cloud's names, and the operator's credentials. The output holds secrets.

Evaluate the output in a shell. The formats are:
` + formatsHelp() + `
json is one object of names and values.`,
		Example: `  eval "$(lanyard env)"

  # az, in a configuration of its own
  eval "$(lanyard env --format az)"

  # For a program in another directory
  lanyard env --format json --env-file /tmp/cloud/env.json`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at := slices.IndexFunc(envFormats, func(f envFormat) bool { return f.name == format })
			if at < 0 {
				return command.Usagef("there is no format %q; there are %s", format, strings.Join(formatNames(), ", "))
			}
			write := envFormats[at].write
			if out.JSON() {
				if cmd.Flags().Changed("format") && format != "json" {
					return command.Usagef("-o json and --format %s say different things", format)
				}
				write = func(w io.Writer, _ server.Environment, vars []variable) error { return writeVariablesJSON(w, vars) }
			}
			env, envFile, err := where.load()
			if err != nil {
				return err
			}
			vars, err := sdkVariables(env, envFile, os.Getenv)
			if err != nil {
				return fmt.Errorf("reading the cloud's authority: %w; start the cloud again to have the file written", err)
			}
			return write(cmd.OutOrStdout(), env, vars)
		},
	}
	where.add(cmd)
	cmd.Flags().StringVar(&format, "format", "shell", "`FORMAT`: "+strings.Join(formatNames(), ", "))
	command.Complete(cmd, "format", formatNames()...)
	out.Add(cmd)
	return cmd
}

func formatNames() []string {
	names := make([]string, 0, len(envFormats))
	for _, f := range envFormats {
		names = append(names, f.name)
	}
	return names
}

func formatsHelp() string {
	var b strings.Builder
	for _, f := range envFormats {
		fmt.Fprintf(&b, "\n  %-10s %s", f.name, f.help)
	}
	return b.String() + "\n"
}

// writeShell writes assignments that every POSIX shell evaluates to exactly the
// values.
func writeShell(w io.Writer, vars []variable) error {
	for _, v := range vars {
		if _, err := fmt.Fprintf(w, "export %s=%s\n", v.name, shellQuote(v.value)); err != nil {
			return err
		}
	}
	return nil
}

// writeVariablesJSON writes one object.
func writeVariablesJSON(w io.Writer, vars []variable) error {
	object := map[string]string{}
	for _, v := range vars {
		object[v.name] = v.value
	}
	return command.PrintJSON(w, object)
}
