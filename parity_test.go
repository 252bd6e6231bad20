package lanyard_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ran names a file of "go test -json" output. With it TestLedgerRan checks that
// every witness of the ledger was executed and passed; CI gives it.
var ran = flag.String("ran", "", "file of go test -json output in which every witness must have passed")

// claim is a row of docs/parity.md.
type claim struct {
	line    int
	text    string
	state   string
	witness []string // "package TestName" or "package TestName/subtest"
}

var witnessForm = regexp.MustCompile("`([a-z0-9/]+) (Test[A-Za-z0-9_]+(?:/[^`]+)?)`")

// ledger reads the rows: | claim | state | witness |.
func ledger(t *testing.T) []claim {
	t.Helper()
	raw, err := os.ReadFile("docs/parity.md")
	if err != nil {
		t.Fatal(err)
	}
	var claims []claim
	for i, line := range strings.Split(string(raw), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| Claim ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) < 2 {
			t.Errorf("docs/parity.md:%d: a row has a claim, a state and a witness", i+1)
			continue
		}
		c := claim{line: i + 1, text: cells[0], state: strings.TrimSpace(strings.Trim(cells[1], "|"))}
		for _, m := range witnessForm.FindAllStringSubmatch(line, -1) {
			c.witness = append(c.witness, m[1]+" "+m[2])
		}
		claims = append(claims, c)
	}
	return claims
}

func TestLedgerWitnessesExist(t *testing.T) {
	claims := ledger(t)
	if len(claims) < 20 {
		t.Fatalf("docs/parity.md has %d rows; is it still the ledger?", len(claims))
	}
	for _, c := range claims {
		if !slices.Contains([]string{"yes", "partly", "no"}, c.state) {
			t.Errorf("docs/parity.md:%d: state %q; it is yes, partly or no", c.line, c.state)
		}
		if c.state != "no" && len(c.witness) == 0 {
			t.Errorf("docs/parity.md:%d: %q is %s without a witness test", c.line, c.text, c.state)
		}
		for _, w := range c.witness {
			if !exists(t, w) {
				t.Errorf("docs/parity.md:%d: there is no test %s", c.line, w)
			}
		}
	}
}

// exists looks for the test's function in the package, and for a script's file.
func exists(t *testing.T, witness string) bool {
	t.Helper()
	dir, test, _ := strings.Cut(witness, " ")
	name, sub, _ := strings.Cut(test, "/")
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := slices.ContainsFunc(files, func(file string) bool {
		raw, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(raw), "\nfunc "+name+"(t *testing.T)")
	})
	if found && name == "TestScript" && sub != "" {
		_, err := os.Stat(filepath.Join(dir, "testdata", "script", sub+".txtar"))
		return err == nil
	}
	return found
}

func TestLedgerRan(t *testing.T) {
	if *ran == "" { // nothing has run yet that could be checked
		return
	}
	passed := passedTests(t, *ran)
	for _, c := range ledger(t) {
		for _, w := range c.witness {
			if !passed[w] {
				t.Errorf("docs/parity.md:%d: witness %s did not run and pass", c.line, w)
			}
		}
	}
}

// passedTests reads go test -json output, and gives "package TestName".
func passedTests(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	passed := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct{ Action, Package, Test string }
		if json.Unmarshal(lines.Bytes(), &event) != nil || event.Action != "pass" || event.Test == "" {
			continue
		}
		dir := strings.TrimPrefix(strings.TrimPrefix(event.Package, module), "/")
		passed[dir+" "+event.Test] = true
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return passed
}
