package command

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/spf13/cobra"
)

// Output is the flag -o: text, which is the default, or json.
type Output string

// Add adds the flag to a command.
func (o *Output) Add(cmd *cobra.Command) {
	*o = "text"
	cmd.Flags().VarP(o, "output", "o", "form of the output")
	Complete(cmd, "output", "text", "json")
}

// JSON reports whether json is wanted.
func (o *Output) JSON() bool { return *o == "json" }

// Set takes text or json.
func (o *Output) Set(s string) error {
	if s != "text" && s != "json" {
		return errors.New("want text or json")
	}
	*o = Output(s)
	return nil
}

func (o *Output) String() string { return string(*o) }

// Type names the values in the help.
func (o *Output) Type() string { return "text|json" }

// PrintJSON writes v, indented, with a line's end.
func PrintJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
