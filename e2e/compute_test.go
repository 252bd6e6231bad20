package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/google/uuid"
)

const roleIdentityOperator = "f1a07417-d97a-45cb-824c-7a7467783830"

// identityBlock is a scale set's, with user-assigned identities: "+id" attaches
// one, "-id" removes it, in the spelling of aad-pod-identity's controller.
func identityBlock(kind armcompute.ResourceIdentityType, changes ...string) *armcompute.VirtualMachineScaleSetIdentity {
	block := &armcompute.VirtualMachineScaleSetIdentity{Type: to.Ptr(kind)}
	for _, change := range changes {
		if block.UserAssignedIdentities == nil {
			block.UserAssignedIdentities = map[string]*armcompute.UserAssignedIdentitiesValue{}
		}
		id := strings.ToLower(change[1:])
		if change[0] == '+' {
			block.UserAssignedIdentities[id] = &armcompute.UserAssignedIdentitiesValue{}
		} else {
			block.UserAssignedIdentities[id] = nil
		}
	}
	return block
}

func createScaleSet(t *testing.T, credential azcore.TokenCredential, group, name string, identity *armcompute.VirtualMachineScaleSetIdentity) (armcompute.VirtualMachineScaleSet, error) {
	t.Helper()
	ctx := testContext(t)
	sets := must(armcompute.NewVirtualMachineScaleSetsClient(world.env.SubscriptionID, credential, armOptions()))
	poller, err := sets.BeginCreateOrUpdate(ctx, group, name, armcompute.VirtualMachineScaleSet{
		Location: to.Ptr(location), Identity: identity,
		SKU: &armcompute.SKU{Name: to.Ptr("Standard_D2s_v5"), Capacity: to.Ptr(int64(2))},
		Properties: &armcompute.VirtualMachineScaleSetProperties{VirtualMachineProfile: &armcompute.VirtualMachineScaleSetVMProfile{
			OSProfile: &armcompute.VirtualMachineScaleSetOSProfile{
				ComputerNamePrefix: to.Ptr("node"), AdminUsername: to.Ptr("me"), AdminPassword: to.Ptr("correct-horse-9"), CustomData: to.Ptr("c2VjcmV0"),
			},
		}},
	}, nil)
	if err != nil {
		return armcompute.VirtualMachineScaleSet{}, err
	}
	made, err := poller.PollUntilDone(ctx, nil)
	return made.VirtualMachineScaleSet, err
}

func patchScaleSet(t *testing.T, credential azcore.TokenCredential, group, name string, identity *armcompute.VirtualMachineScaleSetIdentity) (armcompute.VirtualMachineScaleSet, error) {
	t.Helper()
	ctx := testContext(t)
	sets := must(armcompute.NewVirtualMachineScaleSetsClient(world.env.SubscriptionID, credential, armOptions()))
	poller, err := sets.BeginUpdate(ctx, group, name, armcompute.VirtualMachineScaleSetUpdate{Identity: identity}, nil)
	if err != nil {
		return armcompute.VirtualMachineScaleSet{}, err
	}
	updated, err := poller.PollUntilDone(ctx, nil)
	return updated.VirtualMachineScaleSet, err
}

// attachedTo gives the user-assigned identities of a scale set: the names, each
// with its client ID.
func attachedTo(set armcompute.VirtualMachineScaleSet) map[string]string {
	names := map[string]string{}
	if set.Identity == nil {
		return names
	}
	for id, value := range set.Identity.UserAssignedIdentities {
		client := ""
		if value.ClientID != nil {
			client = *value.ClientID
		}
		names[id[strings.LastIndexByte(id, '/')+1:]] = client
	}
	return names
}

func wantAttached(t *testing.T, set armcompute.VirtualMachineScaleSet, kind armcompute.ResourceIdentityType, want ...identity) {
	t.Helper()
	got := attachedTo(set)
	ok := set.Identity != nil && *set.Identity.Type == kind && len(got) == len(want)
	for _, i := range want {
		ok = ok && got[*i.Name] == *i.Properties.ClientID
	}
	if !ok {
		t.Fatalf("the scale set has %+v with %v, want %s with %d identities", set.Identity, got, kind, len(want))
	}
}

