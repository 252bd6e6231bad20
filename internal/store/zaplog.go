package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo gives a zap logger that hands warnings and errors to l and drops the
// rest: etcd tells its whole life at the information level.
func zapTo(l *slog.Logger) *zap.Logger {
	return zap.New(slogCore{log: l.With("component", "etcd")})
}

// slogCore is a zapcore.Core over slog.
type slogCore struct{ log *slog.Logger }

// Enabled implements zapcore.Core.
func (c slogCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{slog.New(c.log.Handler().WithAttrs(attrs(fields)))}
}

// Check implements zapcore.Core.
func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	if isExpected(e.Message) || level == slog.LevelWarn && isStop(fields) {
		level = slog.LevelDebug
	}
	c.log.LogAttrs(context.Background(), level, e.Message, attrs(fields)...) //nolint:sloglint // the message is etcd's
	return nil
}

// Sync implements zapcore.Core.
func (c slogCore) Sync() error { return nil }

// expected are etcd's complaints about what this package does on purpose: no
// listeners, no users of its own, a stop while it starts; about a new member's empty
// database and its first election, which it mends by itself; and, one by one, about
// attempts to reach a cluster, of which the caller hears when they have failed.
var expected = []string{
	"Running http and grpc server on single port",
	"simple token is not cryptographically signed",
	"Failed to detect schema version",
	"failed to update storage version",
	"retrying of unary invoker failed",
	"stopped publish because server is stopping",
	"since there are still pending configuration changes to apply",
}

func isExpected(message string) bool {
	return slices.ContainsFunc(expected, func(part string) bool { return strings.Contains(message, part) })
}

// isStop tells that what is complained of was told to end, as a member is that is
// stopped while it starts.
func isStop(fields []zapcore.Field) bool {
	return slices.ContainsFunc(fields, func(f zapcore.Field) bool {
		err, ok := f.Interface.(error)
		return ok && errors.Is(err, context.Canceled)
	})
}

// failureHook is what etcd's fatal and panicking log entries do, once written.
type failureHook struct {
	starting atomic.Bool
	failed   chan error
}

func newFailureHook() *failureHook {
	h := &failureHook{failed: make(chan error, 1)}
	h.starting.Store(true)
	return h
}

// started ends the time in which a failure is an error to return.
func (h *failureHook) started() { h.starting.Store(false) }

// OnWrite implements zapcore.CheckWriteHook. While etcd starts, the failure is
// handed over and the goroutine that met it ends. Later there is nothing to go
// on with, such as when the log of transactions can't be written: the process
// ends, and its next start finds all that was committed.
func (h *failureHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	if !h.starting.Load() {
		os.Exit(1)
	}
	err := errors.New(e.Message)
	for _, a := range attrs(fields) {
		if a.Key == "error" {
			err = fmt.Errorf("%s: %s", e.Message, a.Value)
		}
	}
	h.fail(err)
	runtime.Goexit()
}

// fail hands the first failure over.
func (h *failureHook) fail(err error) {
	select {
	case h.failed <- err:
	default:
	}
}

func attrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]slog.Attr, 0, len(enc.Fields))
	for _, k := range slices.Sorted(maps.Keys(enc.Fields)) {
		out = append(out, slog.Any(k, enc.Fields[k]))
	}
	return out
}
