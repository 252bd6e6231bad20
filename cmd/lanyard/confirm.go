package main

import (
	"bufio"
	"errors"
	"fmt"
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
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}
