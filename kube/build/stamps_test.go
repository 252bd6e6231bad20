package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// TestStamp has a program built again when what it is made of has changed, and
// then alone.
func TestStamp(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := program{name: "own", module: "m", pkg: "./own"}
	other := program{name: "other", module: "m", pkg: "example.com/other", from: "example.com/other"}
	write("m/go.mod", "module m")
	write("m/go.sum", "")
	write("m/own/main.go", "package main")
	stamps := func(toolchain, version string) [2]string {
		t.Helper()
		a, err := p.stamp(toolchain, version)
		if err != nil {
			t.Fatal(err)
		}
		b, err := other.stamp(toolchain, version)
		if err != nil {
			t.Fatal(err)
		}
		return [2]string{a, b}
	}
	before := stamps("go1", "v1")
	if before != stamps("go1", "v1") {
		t.Fatal("nothing has changed, and the stamps have")
	}
	if other := stamps("go2", "v1"); other[0] == before[0] || other[1] == before[1] {
		t.Error("another Go builds nothing again")
	}
	if other := stamps("go1", "v2"); other[1] == before[1] {
		t.Error("another version builds nothing again")
	}
	write("m/own/main.go", "package main // changed")
	if after := stamps("go1", "v1"); after[0] == before[0] || after[1] != before[1] {
		t.Error("a changed source does not build its own program again, or builds another's")
	}
	before = stamps("go1", "v1")
	write("m/go.mod", "module m // changed")
	if after := stamps("go1", "v1"); after[0] == before[0] || after[1] == before[1] {
		t.Error("a changed go.mod builds not all again")
	}
}

// TestStampFile writes and reads what was built, and says so where it cannot.
func TestStampFile(t *testing.T) {
	dir := t.TempDir()
	want := map[string]string{"a": "1", "b": "2"}
	if err := writeStamps(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := readStamps(dir); err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, stampFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readStamps(dir); err == nil {
		t.Error("a broken file is read")
	}
}

// TestPrograms has every program name what it is built from.
func TestPrograms(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range programs() {
		if p.name == "" || p.module == "" || p.pkg == "" {
			t.Errorf("incomplete: %+v", p)
		}
		for _, name := range append([]string{p.name}, p.links...) {
			if seen[name] {
				t.Errorf("two programs are named %s", name)
			}
			seen[name] = true
		}
	}
}
