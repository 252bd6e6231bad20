package keyvault

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lanyard-id/lanyard/internal/token"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// TestGolden plays testdata/*.txtar, each in a world of its own. A file holds
// pairs "name request" and "name answer". A request is
//
//	who vault [what]
//	METHOD /path
//
//	body
//
// who is a principal, "-" for no token; what names a token that is not good. A
// line "after DURATION" before the first moves the clock. Versions are named
// v1, v2 and so on in the order in which they first appear, in answers and in
// later requests.
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
			p := &player{w: newWorld(t)}
			var out txtar.Archive
			out.Comment = archive.Comment
			answers := map[string]string{}
			for _, f := range archive.Files {
				if name, ok := strings.CutSuffix(f.Name, " answer"); ok {
					answers[name] = string(f.Data)
				}
			}
			for _, f := range archive.Files {
				name, ok := strings.CutSuffix(f.Name, " request")
				if !ok {
					continue
				}
				got := p.play(t, string(f.Data))
				if diff := cmp.Diff(answers[name], got); diff != "" && !*update {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
				out.Files = append(out.Files, f, txtar.File{Name: name + " answer", Data: []byte(got)})
			}
			if *update {
				must(t, os.WriteFile(file, txtar.Format(&out), 0o644))
			}
		})
	}
}

// player plays the requests of one file.
type player struct {
	w        *world
	versions []string
	backup   string
}

var (
	versionPattern = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	backupPattern  = regexp.MustCompile(`"TGFueWFyZ[A-Za-z0-9_-]+"`)
	linkPattern    = regexp.MustCompile(`(skiptoken=)([A-Za-z0-9_-]+)`)
)

func (p *player) play(t *testing.T, text string) string {
	t.Helper()
	for i, id := range p.versions {
		text = regexp.MustCompile(fmt.Sprintf(`\bv%d\b`, i+1)).ReplaceAllString(text, id)
	}
	text = strings.ReplaceAll(text, `"BACKUP"`, p.backup)
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	if after, ok := strings.CutPrefix(lines[0], "after "); ok {
		d, err := time.ParseDuration(after)
		must(t, err)
		p.w.clock.Advance(d)
		lines = lines[1:]
	}
	fields := strings.Fields(lines[0])
	method, path, _ := strings.Cut(lines[1], " ")
	r := httptest.NewRequestWithContext(t.Context(), method, "https://"+host(fields[1])+path, strings.NewReader(strings.TrimSpace(body)))
	r.Header.Set("X-Ms-Client-Request-Id", "client-request")
	for _, line := range lines[2:] {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Peer" {
			r.RemoteAddr = value + ":1234"
			continue
		}
		r.Header.Set(name, value)
	}
	what := ""
	if len(fields) > 2 {
		what = fields[2]
	}
	if authorization := p.authorization(t, fields[0], what); authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return p.print(t, p.w.send(r))
}

// authorization makes the header: of a good token, or of what is asked for.
func (p *player) authorization(t *testing.T, who, what string) string {
	t.Helper()
	if who == "-" {
		return ""
	}
	switch what {
	case "":
		return "Bearer " + p.w.token(who)
	case "basic":
		return "Basic b2ZmaWNlcjpzZWNyZXQ="
	case "malformed":
		return "Bearer not.a.token"
	case "resigned":
		// Not the last character of the signature, which holds few bits.
		raw := []byte(p.w.token(who))
		if at := &raw[len(raw)-9]; *at == 'A' {
			*at = 'B'
		} else {
			*at = 'A'
		}
		return "Bearer " + string(raw)
	}
	return "Bearer " + p.w.token(who, func(c *token.Claims) {
		switch what {
		case "expired":
			c.IssuedAt, c.NotBefore, c.Expiry = c.IssuedAt-7200, c.NotBefore-7200, c.Expiry-7200
		case "early":
			c.NotBefore, c.Expiry = c.NotBefore+7200, c.Expiry+7200
		case "arm":
			c.Audience = testCloud.ResourceManager()
		case "issuer":
			c.Issuer = "https://sts.windows.net/" + c.TenantID + "/"
		case "incomplete":
			c.ObjectID, c.Subject = "", "x"
		case "identity":
			c.IdentityResourceID = "/subscriptions/s/resourcegroups/rg1/providers/Microsoft.ManagedIdentity/userAssignedIdentities/app"
			c.HostResourceID = "/subscriptions/s/resourcegroups/rg1/providers/Microsoft.Compute/virtualMachines/vm"
		default:
			t.Fatalf("no token of kind %q", what)
		}
	})
}

// print gives an answer in a form that is the same each time.
func (p *player) print(t *testing.T, a answer) string {
	t.Helper()
	if found := backupPattern.FindString(a.body); found != "" {
		p.backup = found
		a.body = strings.ReplaceAll(a.body, found, `"BACKUP"`)
	}
	for _, id := range versionPattern.FindAllString(a.body, -1) {
		if !contains(p.versions, id) && id != strings.Repeat("0", 32) {
			p.versions = append(p.versions, id)
		}
	}
	for i, id := range p.versions {
		a.body = strings.ReplaceAll(a.body, id, fmt.Sprintf("v%d", i+1))
	}
	a.body = linkPattern.ReplaceAllString(a.body, "${1}…")
	var b strings.Builder
	fmt.Fprintln(&b, a.status)
	for _, name := range []string{"WWW-Authenticate", "Allow"} {
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
	return b.String()
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}
