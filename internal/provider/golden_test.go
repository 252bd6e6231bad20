package provider

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestGolden plays the dialogues of testdata/*.txtar, each in a cloud of its
// own. A dialogue's comment prepares the cloud, a directive a line:
//
//	strict                      strict mode
//	role NAME ROLE SCOPE        the principal NAME has the built-in role ROLE at SCOPE
//	app NAME                    an application and its service principal in the directory
//	user NAME                   a user
//	group NAME MEMBER...        a group of principals of the directory
//
// Other lines of the comment are for people. Then each file "NAME" is a request
// and the file "NAME.out" its golden answer. A request is a line "METHOD URL",
// headers, an empty line and a body. The header "As: NAME [OPTION...]" says
// whose token it carries ("owner" by default, "none" for no token; for the
// options see testWorld.bearer). Further methods: "POLL" polls the last
// answer's Location until it is done, "CLOCK 1h" moves the clock, "RESTART"
// reopens the cloud on the same data.
//
// In URLs, headers and bodies {sub}, {tenant}, {other.sub}, {other.tenant},
// {NAME.oid} and {NAME.appid} stand for identifiers, and {id1}, {id2}... for
// the unknown GUIDs of answers in the order in which they came; answers are
// written with them.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			playFile(t, file)
		})
	}
}

func playFile(t *testing.T, file string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	must(t, err)
	p := newPlay(t, string(archive.Comment))
	var played []txtar.File
	for _, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".out") {
			continue
		}
		got := p.step(f.Name, string(f.Data))
		out := f.Name + ".out"
		played = append(played, f, txtar.File{Name: out, Data: []byte(got)})
		if diff := cmp.Diff(wantIn(archive, out), got); diff != "" && !*update {
			t.Errorf("%s: %s (-want +got):\n%s", file, f.Name, diff)
		}
	}
	if *update {
		must(t, os.WriteFile(file, txtar.Format(&txtar.Archive{Comment: archive.Comment, Files: played}), 0o644))
	}
}

func wantIn(archive *txtar.Archive, name string) string {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// play is a dialogue with a cloud.
type play struct {
	*testWorld
	location string   // the last answer's
	unknown  []string // GUIDs of answers in order
}

func newPlay(tb testing.TB, comment string) *play {
	tb.Helper()
	lines := strings.Split(comment, "\n")
	p := &play{testWorld: newWorld(tb, slices.Contains(lines, "strict"))}
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		p.prepare(words)
	}
	return p
}

// prepare carries out a directive.
func (p *play) prepare(words []string) {
	switch {
	case words[0] == "role" && len(words) >= 4:
		scope, err := azure.ParseResourceID(p.fill(words[len(words)-1]))
		must(p.t, err)
		name := strings.Join(words[2:len(words)-1], " ")
		for _, role := range rbac.BuiltIns() {
			if role.RoleName == name {
				p.grant(words[1], tenantID, role.ID, scope)
				return
			}
		}
		p.t.Fatalf("there is no role %q", name)
	case words[0] == "app" && len(words) == 2:
		p.update(func(tx *store.Tx) error {
			app, principal, err := p.entra.CreateApplication(tx, tenantID, words[1])
			p.known[words[1]+".oid"], p.known[words[1]+".appid"] = principal.ObjectID, app.AppID
			return err
		})
	case words[0] == "user" && len(words) == 2:
		p.update(func(tx *store.Tx) error {
			user, err := p.entra.CreateUser(tx, tenantID, words[1]+"@"+tenantID[32:]+".lanyard.test", words[1])
			p.known[words[1]+".oid"] = user.ObjectID
			return err
		})
	case words[0] == "group":
		p.update(func(tx *store.Tx) error {
			group, err := p.entra.CreateGroup(tx, tenantID, words[1])
			p.known[words[1]+".oid"] = group.ObjectID
			return err
		})
		for _, member := range words[2:] {
			p.update(func(tx *store.Tx) error { return p.entra.AddMember(tx, tenantID, p.oid(words[1]), p.oid(member)) })
		}
	}
}

var placeholder = regexp.MustCompile(`\{([a-z][a-zA-Z0-9-]*(\.[a-z]+)?)\}`)

// fill puts identifiers in the place of their placeholders.
func (p *play) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(m string) string {
		name := m[1 : len(m)-1]
		var n int
		if _, err := fmt.Sscanf(name, "id%d", &n); err == nil && n >= 1 && n <= len(p.unknown) {
			return p.unknown[n-1]
		}
		if id, ok := p.known[name]; ok {
			return id
		}
		if strings.HasSuffix(name, ".oid") || strings.HasSuffix(name, ".appid") {
			return p.identifier(name)
		}
		return m
	})
}

var (
	guidPattern = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	barePattern = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	// secretPattern is that of client secrets.
	secretPattern = regexp.MustCompile(`[A-Za-z0-9]{3}8Q~[A-Za-z0-9]{34}`)
	etagPattern   = regexp.MustCompile(`(?i)("?etag"?: )(?:"\\")?"?[0-9a-f]+(?:\\"")?"?`)
)

// name is the opposite of fill.
func (p *play) name(text string) string {
	names := map[string]string{}
	for name, id := range p.known {
		names[id] = name
	}
	named := func(guid string) string {
		if name, ok := names[guid]; ok {
			return "{" + name + "}"
		}
		if strings.HasPrefix(guid, "c0ffee00") || strings.HasPrefix(guid, "4e900000") {
			return guid
		}
		for _, role := range rbac.BuiltIns() {
			if role.ID == guid {
				return guid
			}
		}
		at := slices.Index(p.unknown, guid)
		if at < 0 {
			at = len(p.unknown)
			p.unknown = append(p.unknown, guid)
		}
		return fmt.Sprintf("{id%d}", at+1)
	}
	text = guidPattern.ReplaceAllStringFunc(text, named)
	// Some errors print GUIDs without dashes.
	return barePattern.ReplaceAllStringFunc(text, func(bare string) string {
		guid := bare[:8] + "-" + bare[8:12] + "-" + bare[12:16] + "-" + bare[16:20] + "-" + bare[20:]
		if name, ok := names[guid]; ok {
			return "{" + name + " without dashes}"
		}
		if at := slices.Index(p.unknown, guid); at >= 0 {
			return fmt.Sprintf("{id%d without dashes}", at+1)
		}
		return bare
	})
}

// step plays one request and gives its answer as golden files have it.
func (p *play) step(name, text string) string {
	p.t.Helper()
	first, _, _ := strings.Cut(text, "\n")
	words := strings.Fields(first)
	if len(words) == 0 {
		p.t.Fatalf("%s: the request is empty", name)
	}
	switch words[0] {
	case "CLOCK":
		d, err := time.ParseDuration(words[1])
		must(p.t, err)
		p.clock.advance(d)
		return ""
	case "RESTART":
		p.close()
		p.open()
		return ""
	case "POLL":
		var rec *httptest.ResponseRecorder
		p.eventually("the operation at "+p.location, func() bool {
			req := httptest.NewRequestWithContext(p.t.Context(), http.MethodGet, p.location, nil)
			req.Header.Set("Authorization", "Bearer "+p.bearer("owner"))
			rec = p.serve(req)
			return rec.Code != http.StatusAccepted
		})
		return p.show(rec)
	}
	return p.show(p.serve(p.request(name, text)))
}

// request reads a request.
func (p *play) request(name, text string) *http.Request {
	p.t.Helper()
	head, body, _ := strings.Cut(p.fill(text), "\n\n")
	lines := bufio.NewScanner(strings.NewReader(head))
	lines.Scan()
	method, url, ok := strings.Cut(lines.Text(), " ")
	if !ok {
		p.t.Fatalf("%s: %q is no request line", name, lines.Text())
	}
	if strings.HasPrefix(url, "/") {
		url = testCloud.ResourceManager() + url
	}
	req := httptest.NewRequestWithContext(p.t.Context(), method, strings.ReplaceAll(url, " ", "%20"), strings.NewReader(body))
	as := "owner"
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		if key == "As" {
			as = value
			continue
		}
		req.Header.Add(key, value)
	}
	if words := strings.Fields(as); words[0] != "none" && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+p.bearer(words[0], words[1:]...))
	}
	return req
}

// shownHeaders are the headers that golden files have.
var shownHeaders = []string{
	"Allow", "Azure-AsyncOperation", "ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Go-Azure-Sdk-Skip-Polling-Delay",
	"x-ms-error-code", "x-ms-failure-cause",
}

func (p *play) show(rec *httptest.ResponseRecorder) string {
	resp := rec.Result()
	if at := resp.Header.Get("Location"); at != "" {
		p.location = at
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", rec.Code, http.StatusText(rec.Code))
	for _, name := range shownHeaders {
		for _, value := range resp.Header.Values(name) {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	body, err := io.ReadAll(resp.Body)
	must(p.t, err)
	if len(body) > 0 {
		var pretty bytes.Buffer
		must(p.t, json.Indent(&pretty, body, "", "  "))
		b.WriteString("\n" + pretty.String() + "\n")
	}
	shown := secretPattern.ReplaceAllString(p.name(b.String()), "{secret}")
	return etagPattern.ReplaceAllString(shown, `$1"{etag}"`)
}

// newContext is a context that outlives the test's own, which ends before
// cleanups run.
func newContext() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}

func signRS256(key *rsa.PrivateKey, text string) ([]byte, error) {
	sum := sha256.Sum256([]byte(text))
	return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
}

// TestGoldenPlaceholders proves that filling and naming are inverse.
func TestGoldenPlaceholders(t *testing.T) {
	p := &play{testWorld: &testWorld{t: t, known: map[string]string{"sub": subscriptionID}}}
	const text = "/subscriptions/" + subscriptionID + "/x/99999999-1234-1234-1234-123456789abc"
	named := p.name(text)
	if want := "/subscriptions/{sub}/x/{id1}"; named != want {
		t.Errorf("name gave %s, want %s", named, want)
	}
	if got := p.fill(named); got != text {
		t.Errorf("fill gave %s, want %s", got, text)
	}
	if keys := slices.Sorted(maps.Keys(p.known)); !slices.Equal(keys, []string{"sub"}) {
		t.Errorf("known are %v", keys)
	}
}
