package main

import (
	"errors"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
)

// logLevel is the flag --log-level, in upstream's words. The proxy in pods is told
// the same word.
type logLevel string

var logLevels = map[string]slog.Level{
	"": slog.LevelWarn, "warning": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug,
	"trace": slog.LevelDebug, "all": slog.LevelDebug,
}

// add adds the flag to a role, which says at what level it logs by default.
func (l *logLevel) add(cmd *cobra.Command, byDefault logLevel) {
	*l = byDefault
	cmd.Flags().Var(l, "log-level", "warnings only when empty; else info, debug, trace or all")
	command.Complete(cmd, "log-level", "info", "debug", "trace", "all")
}

// logger makes a role's log.
func (l *logLevel) logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: logLevels[string(*l)]}))
}

// Set takes one of the words.
func (l *logLevel) Set(word string) error {
	if _, ok := logLevels[word]; !ok {
		return errors.New("it is empty, info, debug, trace or all")
	}
	*l = logLevel(word)
	return nil
}

func (l *logLevel) String() string { return string(*l) }
func (l *logLevel) Type() string   { return "string" }
