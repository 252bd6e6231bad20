// Command workload is the application of the quickstart: code that an Azure
// team has already, which reads one secret as whoever it runs as. It has no
// credential of its own, only the variables and the token file that Kubernetes
// and the workload identity webhook give to a pod:
//
//	AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE, AZURE_AUTHORITY_HOST
//
// Usage: workload VAULT-URL SECRET-NAME. It prints the secret's value.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: workload VAULT-URL SECRET-NAME")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	value, err := readSecret(ctx, os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(value)
}

func readSecret(ctx context.Context, vaultURL, name string) (string, error) {
	credential, err := azidentity.NewWorkloadIdentityCredential(nil)
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
