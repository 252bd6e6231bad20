package graph

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lanyard-id/lanyard/internal/token"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// TestGolden plays testdata/*.txtar, each in a world of its own. The comment
// prepares the world, a directive a line; other lines are for people:
//
//	strict                 strict mode
//	user NAME              a user
//	identity NAME          a user-assigned identity
//	system NAME            a system-assigned identity
//	group NAME MEMBER...   a group
//
// Then each file "name" is a request and "name answer" its golden answer. A
// request is
//
//	who [what]
//	METHOD /path
//	Header: value
//
//	body
//
// who is a principal, "-" for no token; what names a token that is not good. A
// line "after DURATION" before the first moves the clock. {NAME.oid} and the
// like stand for identifiers that are known, {id1}, {id2}... for the others in
// the order in which they first appear in answers.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			must(t, err)
			archive := txtar.Parse(data)
			p := newPlayer(t, string(archive.Comment))
			out := txtar.Archive{Comment: archive.Comment}
			for _, f := range archive.Files {
				if strings.HasSuffix(f.Name, " answer") {
					continue
				}
				got := p.play(t, string(f.Data))
				name := f.Name + " answer"
				if diff := cmp.Diff(fileIn(archive, name), got); diff != "" && !*update {
					t.Errorf("%s (-want +got):\n%s", f.Name, diff)
				}
				out.Files = append(out.Files, f, txtar.File{Name: name, Data: []byte(got)})
			}
			if *update {
				must(t, os.WriteFile(file, txtar.Format(&out), 0o644))
			}
		})
	}
}

func fileIn(archive *txtar.Archive, name string) string {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// player plays the requests of one file.
type player struct {
	*world
	unknown []string // GUIDs of answers in order
}

func newPlayer(t *testing.T, comment string) *player {
	t.Helper()
	lines := strings.Split(comment, "\n")
	var options []func(*Config)
	if slices.Contains(lines, "strict") {
		options = append(options, strict)
	}
	p := &player{world: newWorld(t, options...)}
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "user":
			p.user(words[1])
		case "identity", "system":
			p.identity(words[1], words[0] == "system")
		case "group":
			p.group(words[1], words[2:]...)
		}
	}
	return p
}

var (
	placeholder   = regexp.MustCompile(`\{([a-z][a-z0-9]*(\.[a-z]+)?)\}`)
	guidPattern   = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	secretPattern = regexp.MustCompile(`"[A-Za-z0-9]{3}8Q~[A-Za-z0-9]{34}"`)
	hintPattern   = regexp.MustCompile(`("hint": )"[A-Za-z0-9]{3}"`)
	sidPattern    = regexp.MustCompile(`"S-1-12-1(-[0-9]{1,10}){4}"`)
	linkPattern   = regexp.MustCompile(`(\$skiptoken=)([A-Za-z0-9_-]+)`)
)

func (p *player) play(t *testing.T, text string) string {
	t.Helper()
	for i, id := range p.unknown {
		text = strings.ReplaceAll(text, fmt.Sprintf("{id%d}", i+1), id)
	}
	head, body, _ := strings.Cut(p.fill(text), "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	if after, ok := strings.CutPrefix(lines[0], "after "); ok {
		d, err := time.ParseDuration(after)
		must(t, err)
		p.clock.advance(d)
		lines = lines[1:]
	}
	fields := strings.Fields(lines[0])
	method, path, ok := strings.Cut(lines[1], " ")
	if !ok {
		t.Fatalf("%q is no request line", lines[1])
	}
	r := p.request(method, path, strings.TrimSpace(body))
	for _, line := range lines[2:] {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	if authorization := p.authorization(t, fields); authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return p.print(t, p.send(r))
}

// authorization makes the header: of a good token, or of what is asked for.
func (p *player) authorization(t *testing.T, fields []string) string {
	t.Helper()
	who, what := fields[0], ""
	if len(fields) > 1 {
		what = fields[1]
	}
	switch {
	case who == "-":
		return ""
	case what == "":
		return "Bearer " + p.token(who)
	case what == "basic":
		return "Basic b3duZXI6c2VjcmV0"
	case what == "malformed":
		return "Bearer not.a.token"
	case what == "resigned":
		raw := []byte(p.token(who))
		if at := &raw[len(raw)-9]; *at == 'A' {
			*at = 'B'
		} else {
			*at = 'A'
		}
		return "Bearer " + string(raw)
	}
	return "Bearer " + p.token(who, func(c *token.Claims) {
		switch what {
		case "expired":
			c.IssuedAt, c.NotBefore, c.Expiry = c.IssuedAt-7200, c.NotBefore-7200, c.Expiry-7200
		case "early":
			c.NotBefore, c.Expiry = c.NotBefore+7200, c.Expiry+7200
		case "arm":
			c.Audience = testCloud.ResourceManager()
		case "issuer":
			c.Issuer = "https://sts.windows.net/" + c.TenantID + "/"
		default:
			t.Fatalf("no token of kind %q", what)
		}
	})
}

// print gives an answer in a form that is the same each time.
func (p *player) print(t *testing.T, a answer) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, a.status, http.StatusText(a.status))
	for _, name := range []string{"WWW-Authenticate", "Allow", "Location", "Retry-After"} {
		if v := a.header.Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	if a.body != "" {
		var indented bytes.Buffer
		if err := json.Indent(&indented, []byte(a.body), "", "  "); err != nil {
			t.Errorf("the body is not JSON: %v: %s", err, a.body)
		}
		b.WriteString("\n")
		s := bufio.NewScanner(&indented)
		for s.Scan() {
			b.WriteString(s.Text() + "\n")
		}
	}
	text := linkPattern.ReplaceAllString(b.String(), "${1}…")
	text = secretPattern.ReplaceAllString(text, `"SECRET"`)
	text = hintPattern.ReplaceAllString(text, `${1}"HIN"`)
	text = sidPattern.ReplaceAllString(text, `"SID"`)
	return p.name(text)
}

// name puts placeholders in the place of identifiers.
func (p *player) name(text string) string {
	names := map[string]string{requestID: "request-id", clientRequest: "client-request-id"}
	for name, id := range p.known {
		names[id] = name
	}
	return guidPattern.ReplaceAllStringFunc(text, func(guid string) string {
		if name, ok := names[guid]; ok {
			return "{" + name + "}"
		}
		if strings.HasPrefix(guid, "0000000") || strings.HasPrefix(guid, "22222222-") {
			return guid
		}
		at := slices.Index(p.unknown, guid)
		if at < 0 {
			at = len(p.unknown)
			p.unknown = append(p.unknown, guid)
		}
		return fmt.Sprintf("{id%d}", at+1)
	})
}
