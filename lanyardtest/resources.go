package lanyardtest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/google/uuid"
)

// Location is the region in which the helpers make resources.
const Location = "westeurope"

// defaultGroup is the resource group of what is made without one.
const defaultGroup = "lanyardtest"

// The api-versions by which the helpers ask: published ones, for strict clouds.
const (
	groupsVersion        = "2021-04-01"
	identitiesVersion    = "2023-01-31"
	vaultsVersion        = "2023-07-01"
	authorizationVersion = "2022-04-01"
	secretsVersion       = "7.5"
)

// secretsOfficer is the built-in role Key Vault Secrets Officer.
const secretsOfficer = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7" //nolint:gosec // a public identifier

// vaultScope is what tokens for vaults are asked for.
const vaultScope = "https://vault.azure.net/.default"

// ResourceGroup is a resource group.
type ResourceGroup struct {
	// Name is the group's name.
	Name string
	// ResourceID is the group's ID, which is a scope for roles.
	ResourceID string

	cloud *Cloud
}

// Identity is a user-assigned managed identity.
type Identity struct {
	// Name is the resource's name.
	Name string
	// ResourceID is its ARM ID.
	ResourceID string
	// ClientID signs in.
	ClientID string
	// PrincipalID is the object ID, to which roles are assigned.
	PrincipalID string

	cloud *Cloud
}

// Vault is a key vault whose data is opened by roles (RBAC mode).
type Vault struct {
	// Name is the resource's name, which no other vault of the cloud has.
	Name string
	// ResourceID is its ARM ID. A secret's scope is this with "/secrets/{name}".
	ResourceID string
	// URL is the vault's address, as the SDK's clients take it.
	URL string
}

// ResourceGroup makes a resource group in the cloud's subscription. Identities
// and vaults that do not need one of their own go to a group that is made when
// the first of them is.
func (c *Cloud) ResourceGroup(t testing.TB, name string) ResourceGroup {
	t.Helper()
	id := "/subscriptions/" + c.SubscriptionID + "/resourceGroups/" + name
	c.put(t, id, groupsVersion, map[string]any{"location": Location}, nil)
	return ResourceGroup{Name: name, ResourceID: id, cloud: c}
}

// common gives the group of what is made without one.
func (c *Cloud) common(t testing.TB) ResourceGroup {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group == nil {
		g := c.ResourceGroup(t, defaultGroup)
		c.group = &g
	}
	return *c.group
}

// Identity makes a user-assigned identity, which has no role and trusts no issuer.
func (c *Cloud) Identity(t testing.TB, name string) Identity {
	t.Helper()
	return c.common(t).Identity(t, name)
}

// Identity makes a user-assigned identity in the group.
func (g ResourceGroup) Identity(t testing.TB, name string) Identity {
	t.Helper()
	id := g.ResourceID + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name
	var made struct {
		Properties struct {
			ClientID    string `json:"clientId"`
			PrincipalID string `json:"principalId"`
		} `json:"properties"`
	}
	g.cloud.put(t, id, identitiesVersion, map[string]any{"location": Location}, &made)
	return Identity{
		Name: name, ResourceID: id, ClientID: made.Properties.ClientID, PrincipalID: made.Properties.PrincipalID, cloud: g.cloud,
	}
}

// Credential gives a credential of the identity, as a machine has that runs under
// it. The operator asks for its tokens, who may assign the identity. Every call
// gives one without any token yet.
//
// There is no such thing on Azure outside of Azure's machines: in a cloud with
// [WithStrictAzure] its tokens are refused, and a workload signs in by
// [Identity.WorkloadCredential].
func (i Identity) Credential() azcore.TokenCredential {
	operator := i.cloud.Operator()
	return i.cloud.newCredential(i.ClientID, func(ctx context.Context, form url.Values) error {
		token, err := operator.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{i.cloud.Endpoints.ResourceManager + "/.default"}})
		if err != nil {
			return err
		}
		form.Del("client_id")
		form.Set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
		form.Set("subject_token", token.Token)
		form.Set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
		form.Set("requested_subject", i.ClientID)
		return nil
	})
}

// guid is the form of a role's name; built-in roles have the same on Azure.
var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// Assign gives a principal a role at a scope, and returns the assignment's
// resource ID. It is in force when Assign returns.
//
// The principal is an object ID: an [Identity.PrincipalID], never its ClientID.
// The role is the name of a built-in or custom role ("Key Vault Secrets User"),
// the role's GUID, or a role definition's resource ID. The scope is a resource
// ID: of a [Vault], a [ResourceGroup], a secret, "/subscriptions/{id}", or "/".
func (c *Cloud) Assign(t testing.TB, principalID, role, scope string) string {
	t.Helper()
	definition := c.roleDefinition(t, role, scope)
	// The name is made of what it says, so that saying it again changes nothing;
	// of the role's ID only the GUID counts.
	said := principalID + "|" + path.Base(definition) + "|" + scope
	name := uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.ToLower(said)))
	id := strings.TrimSuffix(scope, "/") + "/providers/Microsoft.Authorization/roleAssignments/" + name.String()
	c.put(t, id, authorizationVersion, map[string]any{"properties": map[string]any{
		"principalId": principalID, "roleDefinitionId": definition,
	}}, nil)
	return id
}

