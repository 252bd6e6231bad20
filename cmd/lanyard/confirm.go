package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	terminal "golang.org/x/term"
)

// confirm asks a yes or no on the terminal, unless yes was said already. Without
// a terminal there is nobody to ask, which is an error.
func confirm(cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !terminal.IsTerminal(int(in.Fd())) {
		return errors.New("nothing was done: there is no terminal to ask on; say --yes to go ahead, or --dry-run to see the plan alone")
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	yes, err := answer(cmd.Context(), in)
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr()) // the cursor is behind the question
		return fmt.Errorf("nothing was done: %w", err)
	}
	if !yes {
		return errors.New("nothing was done")
	}
	return nil
}

// answer reads a line that says yes or something else. When ctx ends first, as by
// Ctrl-C, the error is its cause; what is typed afterwards is read all the same,
// since a read of a terminal cannot be given up.
func answer(ctx context.Context, in io.Reader) (yes bool, err error) {
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(in).ReadString('\n')
		read <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case l := <-read:
		if errors.Is(l.err, io.EOF) {
			return false, errors.New("the question was not answered")
		}
		a := strings.ToLower(strings.TrimSpace(l.text))
		return l.err == nil && (a == "y" || a == "yes"), l.err
	}
}
