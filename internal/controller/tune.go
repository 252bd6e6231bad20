package controller

import (
	"runtime"
	"runtime/debug"
)

// processors is how many of them Go code of the webhook's process uses at a time, once
// it has started. An admission is shorter than the waking of a thread, and with a
// second processor the scheduler wakes one at each of them, which mostly finds nothing
// left to do. One serves some ten thousand admissions a second. Before, what a start
// consists of goes on at once.
const processors = 1

// gcPercent is the collector's target. What the webhook keeps is small and lives
// long; with half as many collections as by Go's default it takes a few MiB more,
// and an admission costs less.
const gcPercent = 200

// Tune sets how a process that serves a webhook uses memory, at once, and gives what
// WebhookConfig.Started is to do: the process then uses fewer processors, and gives
// back the memory of its start. Go's own variables, GOGC and GOMAXPROCS, count before
// it.
func Tune(getenv func(string) string) (started func()) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return func() {
		if getenv("GOMAXPROCS") == "" {
			runtime.GOMAXPROCS(processors)
		}
		debug.FreeOSMemory()
	}
}
