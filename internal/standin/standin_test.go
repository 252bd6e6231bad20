package standin_test

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/standin"
)

func TestClock(t *testing.T) {
	clock := standin.NewClock(standin.Start)
	clock.Advance(time.Hour)
	clock.Advance(-time.Minute)
	if now := clock.Now(); !now.Equal(standin.Start.Add(59 * time.Minute)) {
		t.Errorf("it is %v", now)
	}
}

func TestLog(t *testing.T) {
	var log standin.Log
	var writers sync.WaitGroup
	for range 10 {
		writers.Go(func() {
			if _, err := io.WriteString(&log, "line\n"); err != nil {
				t.Error(err)
			}
			_ = log.String()
		})
	}
	writers.Wait()
	if got := len(log.String()); got != 10*len("line\n") {
		t.Errorf("%d bytes are in the log", got)
	}
}
