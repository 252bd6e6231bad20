package controller

import (
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
)

// TestTune: the process is tuned, unless the environment says how it is to be.
func TestTune(t *testing.T) {
	was, percent := runtime.GOMAXPROCS(2), debug.SetGCPercent(100)
	t.Cleanup(func() {
		runtime.GOMAXPROCS(was)
		debug.SetGCPercent(percent)
	})
	Tune(func(name string) string { return map[string]string{"GOMAXPROCS": "2", "GOGC": "100"}[name] })()
	if n, p := runtime.GOMAXPROCS(0), debug.SetGCPercent(100); n != 2 || p != 100 {
		t.Errorf("with variables: %d processors, GOGC %d", n, p)
	}
	Tune(func(string) string { return "" })()
	if n, p := runtime.GOMAXPROCS(0), debug.SetGCPercent(100); n != processors || p != gcPercent {
		t.Errorf("without: %d processors, GOGC %d", n, p)
	}
}

// TestStartedOnce: the end of the start is told when the first list is in memory, and
// not again when the cluster is listed anew.
func TestStartedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		accounts := newServiceAccounts(nil, func() { told++ })
		for range 2 {
			if err := accounts.Replace(nil, ""); err != nil {
				t.Fatal(err)
			}
			if synctest.Wait(); told != 1 {
				t.Fatalf("told %d times", told)
			}
		}
	})
}
