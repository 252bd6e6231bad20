package server

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

const workloadSubject = "system:serviceaccount:shop:orders"

// TestTenantsAreApart: two tenants of one cloud, furnished alike, with the same
// names and the same federated credential. The operator of one sees nothing of
// the other's, and does nothing in it.
func TestTenantsAreApart(t *testing.T) {
	cluster := newIssuer(t)
	c := start(t, t.TempDir(), func(cfg *Config) {
		cfg.IssuerAllow, cfg.IssuerCAFile = []string{"127.0.0.1/32"}, cluster.caFile
	})
	a := c.party(t)
	b := a.tenant("Fabrikam")
	idA, idB := a.furnish("vault-of-a", "hello from a"), b.furnish("vault-of-b", "hello from b")
	a.trust(cluster, workloadSubject)
	b.trust(cluster, workloadSubject)
	identityA, identityB := idA.get("properties", "clientId"), idB.get("properties", "clientId")

	t.Run("Resource Manager", func(t *testing.T) { resourceManagerApart(t, a, b, idA.get("properties", "principalId")) })
	t.Run("lists", func(t *testing.T) { listsApart(t, a, b) })
	t.Run("token service", func(t *testing.T) { tokensApart(t, a, b, cluster, identityA, identityB) })
	t.Run("Key Vault", func(t *testing.T) { vaultsApart(t, a, b, cluster, identityB) })
	t.Run("Graph", func(t *testing.T) { graphApart(t, a, b) })
	t.Run("after its end", func(t *testing.T) { endOfTenant(t, a, b) })
}

// resourceManagerApart: whatever b does at a's scopes gets 401, which names the
// tenant that would be right.
func resourceManagerApart(t *testing.T, a, b *party, principalOfA string) {
	t.Helper()
	group := a.scope() + "/resourceGroups/shop"
	identity := group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders"
	role := `{"properties":{"roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635","principalId":"` +
		b.env.Bootstrap.ObjectID + `","principalType":"ServicePrincipal"}}`
	for _, r := range [][3]string{
		{http.MethodGet, a.scope() + "?api-version=2022-12-01", ""},
		{http.MethodGet, a.scope() + "/resourceGroups" + groupVersion, ""},
		{http.MethodGet, a.scope() + "/resources" + groupVersion, ""},
		{http.MethodGet, group + groupVersion, ""},
		{http.MethodPut, group + groupVersion, `{"location":"westeurope"}`},
		{http.MethodPut, a.scope() + "/resourceGroups/new" + groupVersion, `{"location":"westeurope"}`},
		{http.MethodDelete, group + groupVersion, ""},
		{http.MethodGet, identity + identityVersion, ""},
		{http.MethodPut, identity + identityVersion, `{"location":"westeurope"}`},
		{http.MethodDelete, identity + identityVersion, ""},
		{http.MethodPut, identity + "/federatedIdentityCredentials/mine" + identityVersion, `{"properties":{}}`},
		{http.MethodGet, group + "/providers/Microsoft.Authorization/roleAssignments" + roleVersion, ""},
		{http.MethodPut, group + "/providers/Microsoft.Authorization/roleAssignments/" + uuid.NewString() + roleVersion, role},
		{http.MethodPut, a.scope() + "/providers/Microsoft.Authorization/roleAssignments/" + uuid.NewString() + roleVersion, role},
		{http.MethodGet, group + "/providers/Microsoft.Authorization/permissions" + roleVersion, ""},
		{http.MethodPost, a.scope() + "/providers/Microsoft.Subscription/cancel?api-version=2021-10-01", ""},
		{http.MethodDelete, a.scope() + "?api-version=2022-12-01", ""},
		{http.MethodPut, a.scope() + "/providers/Microsoft.Resources/tags/default" + groupVersion, `{"properties":{"tags":{"a":"b"}}}`},
		{http.MethodGet, a.scope() + "/providers/Microsoft.KeyVault/vaults" + vaultVersion, ""},
	} {
		got := b.arm(r[0], r[1], r[2])
		if got.status != http.StatusUnauthorized || got.code() != "InvalidAuthenticationTokenTenant" {
			t.Errorf("%s %s: %d %s", r[0], r[1], got.status, got.text)
		}
		if challenge := got.header.Get("WWW-Authenticate"); !strings.Contains(challenge, a.env.TenantID) {
			t.Errorf("%s %s: the challenge %q doesn't name the right tenant", r[0], r[1], challenge)
		}
	}
	// At its own scopes it may well name a principal of a's, as on Azure; but
	// that one cannot come with a token of its own tenant.
	b.must(http.MethodPut, b.scope()+"/providers/Microsoft.Authorization/roleAssignments/"+uuid.NewString()+roleVersion,
		strings.Replace(role, b.env.Bootstrap.ObjectID, a.env.Bootstrap.ObjectID, 1))
	if got := a.arm(http.MethodGet, b.scope()+"/resourceGroups/shop"+groupVersion, ""); got.status != http.StatusUnauthorized {
		t.Errorf("a's operator in b's subscription: %d %s", got.status, got.text)
	}
	// Without a type, a principal that its own directory doesn't know is refused.
	got := b.arm(http.MethodPut, b.scope()+"/providers/Microsoft.Authorization/roleAssignments/"+uuid.NewString()+roleVersion,
		`{"properties":{"roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635","principalId":"`+principalOfA+`"}}`)
	if got.code() != "PrincipalNotFound" {
		t.Errorf("a role for a's identity in b: %d %s", got.status, got.text)
	}
	// A subscription of a's is not taken up, nor one made in a's tenant.
	for _, properties := range []string{
		`{"subscriptionId":"` + a.env.SubscriptionID + `"}`,
		`{"displayName":"Mine","additionalProperties":{"subscriptionTenantId":"` + a.env.TenantID + `"}}`,
	} {
		got := b.arm(http.MethodPut, "/providers/Microsoft.Subscription/aliases/stolen?api-version=2021-10-01", `{"properties":`+properties+`}`)
		if got.status != http.StatusForbidden && got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", properties, got.status, got.text)
		}
	}
	// An operation of a's is none for b.
	started := a.must(http.MethodPut, group+"x"+groupVersion, `{"location":"westeurope"}`)
	started = a.must(http.MethodDelete, started.get("id")+groupVersion, "")
	poll := strings.Replace(started.header.Get("Location"), a.env.SubscriptionID, b.env.SubscriptionID, 1)
	if got := b.send(b.bearer(b.env.Endpoints.ResourceManager), http.MethodGet, poll, ""); got.status != http.StatusNotFound {
		t.Errorf("b polls a's operation: %d %s", got.status, got.text)
	}
}

