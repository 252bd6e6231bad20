package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
)

// The clock's address in the Resource Manager.
const (
	clockPath    = "/providers/Lanyard.Directory/clock/default"
	clockVersion = "?api-version=2026-09-01"
)

// newClock makes `lanyard clock`.
func newClock() *cobra.Command {
	cmd := command.Parent(&cobra.Command{
		Use:     "clock",
		GroupID: "use",
		Short:   "Show and move the clock of a cloud that was started with --clock",
		Long: `Show the clock of a cloud that was started with "lanyard up --clock", and put it
ahead, so that a test need not wait: tokens and secrets expire, deleted things
come to be purged, and what is rehearsed takes its time.

The clock goes on ticking and is never put back, but by "reset", which leads it
to the real time again; what was made meanwhile keeps its dates. How far it is
ahead is not kept: a restart leads it back too, which is what helps when the
operator's own secret, of two years, has expired by it. TLS goes by the real time, as do
programs outside the cloud: one that keeps a token takes it for good until it
has run its life by the program's own clock.

It takes the right to manage access at the root of the operator's tenant, which
the principal of the environment file has.`,
		Example: `  lanyard up --clock --rehearse credentialPropagation

  lanyard clock show
  lanyard clock advance 2m
  lanyard clock set 2030-01-02T15:04:05Z
  lanyard clock reset`,
	})
	cmd.AddCommand(
		newClockAction("show", "Show the cloud's time", nil),
		newClockAction("advance DURATION", "Put the clock ahead by a duration", func(arg string) (any, error) {
			by, err := time.ParseDuration(arg)
			if err != nil || by < 0 {
				return nil, fmt.Errorf("%q is no duration to put a clock ahead by: want one such as 90s or 2h30m", arg)
			}
			return map[string]string{"by": by.String()}, nil
		}),
		newClockAction("set TIME", "Put the clock ahead to a time", func(arg string) (any, error) {
			to, err := time.Parse(time.RFC3339, arg)
			if err != nil {
				return nil, fmt.Errorf("%q is no time: want one such as 2030-01-02T15:04:05Z", arg)
			}
			return map[string]time.Time{"time": to}, nil
		}),
		newClockAction("reset", "Lead the clock back to the real time", nil),
	)
	return cmd
}

// clockAnswer is the clock as the cloud shows it.
type clockAnswer struct {
	Properties struct {
		Now      time.Time `json:"now"`
		RealTime time.Time `json:"realTime"`
		Ahead    string    `json:"ahead"`
	} `json:"properties"`
}

func (a clockAnswer) print(w io.Writer) error {
	how := "the real time"
	if ahead, err := time.ParseDuration(a.Properties.Ahead); err == nil && ahead != 0 {
		how = ahead.Round(time.Second).String() + " ahead of the real time"
	}
	_, err := fmt.Fprintf(w, "%s (%s)\n", a.Properties.Now.UTC().Format(time.RFC3339), how)
	return err
}

// explainClock says what to do about the refusals that come of how the cloud was
// started, or of how far its clock has come.
func explainClock(err error) error {
	if e, ok := errors.AsType[*azure.Error](err); ok && (e.Code == "InvalidResourceNamespace" || e.Code == "InvalidResourceType") {
		return errors.New("the clock of this cloud cannot be moved: start the cloud with `lanyard up --clock`")
	}
	if strings.Contains(err.Error(), "AADSTS7000222:") {
		return fmt.Errorf("by the cloud's clock the operator's own secret has expired: start the cloud again, which leads its clock back: %w", err)
	}
	return err
}

// newClockAction makes a command below `lanyard clock`; body makes of its
// argument, where it takes one, what is sent.
func newClockAction(use, short string, body func(arg string) (any, error)) *cobra.Command {
	var where environmentFlags
	var out command.Output
	words := strings.Fields(use)
	name := words[0]
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Example: "  lanyard clock " + strings.NewReplacer("DURATION", "10m", "TIME", "2030-01-02T15:04:05Z").Replace(use),
		Args:    command.Arguments(words[1:]...),
		RunE: func(cmd *cobra.Command, args []string) error {
			var content any
			if body != nil {
				var err error
				if content, err = body(args[0]); err != nil {
					return command.UsageError{Err: err}
				}
			}
			env, _, err := where.load()
			if err != nil {
				return err
			}
			method, path := http.MethodPost, clockPath+"/"+name
			if name == "show" {
				method, path = http.MethodGet, clockPath
			}
			var answer clockAnswer
			if err := manage(cmd.Context(), env, method, path+clockVersion, content, &answer); err != nil {
				return explainClock(err)
			}
			if out.JSON() {
				return command.PrintJSON(cmd.OutOrStdout(), answer.Properties)
			}
			return answer.print(cmd.OutOrStdout())
		},
	}
	where.add(cmd)
	out.Add(cmd)
	return cmd
}
