// Package entra is the token service: Microsoft Entra ID's token endpoints
// (version 1, version 2 and the AD FS form), the OpenID configuration and keys
// of every tenant, and instance discovery, as unmodified Azure clients use
// them.
//
// It owns the OAuth wire form (parameters, answers, AADSTS errors), how a
// client proves who it is, and what a token says. It must not know where
// principals are kept (package directory), how tokens are signed and foreign
// assertions verified (package token), or what a token opens (package rbac and
// the planes). It never touches storage: a request is decided from memory.
//
// DESIGN.md has the order of the steps and the invariants.
package entra
