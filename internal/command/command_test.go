package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestRun: each end of a command has its code and its words.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		name, args string
		code       int
		out, err   string // the beginning of what is written
	}{
		{"success", "do it", ExitOK, "did it\n", ""},
		{"an argument left out", "do", ExitUsage, "", "program: WHAT is missing\nRun \"program do --help\" to see how it is used.\n"},
		{"an optional argument", "do it now", ExitOK, "did it now\n", ""},
		{"an argument too many", "do it now again", ExitUsage, "", "program: unexpected argument \"again\"\n"},
		{"an unknown flag", "do --much it", ExitUsage, "", "program: unknown flag: --much\nRun \"program do --help\""},
		{"an unknown command", "other", ExitUsage, "", "program: unknown command \"other\"\nRun \"program --help\""},
		{"a mistyped command", "fial", ExitUsage, "", "program: unknown command \"fial\" (did you mean fail?)\nRun \"program --help\""},
		{"a mistyped flag", "do --ouptut json it", ExitUsage, "", "program: unknown flag: --ouptut (did you mean --output?)\nRun \"program do --help\""},
		{"an unknown shorthand", "do -x it", ExitUsage, "", "program: unknown shorthand flag: 'x' in -x\nRun \"program do --help\""},
		{"an unknown form of output", "do it -o yaml", ExitUsage, "", "program: invalid argument \"yaml\" for \"-o, --output\" flag: want text or json\n"},
		{"json", "do <it> -o json", ExitOK, "{\n  \"did\": \"<it>\"\n}\n", ""},
		{"a failure", "fail", ExitFailure, "", "program: it is broken\n"},
		{"a code of its own", "exit", 42, "", ""},
		{"help", "", ExitOK, "It does things\n", ""},
		{"help of a command", "help do", ExitOK, "Usage:\n  program do WHAT [WHEN] [flags]\n", ""},
		{"help of help", "help help", ExitOK, "Help provides help", ""},
		{"help of an unknown command", "help fial", ExitUsage, "", "program: unknown command \"fial\" (did you mean fail?)\n"},
		{"help of more than a command", "help do it", ExitUsage, "", "program: unknown command \"it\"\n"},
		{"completion of an unknown shell", "completion bahs", ExitUsage, "", "program: unknown command \"bahs\" (did you mean bash?)\nRun \"program completion --help\""},
		{"completion", "completion bash", ExitOK, "# bash completion", ""},
		{"the version", "version", ExitOK, "program ", ""},
		{"the version as json", "version -o json", ExitOK, "{\n  \"goVersion\": \"go1.", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, err bytes.Buffer
			root := newProgram()
			root.SetArgs(strings.Fields(c.args))
			root.SetOut(&out)
			root.SetErr(&err)
			if code := Run(t.Context(), root); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !begins(out.String(), c.out) || !begins(err.String(), c.err) {
				t.Errorf("output %q and error %q, want %q and %q", &out, &err, c.out, c.err)
			}
		})
	}
}

// TestRunInterrupted: a signal is named before what it has cancelled.
func TestRunInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancelCause(t.Context())
	interrupt(errors.New("interrupt signal received"))
	var said bytes.Buffer
	root := Parent(&cobra.Command{Use: "program"})
	root.AddCommand(&cobra.Command{Use: "do", RunE: func(cmd *cobra.Command, _ []string) error {
		return fmt.Errorf("doing it: %w", cmd.Context().Err())
	}})
	root.SetArgs([]string{"do"})
	root.SetErr(&said)
	if code := Run(ctx, root); code != ExitFailure || said.String() != "program: interrupt signal received: doing it: context canceled\n" {
		t.Errorf("exit code %d, %q", code, &said)
	}
}

// begins reports whether text begins so, and has nothing where nothing is wanted.
func begins(text, want string) bool {
	return strings.HasPrefix(text, want) && (want != "" || text == "")
}

// newProgram is a small program.
func newProgram() *cobra.Command {
	root := Parent(&cobra.Command{Use: "program", Short: "It does things"})
	var out Output
	do := &cobra.Command{
		Use:  "do WHAT [WHEN]",
		Args: Arguments("WHAT", "[WHEN]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			did := strings.Join(args, " ")
			if out.JSON() {
				return PrintJSON(cmd.OutOrStdout(), map[string]string{"did": did})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "did", did)
			return err
		},
	}
	out.Add(do)
	end := func(use string, err error) *cobra.Command {
		return &cobra.Command{Use: use, Args: Arguments(), RunE: func(*cobra.Command, []string) error { return err }}
	}
	root.AddCommand(do, end("fail", errors.New("it is broken")), end("exit", ExitError(42)), NewVersion("program"))
	return root
}
