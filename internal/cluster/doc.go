// Package cluster is the cloud's side of attached clusters: their records, the
// documents of the issuers that the cloud assigns to them, their keys, and the
// agents that run in them.
//
// [Clusters] keeps the records in the store and reads them from memory, as the
// directory does. It answers the token service's question for the keys of an
// issuer ([Clusters.Keys]) and serves the issuers' documents
// ([Clusters.Documents]). [Channel] is the plane to which agents come: it proves
// them by the service account tokens of their cluster, and tells them of the
// federated credentials that trust it as these come and go. What agents and the
// cloud say to each other is package channel's.
//
// The package also keeps the keys of issuers that are no attached cluster's and
// that the cloud cannot reach, for the one tenant for which the operator has said
// so.
//
// It must not know of the Resource Manager: the type
// Microsoft.Kubernetes/connectedClusters is package provider's, which writes and
// removes records here in its own transactions. Who may do that is asked there.
//
// DESIGN.md beside this file holds the invariants.
package cluster
