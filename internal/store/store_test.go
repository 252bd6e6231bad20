package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv makes the test binary run one of children instead of the tests.
const childEnv = "LANYARD_STORE_TEST_CHILD"

var children = map[string]func(dir string){
	"write": writeForever,
	"open":  openDamaged,
}

func TestMain(m *testing.M) {
	if name, dir, ok := strings.Cut(os.Getenv(childEnv), " "); ok {
		children[name](dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// child gives the command that runs one of children on a directory.
func child(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childEnv+"="+name+" "+dir)
	return cmd
}

func testKeyring(tb testing.TB) *Keyring {
	tb.Helper()
	k, err := NewKeyring(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// open opens a store, by default in a directory of its own, and closes it at
// the test's end.
func open(tb testing.TB, change ...func(*Config)) *Store {
	tb.Helper()
	s, err := tryOpen(tb, change...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func tryOpen(tb testing.TB, change ...func(*Config)) (*Store, error) {
	tb.Helper()
	cfg := Config{Dir: tb.TempDir(), Keyring: testKeyring(tb), Logger: slog.New(slog.NewTextHandler(tb.Output(), nil))}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(tb.Context(), cfg)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s, nil
}

func inDir(dir string) func(*Config) { return func(c *Config) { c.Dir = dir } }

// put writes pairs of keys and values in one transaction.
func put(tb testing.TB, s *Store, pairs ...string) int64 {
	tb.Helper()
	rev, err := s.Update(tb.Context(), func(tx *Tx) error {
		for i := 0; i < len(pairs); i += 2 {
			tx.Put(pairs[i], []byte(pairs[i+1]))
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return rev
}

func del(tb testing.TB, s *Store, keys ...string) int64 {
	tb.Helper()
	rev, err := s.Update(tb.Context(), func(tx *Tx) error {
		for _, key := range keys {
			tx.Delete(key)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return rev
}

// eventually waits for a condition that some other goroutine brings about.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("waited in vain for: %s", what)
		}
	}
}

func TestOpenRefusesNonsense(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"neither directory nor endpoints": func(c *Config) { c.Dir = "" },
		"directory and endpoints":         func(c *Config) { c.Endpoints = []string{"http://127.0.0.1:1"} },
		"no keyring":                      func(c *Config) { c.Keyring = nil },
		"negative quota":                  func(c *Config) { c.QuotaBytes = -1 },
		"negative age":                    func(c *Config) { c.StaleAfter = -1 },
		"a shared directory": func(c *Config) {
			if err := os.Chmod(c.Dir, 0o777|os.ModeSticky); err != nil {
				t.Fatal(err)
			}
		},
		"a file as directory": func(c *Config) {
			c.Dir = filepath.Join(c.Dir, "file")
			if err := os.WriteFile(c.Dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tryOpen(t, change); err == nil {
				t.Error("opened")
			}
		})
	}
}

func TestDataDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, inDir(dir)), "a", "1")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestEmbeddedEngineListensNowhere(t *testing.T) {
	s := open(t)
	if n := len(s.engine.etcd.Clients) + len(s.engine.etcd.Peers); n != 0 {
		t.Errorf("%d listeners", n)
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	first := open(t, inDir(dir))
	_, err := tryOpen(t, inDir(dir))
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatal(err)
	}
	put(t, first, "a", "1") // the first is not disturbed
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, inDir(dir))
}

func TestReopenKeepsData(t *testing.T) {
	dir := t.TempDir()
	s := open(t, inDir(dir))
	put(t, s, "a", "1", "b", "2")
	rev := del(t, s, "b")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, inDir(dir))
	page, err := s.List(t.Context(), "", ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Entries) != 1 || string(page.Entries[0].Value) != "1" || page.Revision < rev {
		t.Errorf("%+v, was at %d", page, rev)
	}
}

func TestStoresInParallel(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s := open(t)
			put(t, s, "a", fmt.Sprint(i))
			if e, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != fmt.Sprint(i) {
				t.Error(e, err)
			}
		})
	}
	wg.Wait()
}

func TestAnotherLayoutIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, inDir(dir))
	if _, err := s.client.Put(t.Context(), s.keys.version(), "2"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, inDir(dir)); err == nil || !strings.Contains(err.Error(), "layout") {
		t.Error(err)
	}
	// The refusal gives the directory back.
	if _, err := tryOpen(t, inDir(dir)); errors.Is(err, ErrInUse) {
		t.Error(err)
	}
}

