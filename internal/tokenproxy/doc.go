// Package tokenproxy is the token endpoint inside a cluster that identity bindings
// need: what AZURE_KUBERNETES_TOKEN_PROXY leads Azure's SDKs to.
//
// A pod presents its service account's token, as to Entra, but made for this
// endpoint alone. The token proxy has the API server say whose it is (TokenReview)
// and whether that service account may use the identity (SubjectAccessReview, verb
// use-managed-identity in the group cid.wi.aks.azure.com, on the client ID as
// resource); then it asks the token service for the identity's token with its own
// service account token, and passes the answer on. So one federated credential for
// an identity and a cluster serves any number of service accounts, and who may use
// the identity is Kubernetes's own RBAC.
//
// It owns that decision, the requests and errors of the endpoint, and the two
// discovery documents that SDKs ask for before, which it answers itself. Every
// request is decided anew: nothing is remembered that could outlive a permission.
// It must not know where the token service is the cloud's or Azure's.
package tokenproxy