// TestScaleSetIdentities creates a scale set with armcompute's own pollers, and
// changes its identities as aad-pod-identity's controller does.
func TestScaleSetIdentities(t *testing.T) {
	group := newGroup(t)
	one, two := newIdentity(t, group, "one"), newIdentity(t, group, "two")
	const both = armcompute.ResourceIdentityTypeSystemAssignedUserAssigned
	set, err := createScaleSet(t, operator(t), group, "pool", identityBlock(both, "+"+*one.ID))
	if err != nil {
		t.Fatal(err)
	}
	wantAttached(t, set, both, one)
	if *set.Identity.TenantID != world.env.TenantID || *set.Properties.ProvisioningState != "Succeeded" || *set.SKU.Capacity != 2 {
		t.Fatalf("created %+v", set)
	}
	if os := set.Properties.VirtualMachineProfile.OSProfile; os.AdminPassword != nil || os.CustomData != nil || *os.AdminUsername != "me" {
		t.Fatal("the answer has the password, or lacks the name")
	}
	own := *set.Identity.PrincipalID
	for _, step := range []struct {
		name  string
		block *armcompute.VirtualMachineScaleSetIdentity
		kind  armcompute.ResourceIdentityType
		want  []identity
	}{
		{"add", identityBlock(both, "+"+*two.ID), both, []identity{one, two}},
		{"remove", identityBlock(both, "-"+*one.ID), both, []identity{two}},
		{"remove the last", identityBlock(armcompute.ResourceIdentityTypeSystemAssigned), armcompute.ResourceIdentityTypeSystemAssigned, nil},
		{"add again", identityBlock(both, "+"+*one.ID, "+"+*two.ID), both, []identity{one, two}},
	} {
		if set, err = patchScaleSet(t, operator(t), group, "pool", step.block); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		wantAttached(t, set, step.kind, step.want...)
		if *set.Identity.PrincipalID != own {
			t.Fatalf("%s changed the scale set's own principal", step.name)
		}
	}
	if set, err = patchScaleSet(t, operator(t), group, "pool", identityBlock(armcompute.ResourceIdentityTypeNone)); err != nil {
		t.Fatal(err)
	}
	wantAttached(t, set, armcompute.ResourceIdentityTypeNone)
	_, err = patchScaleSet(t, operator(t), group, "pool", identityBlock(armcompute.ResourceIdentityTypeUserAssigned, "+"+*one.ID+"x"))
	wantAzureError(t, err, http.StatusBadRequest, "FailedIdentityOperation")
	_, err = patchScaleSet(t, operator(t), group, "pool", identityBlock(armcompute.ResourceIdentityTypeSystemAssigned, "+"+*one.ID))
	wantAzureError(t, err, http.StatusBadRequest, "FailedIdentityOperation")
	_, err = patchScaleSet(t, operator(t), group, "pool", identityBlock(armcompute.ResourceIdentityTypeUserAssigned))
	wantAzureError(t, err, http.StatusBadRequest, "MissingIdentityIds")
}

