// Command platform is the platform team's side of the quickstart: it creates a
// resource group, two identities with a federated credential each, a vault with
// a secret, and one role assignment, through Azure Resource Manager and Key
// Vault with the official SDK alone.
//
// It signs in with EnvironmentCredential (AZURE_TENANT_ID, AZURE_CLIENT_ID,
// AZURE_CLIENT_SECRET, AZURE_AUTHORITY_HOST) and reads the cloud's endpoints
// from the environment file that LANYARD_ENV_FILE names. What it made goes to
// standard output as JSON, its progress to standard error.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
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
	group    = "quickstart"
	audience = "api://AzureADTokenExchange"

	secretsUser    = "4633458b-17de-408a-b874-0445c86b69e6" // Key Vault Secrets User
	secretsOfficer = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7" // Key Vault Secrets Officer
)

// environment is the part of the environment file that this program needs.
type environment struct {
	TenantID       string `json:"tenantId"`
	SubscriptionID string `json:"subscriptionId"`
	Endpoints      struct {
		ResourceManager string `json:"resourceManager"`
		ActiveDirectory string `json:"activeDirectory"`
	} `json:"endpoints"`
	Bootstrap struct {
		ObjectID string `json:"objectId"`
	} `json:"bootstrap"`
}

// result is what the workloads need to know.
type result struct {
	VaultURL   string            `json:"vaultUrl"`
	Secret     string            `json:"secret"`
	ClientIDs  map[string]string `json:"clientIds"`
	TenantID   string            `json:"tenantId"`
	AssignedTo string            `json:"assignedTo"`
}

func main() {
	issuer := flag.String("issuer", "", "issuer URL of the cluster's service-account tokens")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	made, err := setUp(ctx, *issuer)
	if err != nil {
		fmt.Fprintln(os.Stderr, "platform:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(made); err != nil {
		fmt.Fprintln(os.Stderr, "platform:", err)
		os.Exit(1)
	}
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "  "+format+"\n", args...) }

func setUp(ctx context.Context, issuer string) (result, error) {
	raw, err := os.ReadFile(os.Getenv("LANYARD_ENV_FILE"))
	if err != nil {
		return result{}, fmt.Errorf("reading the environment file (LANYARD_ENV_FILE): %w", err)
	}
	var env environment
	if err := json.Unmarshal(raw, &env); err != nil {
		return result{}, fmt.Errorf("reading the environment file: %w", err)
	}
	credential, err := azidentity.NewEnvironmentCredential(nil)
	if err != nil {
		return result{}, err
	}
	options := &arm.ClientOptions{ClientOptions: azcore.ClientOptions{Cloud: cloud.Configuration{
		ActiveDirectoryAuthorityHost: env.Endpoints.ActiveDirectory,
		Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: env.Endpoints.ResourceManager, Audience: env.Endpoints.ResourceManager},
		},
	}}}
	p := platform{env: env, credential: credential, options: options}
	if err := p.resourceGroup(ctx); err != nil {
		return result{}, err
	}
	reader, err := p.identity(ctx, "reader", issuer, "system:serviceaccount:shop:reader")
	if err != nil {
		return result{}, err
	}
	stranger, err := p.identity(ctx, "stranger", issuer, "system:serviceaccount:shop:stranger")
	if err != nil {
		return result{}, err
	}
	vault, err := p.vault(ctx)
	if err != nil {
		return result{}, err
	}
	if err := p.assign(ctx, *vault.ID, secretsOfficer, env.Bootstrap.ObjectID, "the operator: Owner has no data actions"); err != nil {
		return result{}, err
	}
	if err := p.secret(ctx, *vault.Properties.VaultURI, "greeting", "hello from the vault"); err != nil {
		return result{}, err
	}
	scope := *vault.ID + "/secrets/greeting"
	if err := p.assign(ctx, scope, secretsUser, *reader.Properties.PrincipalID, "identity reader, on this one secret"); err != nil {
		return result{}, err
	}
	return result{
		VaultURL: *vault.Properties.VaultURI, Secret: "greeting", TenantID: env.TenantID, AssignedTo: scope,
		ClientIDs: map[string]string{"reader": *reader.Properties.ClientID, "stranger": *stranger.Properties.ClientID},
	}, nil
}

// platform holds what every step needs.
type platform struct {
	env        environment
	credential azcore.TokenCredential
	options    *arm.ClientOptions
}

