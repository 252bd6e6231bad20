package lanyardtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/lanyard-id/lanyard/lanyardtest"
)

// readSecret is an application's code: it reads a secret as whoever it runs as.
// An application would call azsecrets, whose GetSecret this is.
func readSecret(ctx context.Context, vaultURL, name string, credential azcore.TokenCredential, options azcore.ClientOptions) (string, error) {
	client, err := azcore.NewClient("application", "v1.0.0", runtime.PipelineOptions{PerRetry: []policy.Policy{
		runtime.NewBearerTokenPolicy(credential, []string{"https://vault.azure.net/.default"}, nil),
	}}, &options)
	if err != nil {
		return "", err
	}
	request, err := runtime.NewRequest(ctx, http.MethodGet, strings.TrimSuffix(vaultURL, "/")+"/secrets/"+name+"?api-version=7.5")
	if err != nil {
		return "", err
	}
	response, err := client.Pipeline().Do(request)
	if err != nil {
		return "", err
	}
	if !runtime.HasStatusCode(response, http.StatusOK) {
		return "", runtime.NewResponseError(response)
	}
	var secret struct{ Value string }
	err = runtime.UnmarshalAsJSON(response, &secret)
	return secret.Value, err
}

// An application team tests the code that it ships: as the identity that may read
// the secret, and as one that may not.
func Example_applicationTeam() {
	t := newT() // a test has its own
	defer t.finish()

	cloud := lanyardtest.New(t)
	vault := cloud.Vault(t, "greetings")
	cloud.Secret(t, vault, "greeting", "hello from the vault")
	orders := cloud.Identity(t, "orders")
	cloud.Assign(t, orders.PrincipalID, "Key Vault Secrets User", vault.ResourceID)
	batch := cloud.Identity(t, "batch")

	for _, identity := range []lanyardtest.Identity{orders, batch} {
		value, err := readSecret(t.Context(), vault.URL, "greeting", identity.Credential(), cloud.ClientOptions())
		if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
			fmt.Printf("%s: %d %s\n", identity.Name, refused.StatusCode, refused.ErrorCode)
			continue
		}
		fmt.Printf("%s: %q, %v\n", identity.Name, value, err)
	}
	// Output:
	// orders: "hello from the vault", <nil>
	// batch: 403 Forbidden
}
