package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// main runs one command and exits with its code. The first SIGINT or SIGTERM
// asks the command to stop in order; the second finds the default handling back
// in place and ends the process at once.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
