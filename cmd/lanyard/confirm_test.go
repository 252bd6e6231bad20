package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAnswer(t *testing.T) {
	for typed, want := range map[string]bool{
		"y\n": true, "yes\n": true, " YES \n": true,
		"n\n": false, "\n": false, "yy\n": false, "no\nyes\n": false,
	} {
		yes, err := answer(t.Context(), strings.NewReader(typed))
		if err != nil || yes != want {
			t.Errorf("%q is %v, %v; want %v", typed, yes, err, want)
		}
	}
	for _, typed := range []string{"", "yes"} {
		if yes, err := answer(t.Context(), strings.NewReader(typed)); err == nil || yes {
			t.Errorf("input that ends after %q is an answer: %v", typed, yes)
		}
	}
}

// TestAnswerInterrupted: whoever thinks better of it need not answer.
func TestAnswerInterrupted(t *testing.T) {
	in, typing := io.Pipe()
	defer typing.Close()
	interrupted := errors.New("interrupted")
	ctx, interrupt := context.WithCancelCause(t.Context())
	interrupt(interrupted)
	if yes, err := answer(ctx, in); yes || !errors.Is(err, interrupted) {
		t.Fatalf("%v, %v; want the interruption", yes, err)
	}
}
