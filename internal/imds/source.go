package imds

import (
	"context"
	"time"
)

// SelectorKind says by what a request names an identity.
type SelectorKind string

// The kinds of selector, in the words of Azure's documentation. NoSelector asks
// for the identity that needs no naming: the system-assigned one, else the only
// user-assigned one.
const (
	NoSelector   SelectorKind = ""
	ByClientID   SelectorKind = "clientId"
	ByObjectID   SelectorKind = "objectId"
	ByResourceID SelectorKind = "resourceId"
)

// Selector names the identity that a request asks for.
type Selector struct {
	Kind  SelectorKind
	Value string
}

// Request asks for a token.
type Request struct {
	Selector Selector
	// Resource is the protected resource's URI as the client sent it, such as
	// "https://vault.azure.net". The token's audience echoes it.
	Resource string
	// Refresh is set when the client says that the token it holds is no longer
	// accepted (token_sha256_to_refresh): a source with a cache passes over it.
	Refresh bool
}

// Token is a source's answer.
type Token struct {
	AccessToken string
	// ClientID is the identity's client ID.
	ClientID  string
	NotBefore time.Time
	Expires   time.Time
}

// Source gives tokens. An *azure.Error goes to the client in the protocol's own
// form: Code is the OAuth error ("invalid_request", "invalid_resource"), Status
// the HTTP status. Any other error is answered with a 500 without detail.
//
// The two usual refusals are [ErrIdentityNotFound] and [ErrSeveralIdentities].
type Source interface {
	Token(ctx context.Context, r Request) (Token, error)
}

// SourceFunc is a function as a [Source].
type SourceFunc func(ctx context.Context, r Request) (Token, error)

// Token calls f.
func (f SourceFunc) Token(ctx context.Context, r Request) (Token, error) { return f(ctx, r) }
