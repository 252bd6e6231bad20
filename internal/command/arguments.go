package command

import (
	"strings"

	"github.com/spf13/cobra"
)

// Parent completes a command that has others and does nothing by itself: it
// shows its help, and refuses a command that it does not have, which cobra's own
// check lets pass as an argument.
func Parent(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return Usagef("unknown command %q", args[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// Arguments wants exactly the named arguments, none where none is named. Those in
// brackets, which come last, may be left out.
func Arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return Usagef("unexpected argument %q", args[len(names)])
		}
		if len(args) < len(names) && !strings.HasPrefix(names[len(args)], "[") {
			return Usagef("%s is missing", names[len(args)])
		}
		return nil
	}
}

// Complete gives the fixed values of a flag to shell completion. It panics where
// the command has no such flag, which is a mistake of the caller's.
func Complete(cmd *cobra.Command, flag string, values ...string) {
	complete := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err)
	}
}
