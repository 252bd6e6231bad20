package main

import (
	"fmt"
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

// newVersion makes `lanyard version`.
func newVersion() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Example: `  lanyard version
  lanyard version -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if out.json() {
				return printJSON(cmd.OutOrStdout(), map[string]string{
					"version": buildVersion(), "goVersion": runtime.Version(), "platform": platform,
				})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "lanyard %s (%s, %s)\n", buildVersion(), runtime.Version(), platform)
			return err
		},
	}
	addOutput(cmd, &out)
	return cmd
}