// TestDeletedIdentityStaysAttached deletes an identity that a scale set has: it
// stays listed, and changes fail until it is removed.
func TestDeletedIdentityStaysAttached(t *testing.T) {
	group := newGroup(t)
	one, two := newIdentity(t, group, "one"), newIdentity(t, group, "two")
	if _, err := createScaleSet(t, operator(t), group, "pool", identityBlock(armcompute.ResourceIdentityTypeUserAssigned, "+"+*one.ID, "+"+*two.ID)); err != nil {
		t.Fatal(err)
	}
	identities := must(armmsi.NewUserAssignedIdentitiesClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := identities.Delete(testContext(t), group, "one", nil); err != nil {
		t.Fatal(err)
	}
	sets := must(armcompute.NewVirtualMachineScaleSetsClient(world.env.SubscriptionID, operator(t), armOptions()))
	got, err := sets.Get(testContext(t), group, "pool", nil)
	if err != nil {
		t.Fatal(err)
	}
	if names := attachedTo(got.VirtualMachineScaleSet); len(names) != 2 || names["one"] != "" || names["two"] != *two.Properties.ClientID {
		t.Fatalf("listed are %v", names)
	}
	poller, err := sets.BeginUpdate(testContext(t), group, "pool", armcompute.VirtualMachineScaleSetUpdate{SKU: &armcompute.SKU{Capacity: to.Ptr(int64(3))}}, nil)
	if err == nil {
		_, err = poller.PollUntilDone(testContext(t), nil)
	}
	wantAzureError(t, err, http.StatusBadRequest, "FailedIdentityOperation")
	set, err := patchScaleSet(t, operator(t), group, "pool", identityBlock(armcompute.ResourceIdentityTypeUserAssigned, "-"+*one.ID))
	if err != nil {
		t.Fatal(err)
	}
	wantAttached(t, set, armcompute.ResourceIdentityTypeUserAssigned, two)
}

// TestSystemAssignedIdentity reads a virtual machine's own identity with armmsi,
// gives its principal a role, and sees both end with the machine.
func TestSystemAssignedIdentity(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	machines := must(armcompute.NewVirtualMachinesClient(world.env.SubscriptionID, operator(t), armOptions()))
	poller, err := machines.BeginCreateOrUpdate(ctx, group, "vm", armcompute.VirtualMachine{
		Location: to.Ptr(location), Identity: &armcompute.VirtualMachineIdentity{Type: to.Ptr(armcompute.ResourceIdentityTypeSystemAssigned)},
	}, nil)
	vm := finish(t, poller, err)
	own := must(armmsi.NewSystemAssignedIdentitiesClient(operator(t), armOptions()))
	got, err := own.GetByScope(ctx, *vm.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *got.Name != "default" || *got.Properties.PrincipalID != *vm.Identity.PrincipalID || *got.Properties.TenantID != world.env.TenantID || *got.Properties.ClientID == *got.Properties.PrincipalID {
		t.Fatalf("identities/default is %+v", got.Properties)
	}
	// Without a principal type the principal must exist.
	grant := func() error {
		assignments := must(armauthorization.NewRoleAssignmentsClient(world.env.SubscriptionID, operator(t), armOptions()))
		_, err := assignments.Create(ctx, groupScope(group), uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: got.Properties.PrincipalID, RoleDefinitionID: to.Ptr(roleID(roleReader))},
		}, nil)
		return err
	}
	if err := grant(); err != nil {
		t.Fatal(err)
	}
	again := grant()
	wantAzureError(t, again, http.StatusConflict, "RoleAssignmentExists")

	deletion, err := machines.BeginDelete(ctx, group, "vm", nil)
	finish(t, deletion, err)
	_, err = own.GetByScope(ctx, *vm.ID, nil)
	wantAzureError(t, err, http.StatusNotFound, "ResourceNotFound")
	other := must(armauthorization.NewRoleAssignmentsClient(world.env.SubscriptionID, operator(t), armOptions()))
	_, err = other.Create(ctx, groupScope(group), uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: got.Properties.PrincipalID, RoleDefinitionID: to.Ptr(roleID(roleContributor))},
	}, nil)
	wantAzureError(t, err, http.StatusBadRequest, "PrincipalNotFound")
}

// TestAssigningTakesPermission: who may write a scale set but not assign an
// identity is refused, and told which identities in the list that
// aad-pod-identity's controller reads.
func TestAssigningTakesPermission(t *testing.T) {
	group, identities := newGroup(t), newGroup(t)
	writer := newIdentity(t, group, "writer")
	one, two, three := newIdentity(t, identities, "one"), newIdentity(t, identities, "two"), newIdentity(t, identities, "three")
	assign(t, groupScope(group), roleContributor, *writer.Properties.PrincipalID)
	assign(t, *one.ID, roleIdentityOperator, *writer.Properties.PrincipalID)
	credential := writer.credential(t)
	block := identityBlock(armcompute.ResourceIdentityTypeUserAssigned, "+"+*one.ID, "+"+*two.ID, "+"+*three.ID)
	_, err := createScaleSet(t, credential, group, "pool", block)
	wantAzureError(t, err, http.StatusForbidden, "LinkedAuthorizationFailed")
	list := "'" + strings.ToLower(*three.ID) + "," + strings.ToLower(*two.ID) + "'"
	if !strings.Contains(err.Error(), list) {
		t.Fatalf("the refusal does not list %s:\n%v", list, err)
	}
	if _, err := createScaleSet(t, credential, group, "pool", identityBlock(armcompute.ResourceIdentityTypeUserAssigned, "+"+*one.ID)); err != nil {
		t.Fatal(err)
	}
	_, err = patchScaleSet(t, credential, group, "pool", identityBlock(armcompute.ResourceIdentityTypeUserAssigned, "+"+*two.ID))
	wantAzureError(t, err, http.StatusForbidden, "LinkedAuthorizationFailed")
	assign(t, groupScope(identities), roleIdentityOperator, *writer.Properties.PrincipalID)
	set, err := patchScaleSet(t, credential, group, "pool", identityBlock(armcompute.ResourceIdentityTypeUserAssigned, "+"+*two.ID))
	if err != nil {
		t.Fatal(err)
	}
	wantAttached(t, set, armcompute.ResourceIdentityTypeUserAssigned, one, two)
}

