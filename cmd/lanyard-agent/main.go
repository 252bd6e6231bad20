package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// main runs one role and exits with its code. The first SIGINT or SIGTERM asks it
// to stop in order; the second ends the process at once.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
