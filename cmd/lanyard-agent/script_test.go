package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lanyard-agent": main})
}

// TestScript runs testdata/script/*.txtar: the command as an operator has it. A
// running webhook needs an API server: package controller's tests bring one.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}
