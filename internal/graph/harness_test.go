package graph

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID      = cloudtest.TenantID
	otherTenantID = cloudtest.OtherTenantID
)

// world is a plane over a cloud with a few applications whose rights at the root
// their names say.
type world struct {
	*cloudtest.Cloud
	handler *Handler
}

// constraint withholds assigning roles, as Azure's portal writes it.
const constraint = "!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})"

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{Cloud: cloudtest.New(t, cloudtest.Config{Service: azure.ServiceGraph})}
	w.Names.Set("tenant", tenantID)
	w.Names.Set("other", otherTenantID)
	w.Tenant(directory.Tenant{ID: tenantID, DisplayName: "contoso", DefaultDomain: "contoso.example", Domains: []string{"contoso.test"}})
	w.Tenant(directory.Tenant{ID: otherTenantID, DisplayName: "fabrikam", DefaultDomain: "fabrikam.example", Domains: []string{"fabrikam.test"}})
	for name, role := range map[string]string{
		"owner": azure.RoleOwner, "uaa": azure.RoleUserAccessAdministrator, "contributor": azure.RoleContributor, "reader": azure.RoleReader,
	} {
		w.Application(tenantID, name)
		w.Assign(name, role, azure.Root())
	}
	w.Application(tenantID, "nobody")
	w.Application(tenantID, "constrained")
	w.AssignIf("constrained", azure.RoleOwner, azure.Root(), constraint)
	w.Application(otherTenantID, "foreigner")
	w.Assign("foreigner", azure.RoleOwner, azure.Root())
	cfg := Config{
		Store: w.Store, Directory: w.Directory, Guard: w.Guard, Audit: w.Audit, Cloud: w.Azure, Verifier: w.Verifier(),
		Now: w.Clock.Now, Logger: w.Logger,
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	w.handler, err = New(cfg)
	cloudtest.Must(t, err)
	return w
}

func strict(cfg *Config) { cfg.Strict = true }

// do sends a request as who ("" for no token); names in braces are filled in.
func (w *world) do(who, method, path, body string) cloudtest.Answer {
	w.TB.Helper()
	return w.send(w.request(who, method, path, body))
}

func (w *world) request(who, method, path, body string) *http.Request {
	w.TB.Helper()
	return w.Request(who, method, w.Azure.Graph()+strings.ReplaceAll(w.Names.Fill(path), " ", "%20"), w.Names.Fill(body))
}

func (w *world) send(r *http.Request) cloudtest.Answer { return cloudtest.Send(w.handler, r) }

// app creates an application and its service principal over the wire, called as
// those of [cloudtest.Cloud.Application].
func (w *world) app(name string) {
	w.TB.Helper()
	type made struct{ ID, AppID string }
	a := cloudtest.Decode[made](w.TB, w.do("owner", "POST", "/v1.0/applications", fmt.Sprintf(`{"displayName":%q}`, name)).Want(w.TB, 201))
	sp := cloudtest.Decode[made](w.TB, w.do("owner", "POST", "/v1.0/servicePrincipals", fmt.Sprintf(`{"appId":%q}`, a.AppID)).Want(w.TB, 201))
	w.Call(name, directory.Principal{TenantID: tenantID, Type: azure.ServicePrincipal, ObjectID: sp.ID, AppID: a.AppID})
	w.Names.Set(name+".app", a.ID)
}
