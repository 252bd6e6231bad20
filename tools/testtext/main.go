// Command testtext reads what `go test -json` prints and writes what `go test`
// would have printed: a line for each package, and everything that a failed test
// said. Tests that were skipped are named at the end, loudly; where CI is set
// they make it fail, since CI's machine is to have what the tests need.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	skipped, err := convert(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testtext:", err)
		os.Exit(1)
	}
	if skipped > 0 && os.Getenv("CI") != "" {
		fmt.Fprintf(os.Stderr, "testtext: %d tests were skipped, which CI does not allow\n", skipped)
		os.Exit(1)
	}
}

// event is one of test2json's.
type event struct{ Action, Package, Test, Output string }

func convert(r io.Reader, w io.Writer) (skipped int, err error) {
	said := map[[2]string][]string{}
	var skips []string
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(w, line) // not an event: a message of the go command
			} else if skip := e.print(w, said); skip != "" {
				skips = append(skips, skip)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	for _, s := range skips {
		fmt.Fprintln(w, s)
	}
	return len(skips), nil
}

// print writes what the event adds to the text, and gives the line for a test
// that was skipped.
func (e event) print(w io.Writer, said map[[2]string][]string) (skip string) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(w, e.Output)
	case "output":
		if e.Test != "" {
			said[key] = append(said[key], e.Output)
		} else if e.Output != "PASS\n" {
			fmt.Fprint(w, e.Output)
		}
	case "fail":
		fmt.Fprint(w, strings.Join(said[key], ""))
		delete(said, key)
	case "skip":
		if e.Test != "" {
			skip = "SKIPPED " + e.Package + " " + e.Test + ": " + reason(said[key])
		}
		delete(said, key)
	case "pass":
		delete(said, key)
	}
	return skip
}

// reason finds what a skipped test said, among the lines of the test runner.
func reason(said []string) string {
	var words []string
	for _, line := range said {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}