// roleDefinition gives the resource ID of a role.
func (c *Cloud) roleDefinition(t testing.TB, role, scope string) string {
	t.Helper()
	const definitions = "/providers/Microsoft.Authorization/roleDefinitions"
	switch {
	case strings.HasPrefix(role, "/"):
		return role
	case guid.MatchString(role):
		return definitions + "/" + role
	}
	var found struct {
		Value []struct {
			ID string `json:"id"`
		} `json:"value"`
	}
	query := url.Values{"$filter": {"roleName eq '" + strings.ReplaceAll(role, "'", "''") + "'"}}
	c.ask(t, http.MethodGet, strings.TrimSuffix(scope, "/")+definitions, authorizationVersion, query, nil, &found)
	if len(found.Value) == 0 {
		t.Fatalf("lanyardtest: there is no role %q at %s: the names of Azure's built-in roles are in its documentation", role, scope)
	}
	return found.Value[0].ID
}

// Vault makes a key vault. Nobody may read its secrets until a role says so, the
// operator included.
func (c *Cloud) Vault(t testing.TB, name string) Vault {
	t.Helper()
	return c.common(t).Vault(t, name)
}

// Vault makes a key vault in the group.
func (g ResourceGroup) Vault(t testing.TB, name string) Vault {
	t.Helper()
	id := g.ResourceID + "/providers/Microsoft.KeyVault/vaults/" + name
	var made struct {
		Properties struct {
			VaultURI string `json:"vaultUri"`
		} `json:"properties"`
	}
	g.cloud.put(t, id, vaultsVersion, map[string]any{"location": Location, "properties": map[string]any{
		"tenantId": g.cloud.TenantID, "enableRbacAuthorization": true,
		"sku": map[string]any{"family": "A", "name": "standard"},
	}}, &made)
	return Vault{Name: name, ResourceID: id, URL: made.Properties.VaultURI}
}

// Secret stores a secret in a vault, for which it first gives the operator the
// role Key Vault Secrets Officer there.
func (c *Cloud) Secret(t testing.TB, vault Vault, name, value string) {
	t.Helper()
	c.Assign(t, c.Bootstrap.PrincipalID, secretsOfficer, vault.ResourceID)
	options := c.ClientOptions()
	client, err := azcore.NewClient("lanyardtest", "v1.0.0", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(c.Operator(), []string{vaultScope}, nil)},
	}, &options)
	if err != nil {
		t.Fatalf("lanyardtest: %v", err)
	}
	address := strings.TrimSuffix(vault.URL, "/") + "/secrets/" + url.PathEscape(name) + "?api-version=" + secretsVersion
	if err := send(t.Context(), client.Pipeline(), http.MethodPut, address, map[string]string{"value": value}, nil); err != nil {
		t.Fatalf("lanyardtest: storing the secret %s: %v", name, err)
	}
}

// put makes or changes a resource.
func (c *Cloud) put(t testing.TB, id, version string, body, answer any) {
	t.Helper()
	c.ask(t, http.MethodPut, id, version, nil, body, answer)
}

// ask sends a request to Resource Manager as the operator, and fails the test
// unless it succeeds.
func (c *Cloud) ask(t testing.TB, method, resource, version string, query url.Values, body, answer any) {
	t.Helper()
	if query == nil {
		query = url.Values{}
	}
	query.Set("api-version", version)
	address := c.Endpoints.ResourceManager + (&url.URL{Path: resource}).EscapedPath() + "?" + query.Encode()
	if err := send(t.Context(), c.manage.Pipeline(), method, address, body, answer); err != nil {
		t.Fatalf("lanyardtest: %s %s: %v", method, resource, err)
	}
}

// send sends one request by a pipeline and decodes its answer.
func send(ctx context.Context, pipeline runtime.Pipeline, method, address string, body, answer any) error {
	r, err := runtime.NewRequest(ctx, method, address)
	if err != nil {
		return err
	}
	if body != nil {
		if err := runtime.MarshalAsJSON(r, body); err != nil {
			return err
		}
	}
	response, err := pipeline.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if !runtime.HasStatusCode(response, http.StatusOK, http.StatusCreated) {
		return runtime.NewResponseError(response)
	}
	if answer == nil {
		return nil
	}
	if err := runtime.UnmarshalAsJSON(response, answer); err != nil {
		return fmt.Errorf("decoding the answer: %w", err)
	}
	return nil
}
