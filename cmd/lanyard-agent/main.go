package main

import (
	"os"

	"github.com/lanyard-id/lanyard/internal/command"
)

// main runs one role and exits with its code.
func main() { os.Exit(command.Main(newRoot())) }
