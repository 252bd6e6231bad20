package command

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X github.com/lanyard-id/lanyard/internal/command.version=...).
var version string

// Version is the program's: what it was linked with, else the version of its
// module, as `go install` sets it, else "devel".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// printVersion writes the version, Go's and the platform as JSON.
func printVersion(w io.Writer) error {
	return PrintJSON(w, map[string]string{"version": Version(), "goVersion": runtime.Version(), "platform": platform()})
}

func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// NewVersion makes the command "version" of a program.
func NewVersion(program string) *cobra.Command {
	var out Output
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  " + program + " version\n  " + program + " version -o json",
		Args:    Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out.JSON() {
				return printVersion(cmd.OutOrStdout())
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s (%s, %s)\n", program, Version(), runtime.Version(), platform())
			return err
		},
	}
	out.Add(cmd)
	return cmd
}
