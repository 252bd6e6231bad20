package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X main.version=...); else the module's version
// counts, as `go install` sets it.
var version string

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// printVersion writes the version as JSON.
func printVersion(w io.Writer) error {
	return json.NewEncoder(w).Encode(map[string]string{
		"version": buildVersion(), "goVersion": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
	})
}

// newVersion makes `lanyard-agent version`.
func newVersion() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  lanyard-agent version -o json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch output {
			case "json":
				return printVersion(cmd.OutOrStdout())
			case "text":
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "lanyard-agent %s (%s, %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return err
			}
			return usageError{fmt.Errorf("invalid argument %q for \"-o, --output\" flag: want text or json", output)}
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", output, "form of the output: text or json")
	mustComplete(cmd, "output", "text", "json")
	return cmd
}

// mustComplete gives the fixed values of a flag to shell completion.
func mustComplete(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was added a line above
	}
}
