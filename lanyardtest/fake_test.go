package lanyardtest_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
)

// fakeT stands in for the T of a test where there is none, as in examples and
// benchmarks, and where a failure is what is expected. Its Fatalf ends the call by
// a panic, which [fakeT.failure] turns into what was said.
type fakeT struct {
	testing.TB // nil: what is not below is not used

	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	cleanups []func()
	dirs     []string
	failed   bool
	log      strings.Builder
}

// fatal is the panic of Fatalf.
type fatal string

// newT gives a T whose end is finish.
func newT() *fakeT {
	ctx, cancel := context.WithCancel(context.Background())
	return &fakeT{ctx: ctx, cancel: cancel}
}

// finish ends the test: the functions of Cleanup are called, the last one first.
func (t *fakeT) finish() {
	t.cancel()
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	t.cleanups = nil
}

// failure gives what Fatalf was told by f, "" if it was not called.
func (t *fakeT) failure(f func()) (message string) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case fatal:
			message = string(v)
		default:
			panic(v)
		}
	}()
	f()
	return ""
}

func (t *fakeT) Helper()                  {}
func (t *fakeT) Name() string             { return "Fake" }
func (t *fakeT) Context() context.Context { return t.ctx }

func (t *fakeT) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *fakeT) TempDir() string {
	dir, err := os.MkdirTemp("", "lanyardtest-")
	if err != nil {
		panic(err)
	}
	t.mu.Lock()
	t.dirs = append(t.dirs, dir)
	t.mu.Unlock()
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing %s: %v", dir, err)
		}
	})
	return dir
}

func (t *fakeT) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *fakeT) Fail() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = true
}

func (t *fakeT) Logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(&t.log, format+"\n", args...)
}

func (t *fakeT) logged() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.log.String()
}

func (t *fakeT) Errorf(format string, args ...any) {
	t.Logf(format, args...)
	t.Fail()
}

func (t *fakeT) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(fatal(fmt.Sprintf(format, args...)))
}

func (t *fakeT) Fatal(args ...any) { t.Fatalf("%s", fmt.Sprint(args...)) }

func (t *fakeT) Output() io.Writer { return io.Discard }