// values gives one member of each item of a list.
func values(t *testing.T, list answer, path ...string) []string {
	t.Helper()
	items, ok := list.doc["value"].([]any)
	if !ok {
		t.Fatalf("no list: %d %s", list.status, list.text)
	}
	var found []string
	for _, item := range items {
		doc, _ := item.(map[string]any)
		found = append(found, answer{doc: doc}.get(path...))
	}
	slices.Sort(found)
	return found
}

// listsApart: each sees its own, and what is of the whole cloud is the first
// tenant's alone.
func listsApart(t *testing.T, a, b *party) {
	t.Helper()
	for _, p := range []*party{a, b} {
		if got := values(t, p.must(http.MethodGet, "/subscriptions?api-version=2022-12-01", ""), "subscriptionId"); !slices.Equal(got, []string{p.env.SubscriptionID}) {
			t.Errorf("subscriptions: %v", got)
		}
		if got := values(t, p.must(http.MethodGet, "/tenants?api-version=2022-12-01", ""), "tenantId"); !slices.Equal(got, []string{p.env.TenantID}) {
			t.Errorf("tenants: %v", got)
		}
	}
	other := map[*party]*party{a: b, b: a}
	for _, p := range []*party{a, b} {
		for _, path := range []string{
			"/providers/Microsoft.Authorization/roleAssignments" + roleVersion,
			"/providers/Microsoft.Subscription/aliases?api-version=2021-10-01",
			p.scope() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities" + identityVersion,
			p.scope() + "/resources" + groupVersion,
		} {
			got := p.must(http.MethodGet, path, "")
			for _, foreign := range []string{other[p].env.TenantID, other[p].env.SubscriptionID} {
				if strings.Contains(got.text, foreign) {
					t.Errorf("%s shows something of another tenant: %s", path, got.text)
				}
			}
		}
	}
	for _, path := range []string{"tenants", "signingKeys", "sealingKeys"} {
		if got := b.arm(http.MethodGet, "/providers/Lanyard.Directory/"+path+"?api-version=2026-09-01", ""); got.code() != "AuthorizationFailed" {
			t.Errorf("b lists %s: %d %s", path, got.status, got.text)
		}
	}
}

