package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes. They are part of the programs' contract.
const (
	ExitOK      = 0
	ExitFailure = 1 // the command was understood and failed
	ExitUsage   = 2 // it was not understood: an unknown command, flag or argument
)

// UsageError is a mistake in the command line. A program that fails with one says
// where help is, and exits with [ExitUsage].
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the mistake itself.
func (e UsageError) Unwrap() error { return e.Err }

// Usagef makes a [UsageError] as fmt.Errorf makes an error.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// ExitError is an exit code without words: what was to be said, the command or
// the program that it ran has said.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Main runs the program's command line and gives its exit code. The first SIGINT
// or SIGTERM asks the command to stop in order; the second finds the default
// handling back in place and ends the process at once.
func Main(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(ctx, root)
}

// Run runs the command line that root was given, by default the process's own,
// and gives its exit code. Errors are written to root's error stream.
func Run(ctx context.Context, root *cobra.Command) int {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(flagError)
	defaults(root)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	if code, ok := errors.AsType[ExitError](err); ok {
		return int(code)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err) // what was cancelled follows from the signal
	}
	fmt.Fprintf(root.ErrOrStderr(), "%s: %v\n", root.Name(), err)
	if _, ok := errors.AsType[UsageError](err); ok {
		fmt.Fprintf(root.ErrOrStderr(), "Run %q to see how it is used.\n", command.CommandPath()+" --help")
		return ExitUsage
	}
	return ExitFailure
}
