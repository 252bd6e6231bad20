package lanyardtest

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"github.com/lanyard-id/lanyard/internal/server"
)

// keptLog is how many bytes of the log's end are kept.
const keptLog = 64 << 10

// tail keeps the end of the log for tests that fail.
type tail struct {
	mu  sync.Mutex
	buf []byte
	cut bool
}

// Write appends, and drops the oldest lines.
func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if over := len(l.buf) - keptLog; over > 0 {
		if i := bytes.IndexByte(l.buf[over:], '\n'); i >= 0 {
			over += i + 1
		}
		l.buf, l.cut = append(l.buf[:0], l.buf[over:]...), true
	}
	return len(p), nil
}

func (l *tail) logger() *slog.Logger {
	logger, err := server.NewLogger(l, "info", "text")
	if err != nil { // both are of the known ones
		panic(err)
	}
	return logger
}

// report writes what was kept to the test's log.
func (l *tail) report(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.buf) == 0:
	case l.cut:
		t.Logf("the end of the cloud's log:\n%s", l.buf)
	default:
		t.Logf("the cloud's log:\n%s", l.buf)
	}
}
