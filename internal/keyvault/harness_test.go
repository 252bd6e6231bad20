package keyvault

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID       = cloudtest.TenantID
	otherTenantID  = cloudtest.OtherTenantID
	subscriptionID = cloudtest.SubscriptionID
	otherSubID     = cloudtest.OtherSubscriptionID
)

var testCloud = azure.Cloud{
	Domain: "lanyard.test", Port: 8443,
	Aliases: []string{"*.vault.azure.net", "login-us.microsoftonline.com"},
}

// vaultMap is a Vaults that tests change.
type vaultMap struct {
	mu     sync.Mutex
	vaults map[string]Vault
}

func (m *vaultMap) Vault(name string) (Vault, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.vaults[name]
	return v, ok
}

func (m *vaultMap) set(v Vault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vaults = maps.Clone(m.vaults)
	m.vaults[azure.Fold(v.Name)] = v
}

// world is a plane over a cloud with a few vaults and principals whose rights
// their names say.
type world struct {
	*cloudtest.Cloud
	handler *Handler
	vaults  *vaultMap
}

// principals are fixed so that golden files are.
var principals = map[string]string{
	"officer": "33333333-0000-0000-0000-000000000001", // Secrets Officer at the subscriptions
	"reader":  "33333333-0000-0000-0000-000000000002", // Secrets User at the vault "one"
	"single":  "33333333-0000-0000-0000-000000000003", // Secrets User at one/secrets/db
	"owner":   "33333333-0000-0000-0000-000000000004", // Owner at the subscription
	"nobody":  "33333333-0000-0000-0000-000000000005",
	"foreign": "33333333-0000-0000-0000-000000000006", // of another tenant
	"admin":   "33333333-0000-0000-0000-000000000007", // Key Vault Administrator at the subscription
	"viewer":  "33333333-0000-0000-0000-000000000008", // Key Vault Reader at the vault "one"
}

func newWorld(tb testing.TB, change ...func(*Config)) *world {
	tb.Helper()
	w := &world{
		Cloud:  cloudtest.New(tb, cloudtest.Config{Azure: testCloud, Service: azure.ServiceKeyVault}),
		vaults: &vaultMap{vaults: map[string]Vault{}},
	}
	w.seed()
	cfg := Config{
		Store: w.Store, Guard: w.Guard, Audit: w.Audit, Cloud: w.Azure, Vaults: w.vaults, Verifier: w.Verifier(),
		Now: w.Clock.Now, Logger: w.Logger,
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	w.handler, err = New(cfg)
	cloudtest.Must(tb, err)
	return w
}

func vaultID(name string) azure.ResourceID {
	return azure.ResourceGroupScope(subscriptionID, "rg1").Resource("Microsoft.KeyVault", "vaults", name)
}

func (w *world) seed() {
	w.Tenant(directory.Tenant{ID: tenantID, DisplayName: "Tenant", DefaultDomain: "contoso.example.com"},
		directory.Subscription{ID: subscriptionID, DisplayName: "Sub"}, directory.Subscription{ID: otherSubID, DisplayName: "Sub"})
	w.Tenant(directory.Tenant{ID: otherTenantID, DisplayName: "Tenant", DefaultDomain: "fabrikam.example.com"})
	for name, id := range principals {
		p := directory.Principal{TenantID: tenantID, Type: azure.ServicePrincipal, ObjectID: id, AppID: "aaaaaaaa" + id[8:]}
		if name == "foreign" {
			p.TenantID = otherTenantID
		}
		w.Call(name, p)
	}
	sub := azure.SubscriptionScope(subscriptionID)
	w.Assign("officer", azure.RoleKeyVaultSecretsOfficer, sub)
	w.Assign("officer", azure.RoleKeyVaultSecretsOfficer, azure.SubscriptionScope(otherSubID))
	w.Assign("reader", azure.RoleKeyVaultSecretsUser, vaultID("one"))
	w.Assign("single", azure.RoleKeyVaultSecretsUser, vaultID("one").Child("secrets", "db"))
	w.Assign("owner", azure.RoleOwner, sub)
	w.Assign("admin", azure.RoleKeyVaultAdministrator, sub)
	w.Assign("viewer", azure.RoleKeyVaultReader, vaultID("one"))

	plain := Vault{TenantID: tenantID, Location: "westeurope", Geography: "Europe", RBAC: true, RetentionDays: 90}
	for name, change := range map[string]func(*Vault){
		"one":       func(*Vault) {},
		"two":       func(v *Vault) { v.Location = "northeurope" },
		"protected": func(v *Vault) { v.PurgeProtection, v.RetentionDays = true, 7 },
		"policies": func(v *Vault) {
			v.RBAC = false
			v.AccessPolicies = []AccessPolicy{
				{ObjectID: principals["reader"], Secrets: []string{"Get"}},
				{ObjectID: principals["nobody"], Secrets: []string{"all"}},
			}
		},
		"walled": func(v *Vault) {
			v.Network = Network{Deny: true, Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
		},
		"closed":  func(v *Vault) { v.Network.Disabled = true },
		"distant": func(v *Vault) { v.Location, v.Geography = "eastus", "United States" },
		"elsewhere": func(v *Vault) {
			v.ID = azure.ResourceGroupScope(otherSubID, "rg1").Resource("Microsoft.KeyVault", "vaults", "elsewhere")
		},
	} {
		v := plain
		v.Name, v.ID, v.Instance = name, vaultID(name), "instance-"+name
		change(&v)
		w.vaults.set(v)
	}
}

// do sends a request as who ("" for no token) to a vault.
func (w *world) do(who, vault, method, path, body string) cloudtest.Answer {
	w.TB.Helper()
	return w.send(w.Request(who, method, "https://"+host(vault)+path, body))
}

func host(vault string) string {
	if strings.Contains(vault, ".") {
		return vault
	}
	return vault + ".vault.lanyard.test:8443"
}

func (w *world) send(r *http.Request) cloudtest.Answer { return cloudtest.Send(w.handler, r) }

const v = "?api-version=7.4"

// set sets a secret as the officer and gives the version's identifier.
func (w *world) set(vault, name, value string) string {
	w.TB.Helper()
	body, err := json.Marshal(map[string]string{"value": value})
	cloudtest.Must(w.TB, err)
	b := cloudtest.Decode[bundle](w.TB, w.do("officer", vault, "PUT", "/secrets/"+name+v, string(body)).Want(w.TB, 200))
	return b.ID[strings.LastIndexByte(b.ID, '/')+1:]
}
