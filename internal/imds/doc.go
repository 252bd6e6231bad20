// Package imds speaks the protocols by which Azure's SDKs ask the machine that
// they run on for a managed identity's token: the Azure Instance Metadata
// Service (169.254.169.254) and the App Service endpoint (IDENTITY_ENDPOINT).
//
// It owns their routes, checks, parameters and wire forms. Where a token comes
// from is a [Source]: it must not know whether that is this process, a cloud or
// a cache, nor who the caller is.
package imds
