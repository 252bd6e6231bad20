package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wantOnly checks that the file has the content and mode, and is alone.
func wantOnly(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != content || fi.Mode().Perm() != mode {
		t.Errorf("%q with mode %s; want %q with %s", got, fi.Mode().Perm(), content, mode)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the directory holds %v", entries)
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, step := range []struct {
		content string
		mode    fs.FileMode
	}{{"one", 0o644}, {"two", 0o600}, {"", 0o640}} {
		if err := Write(path, []byte(step.content), step.mode); err != nil {
			t.Fatal(err)
		}
		wantOnly(t, path, step.content, step.mode)
	}
}

// A content that fails half-way leaves the former file, and nothing else.
func TestReplaceFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := Write(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := Replace(path, func(f *os.File) error {
		if _, err := f.WriteString("half"); err != nil {
			t.Error(err)
		}
		return broken
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v; want one that wraps it and names the file", err)
	}
	wantOnly(t, path, "before", 0o600)
}

func TestReplaceHasNoDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "file")
	if err := Write(path, nil, 0o600); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}
