package actas

import (
	"context"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/imds"
)

// Source gives tokens of the identities that a machine would have, by the rules
// of the metadata service: without a selector the only identity, with several
// of them a refusal, an unknown selector "Identity not found". It keeps a token
// until half of its life has passed.
type Source struct {
	client     *Client
	identities []Identity

	flights singleflight.Group
	mu      sync.Mutex
	kept    map[key]accessToken
}

type key struct{ clientID, resource string }

// Source makes a source of the given identities.
func (c *Client) Source(identities ...Identity) *Source {
	return &Source{client: c, identities: identities, kept: map[key]accessToken{}}
}

// maxKept bounds the tokens that are kept; resources are what a program names.
const maxKept = 1024

// Token gives the token of the identity that r selects.
func (s *Source) Token(ctx context.Context, r imds.Request) (imds.Token, error) {
	who, err := s.choose(r.Selector)
	if err != nil {
		return imds.Token{}, err
	}
	k := key{who.ClientID, r.Resource}
	s.mu.Lock()
	token := s.kept[k]
	s.mu.Unlock()
	if r.Refresh || token.worn(s.client.cfg.Now()) {
		if token, err = s.fetch(ctx, k, who); err != nil {
			return imds.Token{}, err
		}
	}
	return imds.Token{AccessToken: token.raw, ClientID: who.ClientID, NotBefore: token.received, Expires: token.expires}, nil
}

// fetch gets a token once for all who want it at the same time. It goes on when
// one of them has gone.
func (s *Source) fetch(ctx context.Context, k key, who Identity) (accessToken, error) {
	flight := s.flights.DoChan(k.clientID+" "+k.resource, func() (any, error) {
		token, err := s.client.exchange(context.WithoutCancel(ctx), who, k.resource)
		if err != nil {
			return token, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.kept) >= maxKept {
			clear(s.kept)
		}
		s.kept[k] = token
		return token, nil
	})
	select {
	case result := <-flight:
		if result.Err != nil {
			return accessToken{}, result.Err
		}
		return result.Val.(accessToken), nil
	case <-ctx.Done():
		return accessToken{}, context.Cause(ctx)
	}
}

func (s *Source) choose(selector imds.Selector) (Identity, error) {
	if selector.Kind == imds.NoSelector {
		switch len(s.identities) {
		case 0:
			return Identity{}, imds.ErrIdentityNotFound
		case 1:
			return s.identities[0], nil
		default:
			return Identity{}, imds.ErrSeveralIdentities
		}
	}
	for _, i := range s.identities {
		name := map[imds.SelectorKind]string{imds.ByClientID: i.ClientID, imds.ByObjectID: i.ObjectID, imds.ByResourceID: i.ResourceID}[selector.Kind]
		if azure.EqualFold(name, selector.Value) {
			return i, nil
		}
	}
	return Identity{}, imds.ErrIdentityNotFound
}
