package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// newEnv makes `lanyard env`.
func newEnv() *cobra.Command {
	var where environmentFlags
	var format string
	var out output
	cmd := &cobra.Command{
		Use:     "env",
		GroupID: "use",
		Short:   "Print the variables by which Azure's SDKs find a cloud",
		Long: `Print the environment variables with which Azure's SDKs, unmodified, use a cloud as
its operator: where the token service is, whom to trust, which proxy leads to the
cloud's names, and the operator's credentials. The output holds secrets.

With the shell form, evaluate the output; the json form is one object of names
and values.`,
		Example: `  eval "$(lanyard env)"

  # For a program in another directory
  lanyard env --format json --env-file /tmp/cloud/env.json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write, ok := map[string]func(io.Writer, []variable) error{"shell": writeShell, "json": writeVariablesJSON}[format]
			if !ok {
				return usageError{fmt.Errorf("format %q is neither shell nor json", format)}
			}
			if out.json() {
				if cmd.Flags().Changed("format") && format != "json" {
					return usageError{errors.New("-o json and --format " + format + " say different things")}
				}
				write = writeVariablesJSON
			}
			env, envFile, err := where.load()
			if err != nil {
				return err
			}
			vars, err := sdkVariables(env, envFile, os.Getenv)
			if err != nil {
				return fmt.Errorf("reading the cloud's authority: %w; start the cloud again to have the file written", err)
			}
			return write(cmd.OutOrStdout(), vars)
		},
	}
	where.add(cmd)
	cmd.Flags().StringVar(&format, "format", "shell", "`shell` or json")
	mustComplete(cmd, "format", "shell", "json")
	addOutput(cmd, &out)
	return cmd
}

// writeShell writes assignments that every POSIX shell evaluates to exactly the
// values.
func writeShell(w io.Writer, vars []variable) error {
	for _, v := range vars {
		if _, err := fmt.Fprintf(w, "export %s='%s'\n", v.name, strings.ReplaceAll(v.value, "'", `'\''`)); err != nil {
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
	return printJSON(w, object)
}