func (p platform) resourceGroup(ctx context.Context) error {
	groups, err := armresources.NewResourceGroupsClient(p.env.SubscriptionID, p.credential, p.options)
	if err != nil {
		return err
	}
	if _, err := groups.CreateOrUpdate(ctx, group, armresources.ResourceGroup{Location: to.Ptr(location)}, nil); err != nil {
		return fmt.Errorf("creating the resource group: %w", err)
	}
	progress("resource group %s", group)
	return nil
}

func (p platform) identity(ctx context.Context, name, issuer, subject string) (armmsi.Identity, error) {
	identities, err := armmsi.NewUserAssignedIdentitiesClient(p.env.SubscriptionID, p.credential, p.options)
	if err != nil {
		return armmsi.Identity{}, err
	}
	made, err := identities.CreateOrUpdate(ctx, group, name, armmsi.Identity{Location: to.Ptr(location)}, nil)
	if err != nil {
		return armmsi.Identity{}, fmt.Errorf("creating identity %s: %w", name, err)
	}
	credentials, err := armmsi.NewFederatedIdentityCredentialsClient(p.env.SubscriptionID, p.credential, p.options)
	if err != nil {
		return armmsi.Identity{}, err
	}
	if _, err := credentials.CreateOrUpdate(ctx, group, name, "cluster", armmsi.FederatedIdentityCredential{
		Properties: &armmsi.FederatedIdentityCredentialProperties{
			Issuer: to.Ptr(issuer), Subject: to.Ptr(subject), Audiences: []*string{to.Ptr(audience)},
		},
	}, nil); err != nil {
		return armmsi.Identity{}, fmt.Errorf("creating the federated credential of %s: %w", name, err)
	}
	progress("identity %s, trusting %s", name, subject)
	return made.Identity, nil
}

func (p platform) vault(ctx context.Context) (armkeyvault.Vault, error) {
	vaults, err := armkeyvault.NewVaultsClient(p.env.SubscriptionID, p.credential, p.options)
	if err != nil {
		return armkeyvault.Vault{}, err
	}
	// Vault names are unique in the whole cloud, so this one has a random part.
	name := "quickstart-" + uuid.NewString()[:8]
	poller, err := vaults.BeginCreateOrUpdate(ctx, group, name, armkeyvault.VaultCreateOrUpdateParameters{
		Location: to.Ptr(location),
		Properties: &armkeyvault.VaultProperties{
			TenantID: to.Ptr(p.env.TenantID),
			SKU:      &armkeyvault.SKU{Family: to.Ptr(armkeyvault.SKUFamilyA), Name: to.Ptr(armkeyvault.SKUNameStandard)},

			EnableRbacAuthorization: to.Ptr(true),
		},
	}, nil)
	if err != nil {
		return armkeyvault.Vault{}, fmt.Errorf("creating the vault: %w", err)
	}
	made, err := poller.PollUntilDone(ctx, nil)
	if err != nil {
		return armkeyvault.Vault{}, fmt.Errorf("creating the vault: %w", err)
	}
	progress("vault %s", name)
	return made.Vault, nil
}

func (p platform) assign(ctx context.Context, scope, role, principalID, who string) error {
	assignments, err := armauthorization.NewRoleAssignmentsClient(p.env.SubscriptionID, p.credential, p.options)
	if err != nil {
		return err
	}
	_, err = assignments.Create(ctx, scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			PrincipalID:      to.Ptr(principalID),
			PrincipalType:    to.Ptr(armauthorization.PrincipalTypeServicePrincipal),
			RoleDefinitionID: to.Ptr("/subscriptions/" + p.env.SubscriptionID + "/providers/Microsoft.Authorization/roleDefinitions/" + role),
		},
	}, nil)
	if err != nil {
		return fmt.Errorf("assigning a role to %s: %w", who, err)
	}
	name := "Key Vault Secrets User"
	if role == secretsOfficer {
		name = "Key Vault Secrets Officer"
	}
	progress("role %s at .../%s for %s", name, scope[strings.LastIndex(scope, "vaults/"):], who)
	return nil
}

func (p platform) secret(ctx context.Context, vaultURL, name, value string) error {
	secrets, err := azsecrets.NewClient(vaultURL, p.credential, nil)
	if err != nil {
		return err
	}
	if _, err := secrets.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: to.Ptr(value)}, nil); err != nil {
		return fmt.Errorf("storing the secret: %w", err)
	}
	progress("secret %s", name)
	return nil
}