// TestDisk: a type that answers a creation with 200 suits the client's poller.
func TestDisk(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	disks := must(armcompute.NewDisksClient(world.env.SubscriptionID, operator(t), armOptions()))
	poller, err := disks.BeginCreateOrUpdate(ctx, group, "data", armcompute.Disk{
		Location: to.Ptr(location), SKU: &armcompute.DiskSKU{Name: to.Ptr(armcompute.DiskStorageAccountTypesPremiumLRS)},
		Properties: &armcompute.DiskProperties{CreationData: &armcompute.CreationData{CreateOption: to.Ptr(armcompute.DiskCreateOptionEmpty)}, DiskSizeGB: to.Ptr(int32(10))},
	}, nil)
	made := finish(t, poller, err)
	if *made.Properties.DiskSizeGB != 10 || *made.Properties.UniqueID == "" {
		t.Fatalf("made %+v", made.Properties)
	}
	resources := must(armresources.NewClient(world.env.SubscriptionID, operator(t), armOptions()))
	page, err := resources.NewListByResourceGroupPager(group, nil).NextPage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Value) != 1 || *page.Value[0].Type != "Microsoft.Compute/disks" {
		t.Fatalf("listed %d resources", len(page.Value))
	}
	deletion, err := disks.BeginDelete(ctx, group, "data", nil)
	finish(t, deletion, err)
}

// TestNetworkScopes makes a network with its subnets in one request: each subnet
// is a resource, and a role on one gives nothing on the other.
func TestNetworkScopes(t *testing.T) {
	const version = "2024-05-01"
	group := newGroup(t)
	ctx := testContext(t)
	who := newIdentity(t, group, "who")
	resources := must(armresources.NewClient(world.env.SubscriptionID, operator(t), armOptions()))
	network := groupScope(group) + "/providers/Microsoft.Network/virtualNetworks/net"
	poller, err := resources.BeginCreateOrUpdateByID(ctx, network, version, armresources.GenericResource{
		Location: to.Ptr(location), Properties: map[string]any{"subnets": []any{
			map[string]any{"name": "nodes", "properties": map[string]any{"addressPrefix": "10.0.0.0/24"}},
			map[string]any{"name": "pods", "properties": map[string]any{"addressPrefix": "10.0.1.0/24"}},
		}},
	}, nil)
	finish(t, poller, err)
	assign(t, network+"/subnets/nodes", roleReader, *who.Properties.PrincipalID)
	reader := must(armresources.NewClient(world.env.SubscriptionID, who.credential(t), armOptions()))
	got, err := reader.GetByID(ctx, network+"/subnets/nodes", version, nil)
	if err != nil {
		t.Fatal(err)
	}
	if properties, _ := got.Properties.(map[string]any); properties["addressPrefix"] != "10.0.0.0/24" {
		t.Fatalf("the subnet is %v", got.Properties)
	}
	for _, other := range []string{network, network + "/subnets/pods"} {
		_, err := reader.GetByID(ctx, other, version, nil)
		wantAzureError(t, err, http.StatusForbidden, "AuthorizationFailed")
	}
}

// TestAzAssociatedResources has az list the resources that an identity is
// attached to, and make two that are kept as scopes.
func TestAzAssociatedResources(t *testing.T) {
	group := newGroup(t)
	one := newIdentity(t, group, "one")
	if _, err := createScaleSet(t, operator(t), group, "pool", identityBlock(armcompute.ResourceIdentityTypeUserAssigned, "+"+*one.ID)); err != nil {
		t.Fatal(err)
	}
	lines := runAz(t, `
az identity list-resources -g `+group+` -n one --query '[].name' -o tsv
az disk create -g `+group+` -n data --size-gb 10 --query sku.name -o tsv
az network private-dns zone create -g `+group+` -n internal.example --query location -o tsv
`)
	if want := []string{"pool", "Premium_LRS", "global"}; !slices.Equal(lines, want) {
		t.Fatalf("az printed %q, want %q", lines, want)
	}
}
