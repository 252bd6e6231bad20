package provider

import (
	"fmt"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID       = cloudtest.TenantID
	otherTenantID  = cloudtest.OtherTenantID
	subscriptionID = cloudtest.SubscriptionID
	otherSubID     = cloudtest.OtherSubscriptionID
)

// testWorld is the engine with all types over a cloud, in which the principal
// "owner" has Owner at the tenant root, and "foreigner" has it in another tenant.
type testWorld struct {
	*cloudtest.Cloud
	strict   bool
	clusters *cluster.Clusters
	engine   *arm.Engine
	movable  *Clock // nil: the cloud has no clock to move
}

func newWorld(tb testing.TB, strict bool) *testWorld {
	tb.Helper()
	w := &testWorld{Cloud: cloudtest.New(tb, cloudtest.Config{Service: azure.ServiceResourceManager, Strict: strict}), strict: strict}
	for name, id := range map[string]string{"tenant": tenantID, "other.tenant": otherTenantID, "sub": subscriptionID, "other.sub": otherSubID} {
		w.Names.Set(name, id)
	}
	w.open()
	w.Tenant(directory.Tenant{ID: tenantID, DisplayName: "Tenant 1111", DefaultDomain: "1111.lanyard.test"},
		directory.Subscription{ID: subscriptionID, DisplayName: "Main"})
	w.Tenant(directory.Tenant{ID: otherTenantID, DisplayName: "Tenant 2222", DefaultDomain: "2222.lanyard.test"},
		directory.Subscription{ID: otherSubID, DisplayName: "Other"})
	w.Assign("owner", azure.RoleOwner, azure.Root())
	foreigner := w.Principal("foreigner")
	foreigner.TenantID = otherTenantID
	w.Call("foreigner", foreigner)
	w.Assign("foreigner", azure.RoleOwner, azure.Root())
	return w
}

// open makes the engine, and carries on operations until the cloud closes.
func (w *testWorld) open() {
	w.TB.Helper()
	var err error
	w.clusters, err = cluster.Open(w.TB.Context(), cluster.Config{Store: w.Store, Audit: w.Audit, Cloud: w.Azure, Now: w.Clock.Now, Logger: w.Logger})
	cloudtest.Must(w.TB, err)
	w.engine, err = arm.New(arm.Config{
		Types: Types(Config{
			Store: w.Store, Directory: w.Directory, Guard: w.Guard, Cloud: w.Azure, Now: w.Clock.Now, Strict: w.strict, Logger: w.Logger,
			OperatorTenant: tenantID, Keys: w.Keys, Clusters: w.clusters, Clock: w.movable,
		}),
		Store: w.Store, Directory: w.Directory, Guard: w.Guard, Cloud: w.Azure, Now: w.Clock.Now, Strict: w.strict, Logger: w.Logger,
		OperatorTenant: tenantID, Verifier: w.Verifier(), Locations: LocationNames(AzureLocations()),
	})
	cloudtest.Must(w.TB, err)
	w.Run(w.engine.Run)
}

// restart opens the cloud again on the same data.
func (w *testWorld) restart() {
	w.TB.Helper()
	w.Close()
	w.Open()
	w.open()
}

// oid gives the object ID of a named principal.
func (w *testWorld) oid(name string) string { return w.Principal(name).ObjectID }

// send sends a request to the engine, as a named principal ("" for none).
func (w *testWorld) send(as, method, url, body string) cloudtest.Answer {
	w.TB.Helper()
	return w.serve(w.Request(as, method, w.Azure.ResourceManager()+url, body))
}

func (w *testWorld) serve(r *http.Request) cloudtest.Answer { return cloudtest.Send(w.engine, r) }

// put puts a resource as the owner, and fails the test unless that works.
func (w *testWorld) put(url, body string) map[string]any {
	w.TB.Helper()
	return w.decode(w.send("owner", http.MethodPut, url, body), http.StatusOK, http.StatusCreated)
}

// get gets a resource as the owner, likewise.
func (w *testWorld) get(url string) map[string]any {
	w.TB.Helper()
	return w.decode(w.send("owner", http.MethodGet, url, ""), http.StatusOK)
}

func (w *testWorld) decode(a cloudtest.Answer, statuses ...int) map[string]any {
	w.TB.Helper()
	return cloudtest.Decode[map[string]any](w.TB, a.Want(w.TB, statuses...))
}

// groupURL is the address of a resource group.
func groupURL(name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s?api-version=2021-04-01", subscriptionID, name)
}

// identityURL is the address of a user-assigned identity.
func identityURL(group, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.ManagedIdentity/userAssignedIdentities/%s?api-version=2023-01-31",
		subscriptionID, group, name)
}
