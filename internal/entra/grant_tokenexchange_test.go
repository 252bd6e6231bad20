package entra_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
)

// actingCloud is a cloud whose application may assign mi, and not bare.
func actingCloud(t *testing.T, opts options) *cloud {
	t.Helper()
	c := newCloud(t, opts)
	c.Update(func(tx *store.Tx) error {
		return c.Directory.CreateSubscription(tx, directory.Subscription{
			ID: "11111111-2222-3333-4444-555555555555", TenantID: contoso, DisplayName: "shop", State: "Enabled"})
	})
	c.assign(c.appPrincipal.ObjectID, azure.RoleManagedIdentityOperator, c.mi.ResourceID)
	return c
}

func (c *cloud) assign(principal, role, scope string) {
	c.TB.Helper()
	id, err := azure.ParseResourceID(scope)
	cloudtest.Must(c.TB, err)
	c.Update(func(tx *store.Tx) error {
		_, _, err := c.Guard.PutAssignment(tx, rbac.Assignment{
			Name: uuid.NewString(), TenantID: contoso, Scope: id, RoleDefinitionID: role,
			PrincipalID: principal, PrincipalType: azure.ServicePrincipal, CreatedOn: c.Clock.Now(),
		})
		return err
	})
}

// actAs exchanges the access token for one of the identity; the number is the
// AADSTS number of the refusal.
func (c *cloud) actAs(subjectToken, identity string, change ...string) (status, number int, raw string) {
	c.TB.Helper()
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {subjectToken},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"requested_subject":  {identity},
		"scope":              {"https://vault.azure.net/.default"},
	}
	for i := 0; i < len(change); i += 2 {
		form.Set(change[i], change[i+1])
	}
	status, answer := c.post("/"+contoso+"/oauth2/v2.0/token", form)
	if status == http.StatusOK {
		return status, 0, answer["access_token"].(string)
	}
	return status, int(answer["error_codes"].([]any)[0].(float64)), ""
}

func TestTokenExchange(t *testing.T) {
	c := actingCloud(t, options{})
	_, operator := c.bySecret(c.appSecret)
	status, number, raw := c.actAs(operator, c.mi.AppID)
	if status != http.StatusOK {
		t.Fatalf("status %d, AADSTS%d", status, number)
	}
	claims := claimsOf(t, raw)
	if claims["oid"] != c.mi.ObjectID || claims["appid"] != c.mi.AppID || claims["aud"] != "https://vault.azure.net" ||
		!strings.Contains(claims["xms_mirid"].(string), "/id-orders") {
		t.Fatalf("claims %v", claims)
	}
	if text := c.AuditText(); !strings.Contains(text, `"actor":"`+c.appPrincipal.ObjectID+`"`) || strings.Contains(text, operator) {
		t.Fatal("the audit log does not name who acted, or holds its token")
	}
}

// TestTokenExchangeRefusals has everyone who must not become an identity try.
func TestTokenExchangeRefusals(t *testing.T) {
	c := actingCloud(t, options{})
	_, operator := c.bySecret(c.appSecret)
	_, forVault := c.as(c.app.AppID, url.Values{"client_secret": {c.appSecret}, "scope": {"https://vault.azure.net/.default"}})
	_, workload := c.federated(c.assertion(t, "valid"))
	foreign := c.foreignToken(t)
	c.assign(c.appPrincipal.ObjectID, azure.RoleOwner, strings.TrimSuffix(c.bare.ResourceID, "bare")+"other")
	for name, test := range map[string]struct {
		token, identity string
		change          []string
		status, number  int
	}{
		"an identity that it may not assign": {operator, c.bare.AppID, nil, 403, 50105},
		"another who may assign nothing":     {workload, c.mi.AppID, nil, 403, 50105},
		"an application":                     {operator, c.app.AppID, nil, 400, 700016},
		"the principal ID":                   {operator, c.mi.ObjectID, nil, 400, 700016},
		"nobody":                             {operator, "id-orders", nil, 400, 700016},
		"no subject":                         {operator, "", nil, 400, 900144},
		"no token":                           {"", c.mi.AppID, nil, 400, 900144},
		"a token for the vault":              {forVault, c.mi.AppID, nil, 400, 50027},
		"another tenant's token":             {foreign, c.mi.AppID, nil, 400, 50027},
		"an unsigned token":                  {"eyJhbGciOiJub25lIn0." + strings.Split(operator, ".")[1] + ".", c.mi.AppID, nil, 400, 50027},
		"an assertion":                       {c.assertion(t, "valid"), c.mi.AppID, nil, 400, 50027},
		"another type":                       {operator, c.mi.AppID, []string{"subject_token_type", "urn:ietf:params:oauth:token-type:jwt"}, 400, 90100},
		"an unknown resource":                {operator, c.mi.AppID, []string{"scope", "https://nothing.example/.default"}, 400, 500011},
	} {
		t.Run(name, func(t *testing.T) {
			status, number, raw := c.in(t).actAs(test.token, test.identity, test.change...)
			if status != test.status || number != test.number || raw != "" {
				t.Fatalf("status %d, AADSTS%d; want %d, AADSTS%d", status, number, test.status, test.number)
			}
		})
	}
	c.Clock.Advance(2 * time.Hour)
	if _, number, _ := c.actAs(operator, c.mi.AppID); number != 50027 {
		t.Errorf("an expired token: AADSTS%d", number)
	}
}

func (c *cloud) foreignToken(t *testing.T) string {
	t.Helper()
	_, answer := c.post("/"+fabrikam+"/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"},
		"client_id": {c.foreign.AppID}, "client_secret": {c.foreignSecret}, "scope": {management + "/.default"}})
	return answer["access_token"].(string)
}

// TestTokenExchangeIsNoPartOfStrict: Entra has no such grant.
func TestTokenExchangeIsNoPartOfStrict(t *testing.T) {
	c := actingCloud(t, options{strict: true})
	_, operator := c.bySecret(c.appSecret)
	if _, number, _ := c.actAs(operator, c.mi.AppID); number != 70003 {
		t.Errorf("AADSTS%d, want 70003", number)
	}
}
