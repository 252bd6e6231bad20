package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armsubscriptions"
)

// TestResourceGroupCascade deletes a group with the client's own poller, and
// sees all that was in it go.
func TestResourceGroupCascade(t *testing.T) {
	ctx := testContext(t)
	groups := must(armresources.NewResourceGroupsClient(world.env.SubscriptionID, operator(t), armOptions()))
	const name = "rg-cascade"
	if _, err := groups.CreateOrUpdate(ctx, name, armresources.ResourceGroup{Location: to.Ptr("West Europe"), Tags: map[string]*string{"team": to.Ptr("a")}}, nil); err != nil {
		t.Fatal(err)
	}
	exists, err := groups.CheckExistence(ctx, "RG-Cascade", nil)
	if err != nil || !exists.Success {
		t.Fatalf("CheckExistence: %v, %v", exists.Success, err)
	}
	who := newIdentity(t, name, "who")
	assignment := assign(t, groupScope(name), roleReader, *who.Properties.PrincipalID)
	vault := newVault(t, name)
	poller, err := groups.BeginDelete(ctx, name, nil)
	finish(t, poller, err)
	_, err = groups.Get(ctx, name, nil)
	wantAzureError(t, err, http.StatusNotFound, "ResourceGroupNotFound")
	wantAzureError(t, getIdentity(ctx, operator(t), name, "who"), http.StatusNotFound, "ResourceGroupNotFound")
	_, err = who.credential(t).GetToken(ctx, vaultScope())
	wantEntraError(t, err, "AADSTS700016")
	generic := must(armresources.NewClient(world.env.SubscriptionID, operator(t), armOptions()))
	if response, err := generic.CheckExistenceByID(ctx, assignment, "2022-04-01", nil); err == nil && response.Success {
		t.Fatal("the group's role assignment outlived it")
	}
	vaults := must(armkeyvault.NewVaultsClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := vaults.GetDeleted(ctx, *vault.Name, location, nil); err != nil {
		t.Fatalf("the group's vault is not among the deleted ones: %v", err)
	}
}

func TestResourceGroupUpdateAndList(t *testing.T) {
	name := newGroup(t)
	ctx := testContext(t)
	groups := must(armresources.NewResourceGroupsClient(world.env.SubscriptionID, operator(t), armOptions()))
	updated, err := groups.Update(ctx, name, armresources.ResourceGroupPatchable{Tags: map[string]*string{"stage": to.Ptr("test")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *updated.Tags["stage"] != "test" || *updated.Location != location {
		t.Fatalf("updated to %+v", updated.ResourceGroup)
	}
	found := false
	for pager := groups.NewListPager(&armresources.ResourceGroupsClientListOptions{Top: to.Ptr(int32(1))}); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range page.Value {
			found = found || *g.Name == name
		}
	}
	if !found {
		t.Fatalf("%s is not in the list", name)
	}
	_, err = groups.CreateOrUpdate(ctx, name, armresources.ResourceGroup{Location: to.Ptr("eastus")}, nil)
	wantAzureError(t, err, http.StatusConflict, "InvalidResourceGroupLocation")
}

func TestResourcesTagsAndProviders(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	who := newIdentity(t, group, "who")
	resources := must(armresources.NewClient(world.env.SubscriptionID, operator(t), armOptions()))
	var ids []string
	for pager := resources.NewListByResourceGroupPager(group, &armresources.ClientListByResourceGroupOptions{
		Filter: to.Ptr("resourceType eq 'Microsoft.ManagedIdentity/userAssignedIdentities'")}); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Value {
			ids = append(ids, *r.ID)
		}
	}
	if len(ids) != 1 || !strings.EqualFold(ids[0], *who.ID) {
		t.Fatalf("listed %v", ids)
	}
	tags := must(armresources.NewTagsClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := tags.CreateOrUpdateAtScope(ctx, *who.ID, armresources.TagsResource{Properties: &armresources.Tags{Tags: map[string]*string{"a": to.Ptr("1")}}}, nil); err != nil {
		t.Fatal(err)
	}
	merged, err := tags.UpdateAtScope(ctx, *who.ID, armresources.TagsPatchResource{
		Operation: to.Ptr(armresources.TagsPatchOperationMerge), Properties: &armresources.Tags{Tags: map[string]*string{"b": to.Ptr("2")}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(merged.Properties.Tags) != 2 {
		t.Fatalf("tags after a merge: %v", merged.Properties.Tags)
	}
	providers := must(armresources.NewProvidersClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := providers.Register(ctx, "Microsoft.ManagedIdentity", nil); err != nil {
		t.Fatal(err)
	}
	provider, err := providers.Get(ctx, "Microsoft.ManagedIdentity", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *provider.RegistrationState != "Registered" || len(provider.ResourceTypes) < 2 {
		t.Fatalf("provider %s with %d types", *provider.RegistrationState, len(provider.ResourceTypes))
	}
}

// TestSubscriptions lists what the caller may see: the operator its
// subscription, an identity without any role none.
func TestSubscriptions(t *testing.T) {
	ctx := testContext(t)
	who := newIdentity(t, newGroup(t), "who")
	client := must(armsubscriptions.NewClient(operator(t), armOptions()))
	page, err := client.NewListPager(nil).NextPage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Value) != 1 || *page.Value[0].SubscriptionID != world.env.SubscriptionID {
		t.Fatalf("the operator sees %d subscriptions", len(page.Value))
	}
	page, err = must(armsubscriptions.NewClient(who.credential(t), armOptions())).NewListPager(nil).NextPage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Value) != 0 {
		t.Fatalf("an identity without a role sees %d subscriptions", len(page.Value))
	}
	tenants, err := must(armsubscriptions.NewTenantsClient(operator(t), armOptions())).NewListPager(nil).NextPage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(tenants.Value) != 1 || *tenants.Value[0].TenantID != world.env.TenantID {
		t.Fatalf("the operator sees %d tenants", len(tenants.Value))
	}
	locations, err := client.NewListLocationsPager(world.env.SubscriptionID, nil).NextPage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(locations.Value) < 30 {
		t.Fatalf("%d locations", len(locations.Value))
	}
}

// TestVaultLifecycle deletes, recovers and purges a vault with armkeyvault.
func TestVaultLifecycle(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	vault := newVault(t, group)
	setSecret(t, vault, "kept", "value")
	vaults := must(armkeyvault.NewVaultsClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := vaults.Delete(ctx, group, *vault.Name, nil); err != nil {
		t.Fatal(err)
	}
	_, err := vaults.Get(ctx, group, *vault.Name, nil)
	wantAzureError(t, err, http.StatusNotFound, "ResourceNotFound")
	if _, err := vaults.GetDeleted(ctx, *vault.Name, location, nil); err != nil {
		t.Fatal(err)
	}
	recovery := vaultParameters()
	recovery.Properties.CreateMode = to.Ptr(armkeyvault.CreateModeRecover)
	poller, err := vaults.BeginCreateOrUpdate(ctx, group, *vault.Name, recovery, nil)
	finish(t, poller, err)
	// Deleting took the vault's role assignments along, as on Azure: recovery
	// brings back the contents alone.
	_, err = secretsClient(vault, operator(t)).GetSecret(ctx, "kept", "", nil)
	wantAzureError(t, err, http.StatusForbidden, "Forbidden")
	assign(t, *vault.ID, roleSecretsOfficer, world.env.Bootstrap.ObjectID)
	if got, err := secretsClient(vault, operator(t)).GetSecret(ctx, "kept", "", nil); err != nil || *got.Value != "value" {
		t.Fatalf("after recovery: %v", err)
	}
	if _, err := vaults.Delete(ctx, group, *vault.Name, nil); err != nil {
		t.Fatal(err)
	}
	purge, err := vaults.BeginPurgeDeleted(ctx, *vault.Name, location, nil)
	finish(t, purge, err)
	_, err = vaults.GetDeleted(ctx, *vault.Name, location, nil)
	wantAzureError(t, err, http.StatusNotFound, "DeletedVaultNotFound")
}
