// Package graph is Microsoft Graph's directory, as far as clients need it to
// manage applications and to tell who is who: applications with their secrets,
// certificates and federated credentials, service principals, users, groups and
// memberships, the organization and its domains. It serves v1.0 and beta.
//
// It owns Graph's wire form: paths with keys in parentheses, the query options
// ($filter, $select, $top, $count, $skiptoken), entities with the properties and
// defaults that Graph shows, and its error document. table.go lists every
// request that is served.
//
// It must not keep anything itself: who is who is the directory's, and every
// write goes through it in one transaction. Of the other planes it knows
// nothing, and never imports one.
//
// # Who may do what
//
// On Azure, directory roles and application permissions decide here. Lanyard
// has one way of granting rights, role assignments, so the guard decides each
// request at the tenant's root scope, by actions of its own below
// Microsoft.Authorization/directory:
//
//   - To read takes ".../read", which Reader has.
//   - To write takes ".../write" or ".../delete". Contributor has neither, since
//     its notActions take writes in Microsoft.Authorization away: a new secret of
//     an application is that application's rights. Owner and User Access
//     Administrator have both. Only assignments without a condition count, or
//     whoever may assign some roles could become someone with all.
//   - A principal may always read itself and its memberships. Nobody may write
//     anything for being the owner of an object, or the object itself.
//
// Whoever may write to the directory may become anybody in it.
package graph