// tokensApart: a client is one in its own tenant alone; the signing keys are
// shared, and the issuer tells the tenants apart.
func tokensApart(t *testing.T, a, b *party, cluster *issuer, identityA, identityB string) {
	t.Helper()
	refused := func(what, tenant string, form url.Values, number string) {
		t.Helper()
		if got := a.sign(tenant, form); got.get("access_token") != "" || !strings.Contains(got.text, number) {
			t.Errorf("%s: %d %s, want %s", what, got.status, got.text, number)
		}
	}
	secret := func(p *party) url.Values {
		return url.Values{
			"grant_type": {"client_credentials"}, "client_id": {p.env.Bootstrap.ClientID}, "client_secret": {p.env.Bootstrap.ClientSecret},
			"scope": {p.env.Endpoints.ResourceManager + "/.default"},
		}
	}
	refused("b's client in a's tenant", a.env.TenantID, secret(b), "AADSTS700016")
	refused("a's client in b's tenant", b.env.TenantID, secret(a), "AADSTS700016")
	refused("a's domain", a.env.Domain, secret(b), "AADSTS700016")

	// One token of the cluster, good for an identity of each tenant.
	workload := cluster.token(workloadSubject)
	arm := a.env.Endpoints.ResourceManager
	for _, p := range []struct {
		party    *party
		identity string
	}{{a, identityA}, {b, identityB}} {
		got := a.sign(p.party.env.TenantID, federate(p.identity, workload, arm))
		if got.status != http.StatusOK {
			t.Fatalf("a workload's token: %d %s", got.status, got.text)
		}
		c := claims(t, got.get("access_token"))
		if c["tid"] != p.party.env.TenantID || c["appid"] != p.identity || !strings.Contains(c["iss"].(string), p.party.env.TenantID) {
			t.Errorf("the token says %v", c)
		}
	}
	refused("a's identity in b's tenant", b.env.TenantID, federate(identityA, workload, arm), "AADSTS700016")
	refused("b's identity in a's tenant", a.env.TenantID, federate(identityB, workload, arm), "AADSTS700016")

	// Acting as another's identity.
	exchange := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {b.bearer(arm)},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "requested_subject": {identityA}, "scope": {arm + "/.default"},
	}
	refused("b's operator as a's identity", a.env.TenantID, exchange, "AADSTS50027")
	refused("b's operator as a's identity, in b's tenant", b.env.TenantID, exchange, "AADSTS700016")

	var kids [][]string
	for _, p := range []*party{a, b} {
		got := p.send("", http.MethodGet, p.env.Endpoints.ActiveDirectory+"/"+p.env.TenantID+"/discovery/v2.0/keys", "")
		var set struct {
			Keys []struct{ Kid, Issuer string }
		}
		if err := json.Unmarshal([]byte(got.text), &set); err != nil || len(set.Keys) == 0 {
			t.Fatalf("keys: %v, %s", err, got.text)
		}
		var ids []string
		for _, key := range set.Keys {
			ids = append(ids, key.Kid)
			if strings.Contains(key.Issuer, a.env.TenantID) && p == b {
				t.Errorf("b's key names the issuer %s", key.Issuer)
			}
		}
		kids = append(kids, ids)
	}
	if !slices.Equal(kids[0], kids[1]) {
		t.Errorf("keys %v and %v", kids[0], kids[1])
	}
}

// vaultsApart: a vault's challenge names its own tenant, and takes no token of
// another, whoever it is of.
func vaultsApart(t *testing.T, a, b *party, cluster *issuer, identityB string) {
	t.Helper()
	const secret = "/secrets/greeting" + secretVersion
	for _, p := range []*party{a, b} {
		name := map[*party]string{a: "vault-of-a", b: "vault-of-b"}[p]
		challenge := p.send("", http.MethodGet, p.vaultURL(name)+secret, "")
		if h := challenge.header.Get("WWW-Authenticate"); challenge.status != http.StatusUnauthorized || !strings.Contains(h, p.env.TenantID) {
			t.Errorf("%s challenges with %d %q", name, challenge.status, h)
		}
		if got := p.vault(name, http.MethodGet, secret, ""); got.status != http.StatusOK {
			t.Errorf("%s for its own: %d %s", name, got.status, got.text)
		}
	}
	for _, r := range [][3]string{
		{http.MethodGet, secret, ""}, {http.MethodPut, secret, `{"value":"x"}`}, {http.MethodDelete, secret, ""},
		{http.MethodGet, "/secrets" + secretVersion, ""}, {http.MethodGet, "/deletedsecrets" + secretVersion, ""},
	} {
		if got := b.vault("vault-of-a", r[0], r[1], r[2]); got.status != http.StatusUnauthorized || strings.Contains(got.text, "hello") {
			t.Errorf("b at a's vault, %s %s: %d %s", r[0], r[1], got.status, got.text)
		}
	}
	workload := a.sign(b.env.TenantID, federate(identityB, cluster.token(workloadSubject), "https://vault.azure.net")).get("access_token")
	if got := b.send(workload, http.MethodGet, b.vaultURL("vault-of-a")+secret, ""); got.status != http.StatusUnauthorized {
		t.Errorf("b's workload at a's vault: %d %s", got.status, got.text)
	}
	if got := a.vault("vault-of-a", http.MethodGet, secret, ""); got.get("value") != "hello from a" {
		t.Errorf("a's secret afterwards: %s", got.text)
	}
	// A vault's name is one in the whole cloud; whose it is stays unsaid.
	got := b.arm(http.MethodPut, b.scope()+"/resourceGroups/shop/providers/Microsoft.KeyVault/vaults/vault-of-a"+vaultVersion,
		`{"location":"westeurope","properties":{"tenantId":"`+b.env.TenantID+`","sku":{"family":"A","name":"standard"},"enableRbacAuthorization":true}}`)
	if got.code() != "VaultAlreadyExists" || strings.Contains(got.text, a.env.TenantID) || strings.Contains(got.text, a.env.SubscriptionID) {
		t.Errorf("a vault of a's name: %d %s", got.status, got.text)
	}
}

