package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/lanyard-id/lanyard/lanyardtest"
)

// TestLanyardTest has several clouds inside this process at once, each reached by
// unmodified credentials and clients that know it by its options alone: this
// process's environment leads elsewhere, to the cloud of the other tests.
func TestLanyardTest(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint("cloud ", i), func(t *testing.T) {
			t.Parallel()
			cloud := lanyardtest.New(t)
			vault := cloud.Vault(t, "greetings") // the same name in each of them
			cloud.Secret(t, vault, "greeting", fmt.Sprint("hello from ", i))
			testInside(t, cloud, vault, fmt.Sprint("hello from ", i))
		})
	}
	t.Run("strict", func(t *testing.T) {
		t.Parallel()
		cloud := lanyardtest.New(t, lanyardtest.WithStrictAzure())
		vault := cloud.Vault(t, "greetings")
		cloud.Secret(t, vault, "greeting", "hello")
		testInside(t, cloud, vault, "hello")
	})
}

// testInside makes an identity with armmsi as the operator, and reads the secret
// as that identity and as one that may not.
func testInside(t *testing.T, cloud *lanyardtest.Cloud, vault lanyardtest.Vault, want string) {
	t.Helper()
	ctx := testContext(t)
	operator := must(azidentity.NewClientSecretCredential(cloud.TenantID, cloud.Bootstrap.ClientID, cloud.Bootstrap.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: cloud.ClientOptions()}))
	group, issuer := cloud.ResourceGroup(t, "shop"), cloud.Issuer(t, "cluster")
	identities := must(armmsi.NewUserAssignedIdentitiesClient(cloud.SubscriptionID, operator, cloud.ARMClientOptions()))
	made, err := identities.CreateOrUpdate(ctx, group.Name, "reader", armmsi.Identity{Location: to.Ptr(lanyardtest.Location)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	credentials := must(armmsi.NewFederatedIdentityCredentialsClient(cloud.SubscriptionID, operator, cloud.ARMClientOptions()))
	if _, err := credentials.CreateOrUpdate(ctx, group.Name, "reader", "cluster", armmsi.FederatedIdentityCredential{
		Properties: &armmsi.FederatedIdentityCredentialProperties{
			Issuer: to.Ptr(issuer.URL), Subject: to.Ptr("system:serviceaccount:shop:reader"),
			Audiences: []*string{to.Ptr(lanyardtest.TokenExchangeAudience)},
		}}, nil); err != nil {
		t.Fatal(err)
	}
	cloud.Assign(t, *made.Properties.PrincipalID, "Key Vault Secrets User", vault.ResourceID)

	// A pod's credential, with its token in a file, as the identity.
	read := func(clientID, serviceAccount string) (string, error) {
		pod := must(azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: cloud.ClientOptions(), TenantID: cloud.TenantID, ClientID: clientID,
			TokenFilePath: issuer.ServiceAccountTokenFile(t, "shop", serviceAccount),
		}))
		client := must(azsecrets.NewClient(vault.URL, pod, &azsecrets.ClientOptions{ClientOptions: cloud.ClientOptions()}))
		secret, err := client.GetSecret(ctx, "greeting", "", nil)
		if err != nil {
			return "", err
		}
		return *secret.Value, nil
	}
	if got, err := read(*made.Properties.ClientID, "reader"); err != nil || got != want {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}

	stranger := cloud.Identity(t, "stranger")
	cloud.Federate(t, stranger, issuer, "system:serviceaccount:shop:stranger")
	_, err = read(stranger.ClientID, "stranger")
	wantAzureError(t, err, http.StatusForbidden, "Forbidden")
	if why := cloud.Why(t, err); why.ObjectID != stranger.PrincipalID || why.Action != "Microsoft.KeyVault/vaults/secrets/getSecret/action" {
		t.Errorf("why the stranger was denied: %+v", why)
	}

	_, err = read(*made.Properties.ClientID, "stranger")
	wantEntraError(t, err, "AADSTS700213")
	if why := cloud.Why(t, err); why.Kind != "token" || why.Result != "refused" {
		t.Errorf("why the token was refused: %+v", why)
	}

	// The other clouds, and the one of this process's environment, know none of it.
	elsewhere := must(azidentity.NewClientSecretCredential(world.env.TenantID, cloud.Bootstrap.ClientID, cloud.Bootstrap.ClientSecret, nil))
	_, err = elsewhere.GetToken(ctx, vaultScope())
	wantEntraError(t, err, "AADSTS700016")
	lost := must(armmsi.NewUserAssignedIdentitiesClient(cloud.SubscriptionID, operator, armOptions()))
	_, err = lost.Get(ctx, group.Name, "reader", nil)
	wantEntraError(t, err, "AADSTS500011")
}
