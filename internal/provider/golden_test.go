package provider

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/rbac"
)

// TestGolden plays the dialogues of testdata/*.txtar, each in a cloud of its
// own, which the comment prepares ([cloudtest.Cloud.Prepare]); the line "strict"
// is strict mode. Each section "NAME" is a request
// ([cloudtest.Cloud.ReadRequest]) and the section "NAME.out" its golden answer.
// The header "As: NAME [FAULT...]" says whose token it carries ("owner" by
// default, "none" for no token; [cloudtest.Cloud.Authorization] lists what may
// be wrong with it). Further methods: "POLL" polls the last
// answer's Location until it is done, "CLOCK 1h" moves the clock, "RESTART"
// reopens the cloud on the same data.
//
// In URLs, headers and bodies {sub}, {tenant}, {other.sub}, {other.tenant},
// {NAME.oid} and {NAME.appid} stand for identifiers, and {id1}, {id2}... for
// the unknown GUIDs of answers in the order in which they came; answers are
// written with them.
func TestGolden(t *testing.T) {
	cloudtest.Golden(t, "testdata/*.txtar", ".out", func(t *testing.T, comment string) func(string) string {
		t.Helper()
		p := &play{testWorld: newWorld(t, slices.Contains(strings.Split(comment, "\n"), "strict"))}
		p.Names.Literal = literal
		p.Prepare(comment)
		return p.step
	})
}

// literal says which GUIDs are the same in each run: those of requests, those
// that requests choose, and those of built-in roles.
func literal(guid string) bool {
	return strings.HasPrefix(guid, "4e900000-") || guid == cloudtest.CorrelationID ||
		slices.ContainsFunc(rbac.BuiltIns(), func(r rbac.RoleDefinition) bool { return r.ID == guid })
}

// play is a dialogue with a cloud.
type play struct {
	*testWorld
	location string // the last answer's
}

// step plays one request and gives its answer as golden files have it.
func (p *play) step(text string) string {
	p.TB.Helper()
	switch words := strings.Fields(text); words[0] {
	case "CLOCK":
		d, err := time.ParseDuration(words[1])
		cloudtest.Must(p.TB, err)
		p.Clock.Advance(d)
		return ""
	case "RESTART":
		p.restart()
		return ""
	case "POLL":
		var a cloudtest.Answer
		p.Eventually("the operation at "+p.location, func() bool {
			a = p.serve(p.Request("owner", http.MethodGet, p.location, ""))
			return a.Status != http.StatusAccepted
		})
		return p.show(a)
	}
	r := p.ReadRequest(p.Azure.ResourceManager(), text)
	as := []string{"owner"}
	if words := strings.Fields(r.Header.Get("As")); len(words) > 0 {
		as = words
	}
	r.Header.Del("As")
	if as[0] != "none" && r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", p.Authorization(as[0], as[1:]...))
	}
	return p.show(p.serve(r))
}

// shownHeaders are the headers that golden files have.
var shownHeaders = []string{
	"Allow", "Azure-AsyncOperation", "ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Go-Azure-Sdk-Skip-Polling-Delay",
	"x-ms-error-code", "x-ms-failure-cause",
}

var (
	// secretPattern is that of client secrets.
	secretPattern = regexp.MustCompile(`[A-Za-z0-9]{3}8Q~[A-Za-z0-9]{34}`)
	etagPattern   = regexp.MustCompile(`(?i)("?etag"?: )(?:"\\")?"?[0-9a-f]+(?:\\"")?"?`)
)

func (p *play) show(a cloudtest.Answer) string {
	p.TB.Helper()
	if at := a.Header.Get("Location"); at != "" {
		p.location = at
	}
	text := p.Names.Show(fmt.Sprintln(a.Status, http.StatusText(a.Status)) + a.Text(p.TB, shownHeaders...))
	return etagPattern.ReplaceAllString(secretPattern.ReplaceAllString(text, "{secret}"), `$1"{etag}"`)
}

// TestGoldenPlaceholders proves that filling and naming are inverse.
func TestGoldenPlaceholders(t *testing.T) {
	names := &cloudtest.Names{Literal: literal}
	names.Set("sub", subscriptionID)
	const text = "/subscriptions/" + subscriptionID + "/x/99999999-1234-1234-1234-123456789abc"
	named := names.Show(text)
	if want := "/subscriptions/{sub}/x/{id1}"; named != want {
		t.Errorf("Show gave %s, want %s", named, want)
	}
	if got := names.Fill(named); got != text {
		t.Errorf("Fill gave %s, want %s", got, text)
	}
	if keys := slices.Sorted(maps.Keys(names.All())); !slices.Equal(keys, []string{"sub"}) {
		t.Errorf("known are %v", keys)
	}
}
