package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// open opens a log at path; the test closes it, or doesn't care.
func open(tb testing.TB, path string, change ...func(*Config)) *Log {
	tb.Helper()
	cfg := Config{Path: path, Now: func() time.Time { return noon }}
	for _, c := range change {
		c(&cfg)
	}
	l, err := Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

func read(tb testing.TB, path string) []Record {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	return decode(tb, f)
}

func decode(tb testing.TB, r io.Reader) []Record {
	tb.Helper()
	var out []Record
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var rec Record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			tb.Fatalf("line %q: %v", lines.Text(), err)
		}
		out = append(out, rec)
	}
	return out
}

// value gives a counter's or gauge's value.
func value(tb testing.TB, m prometheus.Metric) float64 {
	tb.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		tb.Fatal(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

func TestWriteFillsFromTheRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path)
	ctx := azure.WithRequest(t.Context(), azure.Request{CorrelationID: "c", RequestID: "r", RemoteAddr: "192.0.2.1:5"})
	detail := map[string]string{"grant": "client_credentials"}
	for _, r := range []Record{
		{Kind: KindToken, Result: ResultIssued, AppID: "app", Detail: detail},
		{Kind: KindOperator, Result: ResultAllowed, CorrelationID: "own", Time: noon.Add(time.Hour).In(time.FixedZone("", 3600))},
	} {
		if err := l.Write(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-03-01T12:00:00Z","kind":"token","result":"issued","appId":"app","correlationId":"c","requestId":"r","remoteAddr":"192.0.2.1:5","detail":{"grant":"client_credentials"}}
{"time":"2026-03-01T13:00:00Z","kind":"operator","result":"allowed","correlationId":"own","requestId":"r","remoteAddr":"192.0.2.1:5"}
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestOpenRefusesNonsense(t *testing.T) {
	for _, cfg := range []Config{
		{OnFull: "ignore"},
		{BufferSize: -1},
		{Path: filepath.Join(t.TempDir(), "absent", "audit.log")},
		{Path: t.TempDir()},
	} {
		if l, err := Open(cfg); err == nil {
			l.Close()
			t.Errorf("%+v opened", cfg)
		}
	}
}

func TestOpenAppendsPrivatelyAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"kind":"token","result":"issued"}`+"\n"+`{"kind":"tok`), 0o644); err != nil {
		t.Fatal(err)
	}
	l := open(t, path)
	if err := l.Write(t.Context(), Record{Kind: KindOperator}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 4 || lines[1] != `{"kind":"tok` || !strings.Contains(lines[2], "operator") {
		t.Errorf("%q", lines)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestNowhereCounts(t *testing.T) {
	l := open(t, "")
	if err := l.Write(t.Context(), Record{Kind: KindAuthorization, Result: ResultDenied}); err != nil {
		t.Fatal(err)
	}
	if n := value(t, l.metrics.records.WithLabelValues(KindAuthorization, ResultDenied)); n != 1 {
		t.Errorf("counted %v", n)
	}
	if err := errors.Join(l.Flush(), l.Reopen(), l.Close()); err != nil {
		t.Error(err)
	}
}

// A record reaches the file without Flush or Close.
func TestWritesInTheBackground(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, path)
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := l.Write(t.Context(), Record{Kind: KindToken}); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n') // waits for it
	if err != nil || !strings.Contains(line, KindToken) {
		t.Errorf("%q %v", line, err)
	}
}

// full gives the path of a log on a full disk, and a function that makes room.
func full(t *testing.T) (path, target string, makeRoom func()) {
	t.Helper()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	path, target = filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "audit.log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	return path, target, func() {
		if err := errors.Join(os.Remove(path), os.Symlink(target, path)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDiskRefuses(t *testing.T) {
	path, target, makeRoom := full(t)
	l := open(t, path)
	if err := l.Write(t.Context(), Record{Kind: KindToken, Reason: "kept"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if n := value(t, l.metrics.errors); n < 1 {
		t.Errorf("%v write errors counted", n)
	}
	err := l.Write(t.Context(), Record{Kind: KindToken, Reason: "refused"})
	if !errors.Is(err, ErrUnwritable) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	makeRoom()
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(t.Context(), Record{Kind: KindToken, Reason: "later"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, r := range read(t, target) {
		reasons = append(reasons, r.Reason)
	}
	if diff := cmp.Diff([]string{"kept", "later"}, reasons); diff != "" {
		t.Error(diff)
	}
	if n := value(t, l.metrics.lost); n != 1 {
		t.Errorf("%v records lost", n)
	}
}

func TestFullDiskContinues(t *testing.T) {
	path, target, makeRoom := full(t)
	l := open(t, path, func(c *Config) { c.OnFull, c.BufferSize = OnFullContinue, 1000 })
	write := func() {
		t.Helper()
		if err := l.Write(t.Context(), Record{Kind: KindToken}); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if err := l.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	const more = 100
	for range more {
		write()
	}
	lost := value(t, l.metrics.lost)
	if lost == 0 || lost == more {
		t.Errorf("%v records lost: the buffer should keep some", lost)
	}
	if l.failure() == nil {
		t.Error("not failing")
	}
	makeRoom()
	if err := errors.Join(l.Reopen(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, target)); n != more+1-int(lost) {
		t.Errorf("%d records kept, %v lost of %d", n, lost, more+1)
	}
}

func TestCloseTellsWhatIsLost(t *testing.T) {
	path, _, _ := full(t)
	l := open(t, path)
	for range 3 {
		if err := l.Write(t.Context(), Record{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "3 records") {
		t.Error(err)
	}
	if err := l.Write(t.Context(), Record{}); !errors.Is(err, ErrUnwritable) {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error("again:", err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("reopened after Close")
	}
}

// stall puts a pipe that nobody reads in the place of the log's file.
func stall(t *testing.T, l *Log) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	l.io.Lock()
	l.file.Close()
	l.file = w
	l.io.Unlock()
	return r
}

// A line of which the file took only a part is whole in the next file.
func TestReopenInTheMiddleOfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path)
	r := stall(t, l)
	l.io.Lock() // nothing is written before all of it waits
	const n = 1000
	for i := range n {
		if err := l.Write(t.Context(), Record{Kind: KindToken, Reason: fmt.Sprintf("%0100d", i)}); err != nil {
			t.Error(err)
		}
	}
	l.file.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)) // by then the pipe is full
	l.io.Unlock()
	if err := l.Flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if err := errors.Join(l.Reopen(), l.Close()); err != nil {
		t.Fatal(err)
	}
	old, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	whole := old[:strings.LastIndexByte(string(old), '\n')+1]
	if len(whole) == len(old) {
		t.Log("the pipe took whole lines only")
	}
	records := append(decode(t, strings.NewReader(string(whole))), read(t, path)...)
	if len(records) != n {
		t.Fatalf("%d records", len(records))
	}
	for i, r := range records {
		if r.Reason != fmt.Sprintf("%0100d", i) {
			t.Fatalf("record %d is %s", i, r.Reason)
		}
	}
}

func TestSlowFile(t *testing.T) {
	gaveUp := errors.New("gave up")
	for name, tt := range map[string]struct {
		patience time.Duration // the log's
		leaves   bool          // the caller, before that
		want     error
	}{
		"the caller gives up": {time.Hour, true, gaveUp},
		"the log gives up":    {10 * time.Millisecond, false, errTooSlow},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, filepath.Join(t.TempDir(), "audit.log"), func(c *Config) { c.BufferSize = 1000 })
			l.patience = tt.patience
			r := stall(t, l)
			drained := make(chan struct{})
			defer func() { <-drained }()
			defer func() { go func() { defer close(drained); io.Copy(io.Discard, r) }(); l.Close() }()
			// The pipe takes 64 KiB, the buffer 1000 bytes; then writing waits.
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if tt.leaves {
				time.AfterFunc(100*time.Millisecond, func() { cancel(gaveUp) })
			}
			for {
				err := l.Write(ctx, Record{Reason: strings.Repeat("x", 500)})
				if err == nil {
					continue
				}
				if !errors.Is(err, tt.want) || !errors.Is(err, ErrUnwritable) {
					t.Error(err)
				}
				return
			}
		})
	}
}

func TestConcurrentWritersAndRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	l := open(t, path, func(c *Config) { c.BufferSize = 4096 })
	l.patience = time.Hour // eight writers in a small buffer, on a busy machine
	const writers, each = 8, 500
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := l.Write(t.Context(), Record{Kind: KindToken, Reason: fmt.Sprint(w, "/", i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 5 {
		if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, f := range files {
		for _, r := range read(t, f) {
			seen[r.Reason]++
		}
	}
	if len(seen) != writers*each {
		t.Errorf("%d different records of %d", len(seen), writers*each)
	}
	for reason, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", reason, n)
		}
	}
}

func TestCollectors(t *testing.T) {
	l := open(t, "")
	if err := l.Write(t.Context(), Record{Kind: KindToken, Result: ResultRefused}); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(l.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	want := []string{
		"lanyard_audit_failing", "lanyard_audit_records_lost_total",
		"lanyard_audit_records_total", "lanyard_audit_write_errors_total",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkWrite(b *testing.B) {
	l := open(b, filepath.Join(b.TempDir(), "audit.log"), func(c *Config) { c.Now = time.Now })
	ctx := azure.WithRequest(b.Context(), azure.Request{CorrelationID: "7a0e1c4e-1f1f-4b9e-8a7b-0f3f4a5b6c7d", RequestID: "r", RemoteAddr: "192.0.2.1:5"})
	r := Record{
		Kind: KindAuthorization, Result: ResultAllowed,
		TenantID: "11111111-2222-3333-4444-555555555555", ObjectID: "11111111-2222-3333-4444-555555555555",
		Action: "Microsoft.KeyVault/vaults/secrets/getSecret/action",
		Scope:  "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/v/secrets/s",
		Detail: map[string]string{"assignment": "a", "role": "Key Vault Secrets User"},
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Write(ctx, r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
