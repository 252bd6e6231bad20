// Package directory knows who is who: tenants and the subscriptions that trust
// them, applications with their secrets and certificates, service principals,
// managed identities, users, groups, and federated identity credentials, whose
// expressions it also parses and evaluates.
//
// Lookups answer from memory. A view follows the store, so that the token and
// authorization paths never wait for storage; the process that wrote sees its
// own write as soon as Update returns, every other replica shortly after. A
// lookup always names the tenant, and nothing of one tenant is ever found
// through another.
//
// Writes take a transaction of the store and read what they depend on inside
// it, never in the view. What must be unique (client IDs and object IDs over
// all tenants, domains, user principal names, identifier URIs, issuer and
// subject of an owner's credentials) is held by a key that the same transaction
// compares; keys.go has the layout.
//
// The package decides nothing: it must not know of roles, tokens, or any wire
// protocol. Failures that a client may see are [azure.Error]s, in Microsoft
// Graph's words for directory objects and in Azure Resource Manager's for
// federated credentials, which is where clients write them.
package directory