func TestClosedStore(t *testing.T) {
	s := open(t)
	put(t, s, "a", "1")
	l, err := s.TryLock(t.Context(), "l", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	<-l.Lost()
	if err := l.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	_, getErr := s.Get(t.Context(), "a")
	_, listErr := s.List(t.Context(), "", ListOptions{})
	_, updateErr := s.Update(t.Context(), func(*Tx) error { t.Error("f runs"); return nil })
	followErr := s.Follow(t.Context(), "", func([]Change, bool) { t.Error("f is fed") })
	_, lockErr := s.TryLock(t.Context(), "m", time.Minute)
	for _, err := range []error{getErr, listErr, updateErr, followErr, lockErr} {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if err := s.Fresh(); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
}

// Calls that are in progress when the store closes end with ErrClosed.
func TestCloseEndsCalls(t *testing.T) {
	s := open(t)
	running := make(chan struct{})
	result := make(chan error)
	go func() {
		_, err := s.Update(context.Background(), func(tx *Tx) error {
			close(running)
			<-tx.ctx.Done()
			tx.Put("a", nil)
			return nil
		})
		result <- err
	}()
	<-running
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// writeForever is the child of TestKilled: it tells each pair of keys that it
// has written.
func writeForever(dir string) {
	k, _ := NewKeyring(bytes.Repeat([]byte{7}, 32))
	s, err := Open(context.Background(), Config{Dir: dir, Keyring: k})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := 0; ; i++ {
		_, err := s.Update(context.Background(), func(tx *Tx) error {
			tx.Put(fmt.Sprintf("a/%06d", i), nil)
			tx.Put(fmt.Sprintf("b/%06d", i), nil)
			return nil
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%06d\n", i)
	}
}

// A killed process loses nothing that it was told is written, and leaves no
// half of a transaction, nor its lock on the directory.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := child(t, "write", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var written []string
	for lines.Scan() {
		written = append(written, lines.Text())
		if len(written) == 200 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd.Wait()
	if len(written) < 200 {
		t.Fatalf("the child ended by itself: %q", written)
	}
	s := open(t, inDir(dir))
	for _, n := range written {
		if _, err := s.Get(t.Context(), "a/"+n); err != nil {
			t.Error(err)
		}
	}
	a, errA := s.List(t.Context(), "a/", ListOptions{})
	b, errB := s.List(t.Context(), "b/", ListOptions{})
	if errA != nil || errB != nil || len(a.Entries) != len(b.Entries) {
		t.Errorf("%d and %d keys; %v, %v", len(a.Entries), len(b.Entries), errA, errB)
	}
}

// openDamaged is the child of TestDamaged: it tells the error of Open.
func openDamaged(dir string) {
	k, _ := NewKeyring(bytes.Repeat([]byte{7}, 32))
	_, err := Open(context.Background(), Config{Dir: dir, Keyring: k})
	fmt.Println("error:", err)
}

// A damaged directory is an error, not the end of the process.
func TestDamaged(t *testing.T) {
	for _, pattern := range []string{"member/snap/db", "member/wal/*.wal"} {
		t.Run(pattern, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, inDir(dir))
			put(t, s, "a", strings.Repeat("x", 10_000))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				if err := os.WriteFile(f, bytes.Repeat([]byte("rubbish"), 5000), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, err := child(t, "open", dir).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "error: starting the embedded etcd in "+dir) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
