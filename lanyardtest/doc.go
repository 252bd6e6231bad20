// Package lanyardtest runs a cloud inside a Go test: Microsoft Entra's token
// service, Azure Resource Manager with identities, roles and federated
// credentials, and Key Vault, in the test's own process and for this test alone.
// Azure's SDK for Go talks to it as it talks to Azure; no subscription, network,
// environment variable or other set-up is involved.
//
//	func TestGreeting(t *testing.T) {
//		cloud := lanyardtest.New(t)
//		vault := cloud.Vault(t, "greetings")
//		cloud.Secret(t, vault, "greeting", "hello")
//		orders := cloud.Identity(t, "orders")
//		cloud.Assign(t, orders.PrincipalID, "Key Vault Secrets User", vault.ResourceID)
//
//		client, err := azsecrets.NewClient(vault.URL, orders.Credential(),
//			&azsecrets.ClientOptions{ClientOptions: cloud.ClientOptions()})
//		if err != nil {
//			t.Fatal(err)
//		}
//		greet(t.Context(), client) // your code, unchanged
//	}
//
// A cloud is there in about a tenth of a second, most of which is the making of
// its own signing key, and is stopped and removed when the test ends. Tests that
// run in parallel have a cloud each: clouds share neither keys nor state, and a
// token, an authority or a client of one is worth nothing at another.
//
// # Reaching the cloud
//
// [Cloud.ClientOptions] and [Cloud.ARMClientOptions] are the options of every
// client and credential of Azure's SDK. Their transport leads the cloud's names
// to this cloud, Azure's own among them (login.microsoftonline.com,
// management.azure.com, *.vault.azure.net, ...), trusts this cloud's authority
// alone, and refuses every other name: a test cannot reach Azure by mistake.
//
// Credentials of azidentity work with these options as they are, for example
// azidentity.NewWorkloadIdentityCredential with [Cloud.TenantID], a
// [Identity.ClientID] and [Issuer.ServiceAccountTokenFile]. DefaultAzureCredential
// and EnvironmentCredential read the process's environment and so are not for
// tests that run in parallel.
//
// # What the helpers do
//
// Everything beyond [New] is a request that a platform team could send: the
// helpers ask the cloud by its public protocols, as the operator, who is an Owner
// at the tenant's root and nothing more. They fail the test with the service's
// own error. What they make belongs to the cloud and goes with it. Making the
// same thing twice is no error.
//
// Authorization is on for everyone, as on Azure: an Owner manages a vault and
// reads none of its secrets, an identity without a role gets 403. [Cloud.Why]
// says which decision a refusal was, and [Cloud.Audit] gives them all.
//
// # What it costs
//
// The package is the cloud itself, its storage (etcd) included: some megabytes of
// a test binary and modules in go.sum, nothing of a program that tests do not
// build. A running cloud takes about four megabytes of memory and ten of disk.
package lanyardtest
