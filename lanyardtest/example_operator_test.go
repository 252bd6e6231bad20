package lanyardtest_test

import (
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/lanyard-id/lanyard/lanyardtest"
)

// An operator of a cluster that is not on Azure tries which service accounts
// become an identity, before any pod does.
func Example_clusterOperator() {
	t := newT() // a test has its own
	defer t.finish()

	cloud := lanyardtest.New(t)
	cluster, staging := cloud.Issuer(t, "production"), cloud.Issuer(t, "staging")
	orders := cloud.Identity(t, "orders")
	cloud.Federate(t, orders, cluster, "system:serviceaccount:shop:orders")

	for _, pod := range []struct {
		issuer          *lanyardtest.Issuer
		namespace, name string
	}{
		{cluster, "shop", "orders"},
		{cluster, "test", "orders"},
		{staging, "shop", "orders"},
	} {
		credential := orders.WorkloadCredential(pod.issuer, pod.namespace, pod.name)
		_, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
		answer := "is the identity"
		if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
			answer = "is refused: " + refused.ErrorCode
		}
		fmt.Println(pod.issuer.Name, pod.namespace, pod.name, answer)
	}
	// Output:
	// production shop orders is the identity
	// production test orders is refused: AADSTS700213
	// staging shop orders is refused: AADSTS700211
}
