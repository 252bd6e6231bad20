package command

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Parent completes a command that has others and does nothing by itself: it
// shows its help, and refuses a command that it does not have, which cobra's own
// check lets pass as an argument.
func Parent(cmd *cobra.Command) *cobra.Command {
	cmd.SuggestionsMinimumDistance = typingErrors
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return Usagef("unknown command %q%s", args[0], didYouMean(cmd.SuggestionsFor(args[0])))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// typingErrors is how many letters may be wrong in a name that is suggested.
const typingErrors = 2

func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (did you mean " + strings.Join(names, ", ") + "?)"
}

// flagError is a [UsageError] for what is wrong with a flag, and names the flags
// that may be meant by one that cmd does not have.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || len(unknown.GetSpecifiedName()) == 1 { // a shorthand is like any other
		return UsageError{err}
	}
	// cobra compares names for commands alone.
	flags := &cobra.Command{SuggestionsMinimumDistance: typingErrors}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Deprecated == "" {
			flags.AddCommand(&cobra.Command{Use: "--" + f.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	return Usagef("%w%s", err, didYouMean(flags.SuggestionsFor("--"+unknown.GetSpecifiedName())))
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
