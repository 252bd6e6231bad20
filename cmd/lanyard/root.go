package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/server"
)

// Exit codes. They are part of the command's contract.
const (
	exitOK      = 0
	exitFailure = 1 // the command was understood and failed
	exitUsage   = 2 // it was not understood: an unknown command, flag or argument
)

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// run executes one command line and gives its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if status, ok := errors.AsType[exitError](err); ok {
		return int(status) // the program that was run has said all there is
	}
	fmt.Fprintln(stderr, "lanyard:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(stderr, "Run %q to see how it is used.\n", command.CommandPath()+" --help")
		return exitUsage
	}
	return exitFailure
}

// newRoot builds the tree of commands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "lanyard",
		Short: "The identity system of Azure Kubernetes Service, run by yourself",
		Long: `Lanyard is the identity system of Azure Kubernetes Service as software that you
run yourself: managed identities, federated credentials, role assignments and
the resources that they open, for Azure's own unmodified SDKs.

Commands that use a running cloud read its environment file, which they find by
--env-file, else by the variable LANYARD_ENV_FILE, else as env.json in the data
directory (--data).

Exit codes: 0 success, 1 failure, 2 a command line that was not understood.`,
		Example: `  # A cloud on this machine, until Ctrl-C
  lanyard up

  # In another terminal: run a program against it
  eval "$(lanyard env)"
  go run ./my-program`,
		SilenceUsage:  true,
		SilenceErrors: true,
		// cobra's own check of arguments lets an unknown command pass as one.
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddGroup(
		&cobra.Group{ID: "cloud", Title: "Running a cloud:"},
		&cobra.Group{ID: "use", Title: "Using a cloud:"},
		&cobra.Group{ID: "kubernetes", Title: "With Kubernetes:"},
		&cobra.Group{ID: "manage", Title: "Managing a cloud:"},
	)
	root.AddCommand(newUp(), newServe(), newEnv(), newExec(), newToken(), newApp(), newClock(), newVersion())
	root.AddCommand(newAttach(), newDetach(), newCluster(), newServiceAccount(), newIssuer(), newJWKS())
	root.AddCommand(newTenant(), newSubscription(), newKeys(), newBackup(), newSealingKey())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

// noArguments refuses arguments as a mistake in the command line.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

// output is the flag -o.
type output string

func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "text|json" }

// Set takes text or json.
func (o *output) Set(s string) error {
	if s != "text" && s != "json" {
		return errors.New("want text or json")
	}
	*o = output(s)
	return nil
}

func (o *output) json() bool { return *o == "json" }

// addOutput adds the flag -o to a command.
func addOutput(cmd *cobra.Command, o *output) {
	*o = "text"
	cmd.Flags().VarP(o, "output", "o", "form of the output")
	mustComplete(cmd, "output", "text", "json")
}

// mustComplete gives the fixed values of a flag to shell completion.
func mustComplete(cmd *cobra.Command, flag string, values ...string) {
	complete := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag was added a line above
	}
}

// printJSON writes v, indented.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// environmentFlags find a running cloud's environment file.
type environmentFlags struct{ envFile, data string }

func (f *environmentFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.envFile, "env-file", "", "environment file of the cloud (default $LANYARD_ENV_FILE, then env.json in --data)")
	cmd.Flags().StringVar(&f.data, "data", "", "data directory of the cloud (default "+defaultDataHelp+")")
}

// load reads the environment file, and gives its absolute path.
func (f *environmentFlags) load() (server.Environment, string, error) {
	path := f.envFile
	if path == "" {
		path = os.Getenv("LANYARD_ENV_FILE")
	}
	if path == "" || (f.data != "" && f.envFile == "") {
		dir, err := dataDir(f.data)
		if err != nil {
			return server.Environment{}, "", err
		}
		path = filepath.Join(dir, "env.json")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return server.Environment{}, "", err
	}
	env, err := server.LoadEnvironment(path)
	return env, path, err
}

const defaultDataHelp = "$XDG_DATA_HOME/lanyard, or ~/.local/share/lanyard"

// dataDir gives the data directory: the given one or the user's own.
func dataDir(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	if base := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "lanyard"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("there is no home directory to keep data in: name a directory with --data: %w", err)
	}
	return filepath.Join(home, ".local", "share", "lanyard"), nil
}