// graphApart: a directory shows its own objects alone.
func graphApart(t *testing.T, a, b *party) {
	t.Helper()
	ask := func(p *party, path string) answer {
		t.Helper()
		return p.send(p.bearer(p.env.Endpoints.Graph), http.MethodGet, p.env.Endpoints.Graph+"/v1.0"+path, "")
	}
	for _, p := range []struct{ party, other *party }{{a, b}, {b, a}} {
		own, other := p.party.env.Bootstrap, p.other.env.Bootstrap
		for _, path := range []string{"/applications", "/servicePrincipals"} {
			if got := ask(p.party, path); !strings.Contains(got.text, own.ClientID) || strings.Contains(got.text, other.ClientID) {
				t.Errorf("%s: %d %s", path, got.status, got.text)
			}
		}
		if got := ask(p.party, "/servicePrincipals/"+other.ObjectID); got.status != http.StatusNotFound {
			t.Errorf("another tenant's service principal: %d %s", got.status, got.text)
		}
		if got := ask(p.party, "/servicePrincipals/"+own.ObjectID); got.status != http.StatusOK {
			t.Errorf("its own service principal: %d %s", got.status, got.text)
		}
	}
}

// endOfTenant: when b is deleted, tokens that are out open nothing any more, and
// a goes on.
func endOfTenant(t *testing.T, a, b *party) {
	t.Helper()
	manage, vault, graph := b.bearer(b.env.Endpoints.ResourceManager), b.bearer("https://vault.azure.net"), b.bearer(b.env.Endpoints.Graph)
	wait := func(p *party, path string) {
		t.Helper()
		got := p.must(http.MethodDelete, path, "")
		location := got.header.Get("Location")
		waitFor(t, func() bool {
			got = p.send(p.bearer(p.env.Endpoints.ResourceManager), http.MethodGet, location, "")
			return got.status != http.StatusAccepted
		})
		if got.status >= http.StatusMultipleChoices {
			t.Fatalf("deleting %s: %d %s", path, got.status, got.text)
		}
	}
	wait(b, b.scope()+"/resourceGroups/shop"+groupVersion)
	got := b.must(http.MethodPost, b.scope()+"/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/vault-of-b/purge"+vaultVersion, "")
	waitFor(t, func() bool {
		return b.send(manage, http.MethodGet, got.header.Get("Location"), "").status != http.StatusAccepted
	})
	b.must(http.MethodPost, b.scope()+"/providers/Microsoft.Subscription/cancel?api-version=2021-10-01", "")
	wait(b, b.scope()+"?api-version=2022-12-01")
	wait(a, "/providers/Lanyard.Directory/tenants/"+b.env.TenantID+"?api-version=2026-09-01")

	for _, r := range [][3]string{
		{manage, http.MethodGet, b.env.Endpoints.ResourceManager + "/subscriptions?api-version=2022-12-01"},
		{manage, http.MethodPut, b.env.Endpoints.ResourceManager + "/providers/Microsoft.Subscription/aliases/again?api-version=2021-10-01"},
		{graph, http.MethodGet, b.env.Endpoints.Graph + "/v1.0/applications"},
		{vault, http.MethodGet, b.vaultURL("vault-of-a") + "/secrets/greeting" + secretVersion},
	} {
		if got := b.send(r[0], r[1], r[2], ""); got.status < http.StatusBadRequest {
			t.Errorf("%s %s with a token of a deleted tenant: %d %s", r[1], r[2], got.status, got.text)
		}
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {b.env.Bootstrap.ClientID}, "client_secret": {b.env.Bootstrap.ClientSecret},
		"scope": {b.env.Endpoints.ResourceManager + "/.default"},
	}
	if got := b.sign(b.env.TenantID, form); !strings.Contains(got.text, "AADSTS90002") {
		t.Errorf("signing in: %d %s", got.status, got.text)
	}
	if got := a.vault("vault-of-a", http.MethodGet, "/secrets/greeting"+secretVersion, ""); got.get("value") != "hello from a" {
		t.Errorf("a's secret: %d %s", got.status, got.text)
	}
}
