package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/google/uuid"
)

func getIdentity(ctx context.Context, credential azcore.TokenCredential, group, name string) error {
	identities := must(armmsi.NewUserAssignedIdentitiesClient(world.env.SubscriptionID, credential, armOptions()))
	_, err := identities.Get(ctx, group, name, nil)
	return err
}

// TestOperatorHasNoDataActions: Owner at the root opens no secret, as on Azure.
func TestOperatorHasNoDataActions(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	vault := newVault(t, group)
	setSecret(t, vault, "greeting", "hello")
	assignments := must(armauthorization.NewRoleAssignmentsClient(world.env.SubscriptionID, operator(t), armOptions()))
	for pager := assignments.NewListForScopePager(*vault.ID, &armauthorization.RoleAssignmentsClientListForScopeOptions{Filter: to.Ptr("atScope()")}); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Value {
			if strings.HasSuffix(*a.Properties.RoleDefinitionID, roleSecretsOfficer) {
				if _, err := assignments.DeleteByID(ctx, *a.ID, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	_, err := secretsClient(vault, operator(t)).GetSecret(ctx, "greeting", "", nil)
	wantAzureError(t, err, http.StatusForbidden, "Forbidden")
}

// TestRoleStaysInItsScope: a role on one resource group gives nothing on one
// whose name begins alike, nor on the subscription; a role on one vault or
// secret gives nothing on its neighbour.
func TestRoleStaysInItsScope(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	neighbour := group + "0"
	groups := must(armresources.NewResourceGroupsClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := groups.CreateOrUpdate(ctx, neighbour, armresources.ResourceGroup{Location: to.Ptr(location)}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if poller, err := groups.BeginDelete(context.Background(), neighbour, nil); err == nil {
			_, _ = poller.PollUntilDone(context.Background(), nil)
		}
	})
	who := newIdentity(t, group, "who")
	newIdentity(t, neighbour, "other")
	assign(t, groupScope(group), roleReader, *who.Properties.PrincipalID)
	if err := getIdentity(ctx, who.credential(t), group, "who"); err != nil {
		t.Fatal(err)
	}
	wantAzureError(t, getIdentity(ctx, who.credential(t), neighbour, "other"), http.StatusForbidden, "AuthorizationFailed")

	first, second := newVault(t, group), newVault(t, group)
	for _, vault := range []struct{ name, secret string }{{*first.Name, "mine"}, {*first.Name, "theirs"}, {*second.Name, "mine"}} {
		target := first
		if vault.name == *second.Name {
			target = second
		}
		setSecret(t, target, vault.secret, "value")
	}
	assign(t, *first.ID+"/secrets/mine", roleSecretsUser, *who.Properties.PrincipalID)
	if _, err := secretsClient(first, who.credential(t)).GetSecret(ctx, "mine", "", nil); err != nil {
		t.Fatal(err)
	}
	_, err := secretsClient(first, who.credential(t)).GetSecret(ctx, "theirs", "", nil)
	wantAzureError(t, err, http.StatusForbidden, "Forbidden")
	_, err = secretsClient(second, who.credential(t)).GetSecret(ctx, "mine", "", nil)
	wantAzureError(t, err, http.StatusForbidden, "Forbidden")
}

// TestRoleAssignments runs the life of an assignment, and the mistakes that
// people make with one.
func TestRoleAssignments(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	who := newIdentity(t, group, "who")
	assignments := must(armauthorization.NewRoleAssignmentsClient(world.env.SubscriptionID, operator(t), armOptions()))
	create := func(name, principal string, kind *armauthorization.PrincipalType) (armauthorization.RoleAssignmentsClientCreateResponse, error) {
		return assignments.Create(ctx, groupScope(group), name, armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{
				PrincipalID: to.Ptr(principal), PrincipalType: kind, RoleDefinitionID: to.Ptr(roleID(roleReader)),
			},
		}, nil)
	}
	name := uuid.NewString()
	made, err := create(name, *who.Properties.PrincipalID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *made.Properties.Scope != groupScope(group) || *made.Properties.PrincipalType != armauthorization.PrincipalTypeServicePrincipal {
		t.Fatalf("made %s for a %s", *made.Properties.Scope, *made.Properties.PrincipalType)
	}
	_, err = create(uuid.NewString(), *who.Properties.PrincipalID, nil)
	wantAzureError(t, err, http.StatusConflict, "RoleAssignmentExists")
	_, err = create(name, world.env.Bootstrap.ObjectID, nil)
	wantAzureError(t, err, http.StatusBadRequest, "RoleAssignmentUpdateNotPermitted")
	_, err = create("not-a-guid", *who.Properties.PrincipalID, nil)
	wantAzureError(t, err, http.StatusBadRequest, "InvalidRoleAssignmentId")
	_, err = create(uuid.NewString(), uuid.NewString(), nil)
	wantAzureError(t, err, http.StatusBadRequest, "PrincipalNotFound")
	_, err = create(uuid.NewString(), *who.Properties.PrincipalID, to.Ptr(armauthorization.PrincipalTypeUser))
	wantAzureError(t, err, http.StatusBadRequest, "UnmatchedPrincipalType")

	// The mistake of many a Terraform module: the client ID in place of the
	// principal ID. The answer names the right one.
	_, err = create(uuid.NewString(), *who.Properties.ClientID, to.Ptr(armauthorization.PrincipalTypeServicePrincipal))
	wantAzureError(t, err, http.StatusBadRequest, "InvalidPrincipalId")
	if !strings.Contains(err.Error(), *who.Properties.PrincipalID) {
		t.Fatalf("the error does not name the principal ID to use: %v", err)
	}
	var found []string
	for pager := assignments.NewListForScopePager(groupScope(group), &armauthorization.RoleAssignmentsClientListForScopeOptions{
		Filter: to.Ptr("principalId eq '" + *who.Properties.PrincipalID + "'")}); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Value {
			found = append(found, *a.Name)
		}
	}
	if len(found) != 1 || found[0] != name {
		t.Fatalf("listed %v, want %s alone", found, name)
	}
	if _, err := assignments.Delete(ctx, groupScope(group), name, nil); err != nil {
		t.Fatal(err)
	}
	_, err = assignments.Get(ctx, groupScope(group), name, nil)
	wantAzureError(t, err, http.StatusNotFound, "RoleAssignmentNotFound")
}

// TestCustomRole makes a role of one action, and sees it give that action and
// no other.
func TestCustomRole(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	who := newIdentity(t, group, "who")
	definitions := must(armauthorization.NewRoleDefinitionsClient(operator(t), armOptions()))
	id := uuid.NewString()
	role := armauthorization.RoleDefinition{Properties: &armauthorization.RoleDefinitionProperties{
		RoleName: to.Ptr("Identity watcher " + id[:8]), RoleType: to.Ptr("CustomRole"), Description: to.Ptr("Sees identities."),
		AssignableScopes: []*string{to.Ptr(groupScope(group))},
		Permissions:      []*armauthorization.Permission{{Actions: []*string{to.Ptr("Microsoft.ManagedIdentity/userAssignedIdentities/read")}}},
	}}
	if _, err := definitions.CreateOrUpdate(ctx, groupScope(group), id, role, nil); err != nil {
		t.Fatal(err)
	}
	assignment := assign(t, groupScope(group), id, *who.Properties.PrincipalID)
	if err := getIdentity(ctx, who.credential(t), group, "who"); err != nil {
		t.Fatal(err)
	}
	identities := must(armmsi.NewUserAssignedIdentitiesClient(world.env.SubscriptionID, who.credential(t), armOptions()))
	_, err := identities.Delete(ctx, group, "who", nil)
	wantAzureError(t, err, http.StatusForbidden, "AuthorizationFailed")
	_, err = definitions.Delete(ctx, groupScope(group), id, nil)
	wantAzureError(t, err, http.StatusBadRequest, "RoleDefinitionHasAssignments")
	assignments := must(armauthorization.NewRoleAssignmentsClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := assignments.DeleteByID(ctx, assignment, nil); err != nil {
		t.Fatal(err)
	}
	wantAzureError(t, getIdentity(ctx, who.credential(t), group, "who"), http.StatusForbidden, "AuthorizationFailed")
	if _, err := definitions.Delete(ctx, groupScope(group), id, nil); err != nil {
		t.Fatal(err)
	}
}

// TestBuiltInRoles lists the built-in roles with the pager and finds one by name.
func TestBuiltInRoles(t *testing.T) {
	ctx := testContext(t)
	definitions := must(armauthorization.NewRoleDefinitionsClient(operator(t), armOptions()))
	scope := "/subscriptions/" + world.env.SubscriptionID
	ids := map[string]bool{}
	for pager := definitions.NewListPager(scope, &armauthorization.RoleDefinitionsClientListOptions{Filter: to.Ptr("type eq 'BuiltInRole'")}); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Value {
			ids[*d.Name] = true
		}
	}
	if len(ids) != 928 {
		t.Fatalf("listed %d built-in roles, want 928", len(ids))
	}
	page, err := definitions.NewListPager(scope, &armauthorization.RoleDefinitionsClientListOptions{Filter: to.Ptr("roleName eq 'key vault secrets user'")}).NextPage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Value) != 1 || *page.Value[0].Name != roleSecretsUser {
		t.Fatalf("found %d roles by name", len(page.Value))
	}
}

// TestPermissions reads the caller's own permissions at a scope.
func TestPermissions(t *testing.T) {
	group := newGroup(t)
	who := newIdentity(t, group, "who")
	assign(t, groupScope(group), roleReader, *who.Properties.PrincipalID)
	permissions := must(armauthorization.NewPermissionsClient(world.env.SubscriptionID, who.credential(t), armOptions()))
	page, err := permissions.NewListForResourceGroupPager(group, nil).NextPage(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Value) != 1 || len(page.Value[0].Actions) != 1 || *page.Value[0].Actions[0] != "*/read" {
		t.Fatalf("permissions %+v", page.Value)
	}
}
