package serving

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func writeFiles(t *testing.T, dir string) certificates {
	t.Helper()
	c, _, err := certificates{}.next(testNames, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"tls.crt": c[keyCert], "tls.key": c[keyKey]} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestFiles: a new pair is taken over, a broken one is not, and each reading is
// told of.
func TestFiles(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	var reads, failures int
	count := func(err error) {
		if reads++; err != nil {
			failures++
		}
	}
	if _, err := NewFiles(dir, count, log); err == nil || !strings.Contains(err.Error(), "reading the certificate: open "+dir) {
		t.Fatalf("no files: %v", err)
	}
	first := writeFiles(t, dir)
	f, err := NewFiles(dir, count, log)
	if err != nil {
		t.Fatal(err)
	}
	served := func(want certificates) {
		t.Helper()
		got, err := f.Certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if pair, err := want.serving(); err != nil || !bytes.Equal(got.Leaf.Raw, pair.Leaf.Raw) {
			t.Errorf("another certificate is served (%v)", err)
		}
	}
	served(first)
	second := writeFiles(t, dir)
	if err := f.Read(); err != nil {
		t.Fatal(err)
	}
	served(second)
	if err := os.WriteFile(filepath.Join(dir, "tls.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Read(); err == nil {
		t.Error("a broken key was taken")
	}
	served(second)
	if reads != 4 || failures != 2 {
		t.Errorf("%d reads, %d failures were told of", reads, failures)
	}
}
