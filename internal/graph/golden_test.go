package graph

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// TestGolden plays testdata/*.txtar, each in a world of its own, which the
// comment prepares ([cloudtest.Cloud.Prepare]); the line "strict" is strict
// mode. A request is
//
//	who [fault]
//	METHOD /path
//	Header: value
//
//	body
//
// as [cloudtest.Cloud.Sender], Authorization and ReadRequest have it. Names in
// braces stand for what differs from run to run ([cloudtest.Names]).
func TestGolden(t *testing.T) {
	cloudtest.Golden(t, "testdata/*.txtar", " answer", func(t *testing.T, comment string) func(string) string {
		t.Helper()
		var options []func(*Config)
		if slices.Contains(strings.Split(comment, "\n"), "strict") {
			options = append(options, strict)
		}
		w := newWorld(t, options...)
		w.Names.Set("request-id", cloudtest.RequestID)
		w.Names.Set("client-request-id", cloudtest.CorrelationID)
		w.Names.Literal = func(guid string) bool {
			return strings.HasPrefix(guid, "0000000") || guid == cloudtest.SubscriptionID
		}
		w.Prepare(comment)
		return w.play
	})
}

func (w *world) play(text string) string {
	w.TB.Helper()
	words, text := w.Sender(text)
	r := w.ReadRequest(w.Azure.Graph(), text)
	if authorization := w.Authorization(words[0], words[1:]...); authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return w.print(w.send(r))
}

var (
	secretPattern = regexp.MustCompile(`"[A-Za-z0-9]{3}8Q~[A-Za-z0-9]{34}"`)
	hintPattern   = regexp.MustCompile(`("hint": )"[A-Za-z0-9]{3}"`)
	sidPattern    = regexp.MustCompile(`"S-1-12-1(-[0-9]{1,10}){4}"`)
	linkPattern   = regexp.MustCompile(`(\$skiptoken=)([A-Za-z0-9_-]+)`)
)

// print gives an answer in a form that is the same each time.
func (w *world) print(a cloudtest.Answer) string {
	w.TB.Helper()
	text := fmt.Sprintln(a.Status, http.StatusText(a.Status)) + a.Text(w.TB, "WWW-Authenticate", "Allow", "Location", "Retry-After")
	text = linkPattern.ReplaceAllString(text, "${1}…")
	text = secretPattern.ReplaceAllString(text, `"SECRET"`)
	text = hintPattern.ReplaceAllString(text, `${1}"HIN"`)
	text = sidPattern.ReplaceAllString(text, `"SID"`)
	return w.Names.Show(text)
}
