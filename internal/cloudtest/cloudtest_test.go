package cloudtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a test that notes its errors and goes on.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// TestGoldenFileIsCompared: a golden file that fits is left alone, and one that
// does not fails the test, whatever differs.
func TestGoldenFileIsCompared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txtar")
	Must(t, os.WriteFile(path, []byte("For people.\n-- one --\nGET /\n-- one.out --\n200 OK\n"), 0o600))
	one, out := txtar.File{Name: "one", Data: []byte("GET /\n")}, txtar.File{Name: "one.out", Data: []byte("200 OK\n")}
	for name, test := range map[string]struct {
		sections []txtar.File
		want     string
	}{
		"the same":          {[]txtar.File{one, out}, ""},
		"another answer":    {[]txtar.File{one, {Name: "one.out", Data: []byte("404 Not Found\n")}}, "404 Not Found"},
		"an answer more":    {[]txtar.File{one, out, {Name: "two.out", Data: []byte("200 OK\n")}}, "two.out"},
		"an empty one more": {[]txtar.File{one, out, {Name: "two.out"}}, "two.out"},
		"an answer less":    {[]txtar.File{one}, `nothing came out as "one.out"`},
	} {
		r := &recorder{TB: t}
		ReadGolden(t, path).Check(r, test.sections)
		if got := strings.Join(r.errors, "\n"); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want it to say %q", name, got, test.want)
		}
	}
}

// TestNames: Show and Fill are inverse, for names, numbers and GUIDs without
// dashes; what is literal stays.
func TestNames(t *testing.T) {
	n := &Names{Literal: func(guid string) bool { return strings.HasPrefix(guid, "0000") }}
	n.Set("one", "11111111-0000-0000-0000-000000000000")
	n.Set("one.secret", "hunter2 and more")
	n.Set("secret", "hunter2")
	const text = "11111111-0000-0000-0000-000000000000 hunter2 and more, hunter2, 99999999-1234-1234-1234-123456789abc 00000003-0000-0000-c000-000000000000 {other} "
	shown := n.Show(text)
	if want := "{one} {one.secret}, {secret}, {id1} 00000003-0000-0000-c000-000000000000 {other} "; shown != want {
		t.Errorf("shown as %s", shown)
	}
	if got := n.Fill(shown); got != text {
		t.Errorf("filled as %s", got)
	}
	if got := n.Show("11111111000000000000000000000000 99999999123412341234123456789abc 12345678123412341234123456789abc"); got !=
		"{one without dashes} {id1 without dashes} 12345678123412341234123456789abc" {
		t.Errorf("without dashes: %s", got)
	}
	if id := n.ID("x.oid"); n.Fill("{x.oid} {x.appid}") != id+" "+n.ID("x.appid") || id == n.ID("x.appid") {
		t.Errorf("an unknown one is %s", id)
	}
}

// TestAuthorization: a good header passes the service's verifier, and each fault
// is refused for its own reason.
func TestAuthorization(t *testing.T) {
	c := New(t, Config{Service: azure.ServiceGraph})
	c.Tenant(directory.Tenant{ID: TenantID, DisplayName: "Contoso", DefaultDomain: "contoso.example"})
	c.Application(TenantID, "app")
	c.User(TenantID, "ada")
	for _, name := range []string{"app", "ada", "stranger"} {
		caller, err := c.Verifier().Verify(strings.TrimPrefix(c.Authorization(name), "Bearer "))
		if err != nil || caller.ObjectID != c.Principal(name).ObjectID || caller.TenantID != TenantID {
			t.Errorf("%s is %+v, %v", name, caller, err)
		}
	}
	for fault, want := range map[string]token.Reason{
		"malformed": token.Malformed, "resigned": token.BadSignature, "forged": token.BadSignature, "none": token.BadAlgorithm,
		"expired": token.Expired, "early": token.NotYetValid, "issuer": token.WrongIssuer, "arm": token.WrongAudience,
		"audience=https://vault.azure.net": token.WrongAudience,
	} {
		_, err := c.Verifier().Verify(strings.TrimPrefix(c.Authorization("app", fault), "Bearer "))
		if refused, ok := errors.AsType[*token.VerifyError](err); !ok || refused.Reason != want {
			t.Errorf("%s: %v, want %s", fault, err, want)
		}
	}
	caller, err := c.Verifier().Verify(strings.TrimPrefix(c.Authorization("app", "tenant="+OtherTenantID), "Bearer "))
	if err != nil || caller.TenantID != OtherTenantID {
		t.Errorf("of another tenant: %+v, %v", caller, err)
	}
	if c.Authorization("") != "" || c.Authorization("-") != "" {
		t.Error("nobody has a header")
	}
}

// TestRestart: a cloud is the same after Close and Open, for another test too.
func TestRestart(t *testing.T) {
	c := New(t, Config{})
	c.Tenant(directory.Tenant{ID: TenantID, DisplayName: "Contoso", DefaultDomain: "contoso.example"})
	c.Update(func(tx *store.Tx) error { tx.Put("key", []byte("value")); return nil })
	c.Assign("app", azure.RoleReader, azure.Root())
	c.Close()
	c.Open()
	t.Run("in another test", func(t *testing.T) {
		if got := c.In(t).Entries("key"); got["key"] != "value" {
			t.Errorf("the store has %v", got)
		}
	})
	all, err := c.Guard.ListAssignments(t.Context(), TenantID)
	if err != nil || len(all) != 1 || all[0].PrincipalID != c.Principal("app").ObjectID {
		t.Errorf("the assignments are %+v, %v", all, err)
	}
}
