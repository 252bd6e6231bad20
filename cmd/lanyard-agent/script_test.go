package main

import (
	"context"
	"io"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lanyard-id/lanyard/internal/command"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lanyard-agent": main})
}

// TestScript runs testdata/script/*.txtar: the command as an operator has it. A
// running webhook needs an API server: package controller's tests bring one.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}

// run runs one command line in this process, and gives its exit code.
func run(ctx context.Context, stdout io.Writer, args ...string) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(io.Discard)
	return command.Run(ctx, root)
}
