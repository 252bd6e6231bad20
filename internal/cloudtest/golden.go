package cloudtest

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite golden files with what comes out now")

// Updating reports whether tests rewrite their golden files: the flag -update.
func Updating() bool { return *update }

// Golden plays the files of a glob pattern, a subtest each, in parallel. For
// each file open makes a cloud as the file's comment wants it, and gives what
// plays a request and prints its answer. A section of the file is a request,
// which may be called "name request"; its answer follows in a section of the
// same name with the suffix answer.
func Golden(t *testing.T, pattern, answer string, open func(t *testing.T, comment string) (play func(request string) string)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	Must(t, err)
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			g := ReadGolden(t, file)
			play := open(t, g.Comment())
			var sections []txtar.File
			for _, f := range g.archive.Files {
				if strings.HasSuffix(f.Name, answer) {
					continue
				}
				name := strings.TrimSuffix(f.Name, " request") + answer
				sections = append(sections, f, txtar.File{Name: name, Data: []byte(play(string(f.Data)))})
			}
			g.Check(t, sections)
		})
	}
}

// GoldenFile is a file of requests and of what came of them.
type GoldenFile struct {
	path    string
	archive *txtar.Archive
}

// ReadGolden reads a golden file.
func ReadGolden(tb testing.TB, path string) *GoldenFile {
	tb.Helper()
	archive, err := txtar.ParseFile(path)
	Must(tb, err)
	return &GoldenFile{path, archive}
}

// Comment gives what stands before the first section.
func (g *GoldenFile) Comment() string { return string(g.archive.Comment) }

// Sections gives the sections of the file but those of the given names.
func (g *GoldenFile) Sections(without ...string) []txtar.File {
	return slices.DeleteFunc(slices.Clone(g.archive.Files), func(f txtar.File) bool { return slices.Contains(without, f.Name) })
}

// Section gives what a section holds, "" if there is none.
func (g *GoldenFile) Section(name string) string {
	for _, f := range g.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// Check fails the test unless the file has just these sections. With the flag
// -update it writes them instead.
func (g *GoldenFile) Check(tb testing.TB, sections []txtar.File) {
	tb.Helper()
	if Updating() {
		Must(tb, os.WriteFile(g.path, txtar.Format(&txtar.Archive{Comment: g.archive.Comment, Files: sections}), 0o644)) //nolint:gosec // a file of the repository
		return
	}
	named := func(name string) func(txtar.File) bool {
		return func(f txtar.File) bool { return f.Name == name }
	}
	for _, f := range sections {
		if diff := cmp.Diff(g.Section(f.Name), string(f.Data)); diff != "" || !slices.ContainsFunc(g.archive.Files, named(f.Name)) {
			tb.Errorf("%s: %s (-golden +got; -update writes it anew):\n%s", g.path, f.Name, diff)
		}
	}
	for _, f := range g.archive.Files {
		if !slices.ContainsFunc(sections, named(f.Name)) {
			tb.Errorf("%s: nothing came out as %q", g.path, f.Name)
		}
	}
}

// Sender reads the first line of a request in a golden file, which says who
// sends it, and gives its words and the rest. A line "after DURATION" before it
// moves the clock.
func (c *Cloud) Sender(text string) (words []string, request string) {
	c.TB.Helper()
	line, rest, _ := strings.Cut(text, "\n")
	if after, ok := strings.CutPrefix(line, "after "); ok {
		d, err := time.ParseDuration(after)
		Must(c.TB, err)
		c.Clock.Advance(d)
		line, rest, _ = strings.Cut(rest, "\n")
	}
	words = strings.Fields(line)
	if len(words) == 0 {
		c.TB.Fatalf("nobody sends %q", text)
	}
	return words, rest
}

// ReadRequest reads a request as golden files have it: a line "METHOD URL",
// headers, an empty line, a body. Names stand for their values; a URL that
// begins with a slash is below base. The header "Peer" is the address from which
// the request comes.
func (c *Cloud) ReadRequest(base, text string) *http.Request {
	c.TB.Helper()
	head, body, _ := strings.Cut(c.Names.Fill(text), "\n\n")
	line, headers, _ := strings.Cut(strings.TrimSpace(head), "\n")
	method, url, ok := strings.Cut(line, " ")
	if !ok {
		c.TB.Fatalf("%q is no request line", line)
	}
	if strings.HasPrefix(url, "/") {
		url = base + url
	}
	r := c.Request("", method, strings.ReplaceAll(url, " ", "%20"), strings.TrimSpace(body))
	for header := range strings.Lines(headers) {
		name, value, _ := strings.Cut(strings.TrimSuffix(header, "\n"), ": ")
		switch name {
		case "Host":
			r.Host = value
		case "Peer":
			r = from(r, value+":1234")
		default:
			r.Header.Add(name, value)
		}
	}
	return r
}
