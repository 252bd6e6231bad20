package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/command"
)

// accountPhase is one of the steps by which a service account gets an identity,
// or loses it.
type accountPhase struct {
	name, alias, short string
	// check says what is missing on the command line, before anything is done.
	check func(r *accountRun) error
	// look finds what is there, and says what is to be done.
	look func(ctx context.Context, r *accountRun) (accountChange, error)
}

// outcome is what a phase found or did.
type outcome string

// The outcomes of a look.
const (
	outcomeExists outcome = "exists" // as it is to be
	outcomeAbsent outcome = "absent"
	outcomeCreate outcome = "create"
	outcomeChange outcome = "change"
	outcomeDelete outcome = "delete"
	outcomeFailed outcome = "failed"
)

// done is what becomes of an outcome when it is done.
func (o outcome) done() outcome {
	return outcome(strings.TrimSuffix(string(o), "e") + "ed")
}

// accountChange is what a phase is to do.
type accountChange struct {
	outcome outcome
	// resource names what it is about, for people.
	resource string
	// apply does it; nil where nothing is to be done. It may complete the resource.
	apply func(ctx context.Context) (resource string, err error)
}

// accountStep is what became of a phase.
type accountStep struct {
	Phase    string  `json:"phase"`
	Outcome  outcome `json:"outcome"`
	Resource string  `json:"resource,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// selectPhases gives the phases without those to skip, each named by its name or
// alias.
func selectPhases(all []accountPhase, skip []string) ([]accountPhase, error) {
	for _, name := range skip {
		if !slices.ContainsFunc(all, func(p accountPhase) bool { return p.is(name) }) {
			return nil, fmt.Errorf("--skip-phases: there is no phase %q; there are %s", name, strings.Join(phaseNames(all), ", "))
		}
	}
	var chosen []accountPhase
	for _, p := range all {
		if !slices.ContainsFunc(skip, p.is) {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("--skip-phases leaves no phase")
	}
	return chosen, nil
}

func (p accountPhase) is(name string) bool { return name == p.name || name == p.alias }

func phaseNames(all []accountPhase) []string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.name
	}
	return names
}

// checkPhases asks every phase whether it could begin, so that none is run in
// vain.
func checkPhases(phases []accountPhase, r *accountRun) error {
	for _, p := range phases {
		if err := p.check(r); err != nil {
			return command.Usagef("%w (phase %s; --skip-phases leaves it out)", err, p.name)
		}
	}
	return nil
}

// runPhases runs the phases in their order, or with dry says what each would do,
// and ends with the first that fails. done hears of each step when it was taken.
func runPhases(ctx context.Context, phases []accountPhase, r *accountRun, dry bool, done func(accountStep)) ([]accountStep, error) {
	steps := []accountStep{}
	for _, p := range phases {
		change, err := p.look(ctx, r)
		step := accountStep{Phase: p.name, Outcome: change.outcome, Resource: change.resource}
		if err == nil && change.apply != nil && !dry {
			if step.Resource, err = change.apply(ctx); err == nil {
				step.Outcome = change.outcome.done()
			}
		}
		if err != nil {
			step.Outcome, step.Error = outcomeFailed, err.Error()
			steps = append(steps, step)
			return steps, phaseError(p.name, steps, err)
		}
		steps = append(steps, step)
		done(step)
	}
	return steps, nil
}

// phaseError says which phase failed, what was done before, and how to go on.
func phaseError(name string, steps []accountStep, err error) error {
	var before []string
	for _, s := range steps[:len(steps)-1] {
		before = append(before, s.Phase+" ("+string(s.Outcome)+")")
	}
	state := "nothing was done before it"
	if len(before) > 0 {
		state = "before it: " + strings.Join(before, ", ")
	}
	return fmt.Errorf("phase %s: %w; %s. The same command goes on from here: what is done already is found", name, err, state)
}
