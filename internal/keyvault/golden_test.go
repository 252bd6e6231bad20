package keyvault

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/token"
)

// TestGolden plays testdata/*.txtar, each in a world of its own. A request is
//
//	who vault [fault]
//	METHOD /path
//	Header: value
//
//	body
//
// as [cloudtest.Cloud.Sender], Authorization and ReadRequest have it; there are
// more faults here: "incomplete" is a token without an object ID, and "identity"
// a good one of a managed identity. Versions are named v1, v2 and so on in the
// order in which they first appear, in answers and in later requests.
func TestGolden(t *testing.T) {
	cloudtest.Golden(t, "testdata/*.txtar", " answer", func(t *testing.T, _ string) func(string) string {
		t.Helper()
		return (&player{world: newWorld(t)}).play
	})
}

// player plays the requests of one file.
type player struct {
	*world
	versions []string
	backup   string
}

var (
	versionPattern = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	backupPattern  = regexp.MustCompile(`"TGFueWFyZ[A-Za-z0-9_-]+"`)
	linkPattern    = regexp.MustCompile(`(skiptoken=)([A-Za-z0-9_-]+)`)
)

func (p *player) play(text string) string {
	p.TB.Helper()
	for i, id := range p.versions {
		text = regexp.MustCompile(fmt.Sprintf(`\bv%d\b`, i+1)).ReplaceAllString(text, id)
	}
	words, text := p.Sender(strings.ReplaceAll(text, `"BACKUP"`, p.backup))
	r := p.ReadRequest("https://"+host(words[1]), text)
	r.Header.Set("X-Ms-Client-Request-Id", "client-request")
	if authorization := p.authorization(words[0], words[2:]); authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return p.print(p.send(r))
}

// authorization makes the header.
func (p *player) authorization(who string, faults []string) string {
	p.TB.Helper()
	switch strings.Join(faults, " ") {
	case "incomplete":
		return "Bearer " + p.Token(who, func(c *token.Claims) { c.ObjectID, c.Subject = "", "x" })
	case "identity":
		return "Bearer " + p.Token(who, func(c *token.Claims) {
			c.IdentityResourceID = "/subscriptions/s/resourcegroups/rg1/providers/Microsoft.ManagedIdentity/userAssignedIdentities/app"
			c.HostResourceID = "/subscriptions/s/resourcegroups/rg1/providers/Microsoft.Compute/virtualMachines/vm"
		})
	}
	return p.Authorization(who, faults...)
}

// print gives an answer in a form that is the same each time.
func (p *player) print(a cloudtest.Answer) string {
	p.TB.Helper()
	if found := backupPattern.FindString(a.Body); found != "" {
		p.backup = found
		a.Body = strings.ReplaceAll(a.Body, found, `"BACKUP"`)
	}
	for _, id := range versionPattern.FindAllString(a.Body, -1) {
		if !slices.Contains(p.versions, id) && id != strings.Repeat("0", 32) {
			p.versions = append(p.versions, id)
		}
	}
	for i, id := range p.versions {
		a.Body = strings.ReplaceAll(a.Body, id, fmt.Sprintf("v%d", i+1))
	}
	a.Body = linkPattern.ReplaceAllString(a.Body, "${1}…")
	return fmt.Sprintln(a.Status) + a.Text(p.TB, "WWW-Authenticate", "Allow")
}
