package command

import (
	"slices"

	"github.com/spf13/cobra"
)

// defaults completes the commands that cobra adds to every program, help and
// completion: they take an unknown command for a question about the program.
func defaults(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for name, complete := range map[string]func(*cobra.Command){
		"help":       func(cmd *cobra.Command) { cmd.Run, cmd.RunE = nil, help },
		"completion": func(cmd *cobra.Command) { Parent(cmd) },
	} {
		if i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == name }); i >= 0 {
			complete(root.Commands()[i])
		}
	}
}

// help shows the help of the command that args lead to.
func help(cmd *cobra.Command, args []string) error {
	found, rest, err := cmd.Root().Find(args)
	if err != nil {
		return UsageError{err}
	}
	if len(rest) > 0 {
		return Usagef("unknown command %q%s", rest[0], didYouMean(found.SuggestionsFor(rest[0])))
	}
	found.InitDefaultHelpFlag()
	return found.Help()
}
