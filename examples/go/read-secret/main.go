// Command read-secret reads one secret from a vault, with Azure's SDK for Go
// alone.
//
//	read-secret VAULT-URL SECRET-NAME [CREDENTIAL]
//
// CREDENTIAL is default (the default), workload, binding, managed, chained or
// secret: the class of azidentity by which the program signs in; binding is workload
// by the token proxy of AKS's identity bindings. All of them read their settings
// from the environment.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

func main() {
	if len(os.Args) < 3 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: read-secret VAULT-URL SECRET-NAME [default|workload|binding|managed|chained|secret]")
		os.Exit(2)
	}
	kind := "default"
	if len(os.Args) == 4 {
		kind = os.Args[3]
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	value, err := readSecret(ctx, os.Args[1], os.Args[2], kind)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(value)
}

func readSecret(ctx context.Context, vaultURL, name, kind string) (string, error) {
	credential, err := newCredential(kind)
	if err != nil {
		return "", err
	}
	vault, err := azsecrets.NewClient(vaultURL, credential, nil)
	if err != nil {
		return "", err
	}
	secret, err := vault.GetSecret(ctx, name, "", nil)
	if err != nil {
		return "", err
	}
	return *secret.Value, nil
}

func newCredential(kind string) (azcore.TokenCredential, error) {
	switch kind {
	case "default":
		return azidentity.NewDefaultAzureCredential(nil)
	case "workload":
		return azidentity.NewWorkloadIdentityCredential(nil)
	case "binding":
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{EnableAzureProxy: true})
	case "managed":
		return managedIdentity()
	case "chained":
		managed, err := managedIdentity()
		if err != nil {
			return nil, err
		}
		cli, err := azidentity.NewAzureCLICredential(nil)
		if err != nil {
			return nil, err
		}
		return azidentity.NewChainedTokenCredential([]azcore.TokenCredential{managed, cli}, nil)
	case "secret":
		return azidentity.NewClientSecretCredential(os.Getenv("AZURE_TENANT_ID"), os.Getenv("AZURE_CLIENT_ID"), os.Getenv("AZURE_CLIENT_SECRET"), nil)
	}
	return nil, fmt.Errorf("there is no credential %q", kind)
}

func managedIdentity() (azcore.TokenCredential, error) {
	options := &azidentity.ManagedIdentityCredentialOptions{}
	if id := os.Getenv("AZURE_CLIENT_ID"); id != "" {
		options.ID = azidentity.ClientID(id)
	}
	return azidentity.NewManagedIdentityCredential(options)
}
