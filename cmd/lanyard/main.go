package main

import (
	"os"

	"github.com/lanyard-id/lanyard/internal/command"
)

// main runs one command and exits with its code.
func main() { os.Exit(command.Main(newRoot())) }
