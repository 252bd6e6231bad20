package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/uuid"
)

const (
	location = "westeurope"

	roleReader         = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
	roleContributor    = "b24988ac-6180-42a0-ab88-20f7382dd24c"
	roleSecretsUser    = "4633458b-17de-408a-b874-0445c86b69e6"
	roleSecretsOfficer = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
)

// must is for clients' constructors, which fail on programming errors only.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// finish waits for the end of an operation that was begun, which must go well.
func finish[T any](t *testing.T, poller *runtime.Poller[T], err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ended, err := poller.PollUntilDone(testContext(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ended
}

// newGroup makes a resource group that goes when the test ends, with all that
// is in it.
func newGroup(t *testing.T) string {
	t.Helper()
	ctx := testContext(t)
	groups := must(armresources.NewResourceGroupsClient(world.env.SubscriptionID, operator(t), armOptions()))
	name := "rg-" + uuid.NewString()[:8]
	if _, err := groups.CreateOrUpdate(ctx, name, armresources.ResourceGroup{Location: to.Ptr(location)}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		poller, err := groups.BeginDelete(ctx, name, nil)
		if err == nil {
			_, err = poller.PollUntilDone(ctx, nil)
		}
		if err != nil {
			t.Errorf("deleting resource group %s: %v", name, err)
		}
	})
	return name
}

// identity is a user-assigned identity that trusts the test's own subject.
type identity struct {
	armmsi.Identity
	subject string
}

func newIdentity(t *testing.T, group, name string) identity {
	t.Helper()
	ctx := testContext(t)
	identities := must(armmsi.NewUserAssignedIdentitiesClient(world.env.SubscriptionID, operator(t), armOptions()))
	made, err := identities.CreateOrUpdate(ctx, group, name, armmsi.Identity{Location: to.Ptr(location)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	subject := subjectOf(t) + "-" + name
	credentials := must(armmsi.NewFederatedIdentityCredentialsClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := credentials.CreateOrUpdate(ctx, group, name, "main", federation("main", subject), nil); err != nil {
		t.Fatal(err)
	}
	return identity{made.Identity, subject}
}

func federation(cluster, subject string) armmsi.FederatedIdentityCredential {
	return armmsi.FederatedIdentityCredential{Properties: &armmsi.FederatedIdentityCredentialProperties{
		Issuer: to.Ptr(world.cluster.url(cluster)), Subject: to.Ptr(subject), Audiences: []*string{to.Ptr(exchangeAudience)},
	}}
}

// workloadCredential is what a pod has: a client ID and a service-account token.
func workloadCredential(t *testing.T, clientID string, a assertion) azcore.TokenCredential {
	t.Helper()
	return must(azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientID: clientID, TenantID: world.env.TenantID, TokenFilePath: world.cluster.tokenFile(t, a),
	}))
}

// credential signs in as the identity by the subject that it trusts.
func (i identity) credential(t *testing.T) azcore.TokenCredential {
	t.Helper()
	return workloadCredential(t, *i.Properties.ClientID, assertion{subject: i.subject})
}

func assign(t *testing.T, scope, role, principalID string) string {
	t.Helper()
	assignments := must(armauthorization.NewRoleAssignmentsClient(world.env.SubscriptionID, operator(t), armOptions()))
	made, err := assignments.Create(testContext(t), scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			PrincipalID: to.Ptr(principalID), PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal),
			RoleDefinitionID: to.Ptr(roleID(role)),
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *made.ID
}

func roleID(role string) string {
	return "/subscriptions/" + world.env.SubscriptionID + "/providers/Microsoft.Authorization/roleDefinitions/" + role
}

func groupScope(group string) string {
	return "/subscriptions/" + world.env.SubscriptionID + "/resourceGroups/" + group
}

// newVault makes a vault in RBAC mode in which the operator may write secrets.
func newVault(t *testing.T, group string) armkeyvault.Vault {
	t.Helper()
	ctx := testContext(t)
	vaults := must(armkeyvault.NewVaultsClient(world.env.SubscriptionID, operator(t), armOptions()))
	name := "v" + strings.ReplaceAll(uuid.NewString(), "-", "")[:20]
	poller, err := vaults.BeginCreateOrUpdate(ctx, group, name, vaultParameters(), nil)
	made := finish(t, poller, err)
	assign(t, *made.ID, roleSecretsOfficer, world.env.Bootstrap.ObjectID)
	return made.Vault
}

func vaultParameters() armkeyvault.VaultCreateOrUpdateParameters {
	return armkeyvault.VaultCreateOrUpdateParameters{Location: to.Ptr(location), Properties: &armkeyvault.VaultProperties{
		TenantID: to.Ptr(world.env.TenantID), EnableRbacAuthorization: to.Ptr(true),
		SKU: &armkeyvault.SKU{Family: to.Ptr(armkeyvault.SKUFamilyA), Name: to.Ptr(armkeyvault.SKUNameStandard)},
	}}
}

func secretsClient(vault armkeyvault.Vault, credential azcore.TokenCredential) *azsecrets.Client {
	return must(azsecrets.NewClient(*vault.Properties.VaultURI, credential, nil))
}

func setSecret(t *testing.T, vault armkeyvault.Vault, name, value string) {
	t.Helper()
	if _, err := secretsClient(vault, operator(t)).SetSecret(testContext(t), name, azsecrets.SetSecretParameters{Value: to.Ptr(value)}, nil); err != nil {
		t.Fatal(err)
	}
}

// trust adds a federated credential for the main cluster's subject.
func trust(t *testing.T, group, name, subject string) {
	t.Helper()
	credentials := must(armmsi.NewFederatedIdentityCredentialsClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := credentials.CreateOrUpdate(testContext(t), group, name, "more", federation("main", subject), nil); err != nil {
		t.Fatal(err)
	}
}
