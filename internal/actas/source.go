package actas

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/imds"
)

// Source gives tokens of the identities that a machine would have, by the rules
// of the metadata service: without a selector the only identity, with several
// of them a refusal, an unknown selector "Identity not found". It keeps tokens
// for as long as [Config] says.
type Source struct {
	client *Client
	// references name the identities that are looked up when they are asked for;
	// empty where they are known already.
	references []string

	flights singleflight.Group
	mu      sync.Mutex
	known   []Identity
	kept    map[key]accessToken
}

type key struct{ clientID, resource string }

// Source makes a source of identities that were found.
func (c *Client) Source(identities ...Identity) *Source {
	return &Source{client: c, known: identities, kept: map[key]accessToken{}}
}

// Named makes a source of identities by what [Client.Find] takes. They need not
// exist yet, and one that was deleted and made anew is found again.
func (c *Client) Named(references ...string) *Source {
	return &Source{client: c, references: references, kept: map[key]accessToken{}}
}

// identities are those that the source has now. Looking one up anew is tried
// when what was known is not what is asked for, or no longer good.
func (s *Source) identities(ctx context.Context, anew bool) ([]Identity, error) {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if len(s.references) == 0 || len(known) == len(s.references) && !anew {
		return known, nil
	}
	found := make([]Identity, 0, len(s.references))
	for _, reference := range s.references {
		who, err := s.client.Find(ctx, reference)
		if errors.Is(err, ErrNoSuchIdentity) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, who)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = found
	return found, nil
}

// maxKept bounds the tokens that are kept; resources are what a program names.
const maxKept = 1024

// Token gives the token of the identity that r selects.
func (s *Source) Token(ctx context.Context, r imds.Request) (imds.Token, error) {
	token, err := s.token(ctx, r, false)
	if err != nil && len(s.references) > 0 && refused(err) {
		return s.token(ctx, r, true)
	}
	return token, err
}

// refused reports whether an error is a decision on what was asked for, not a
// fault on the way.
func refused(err error) bool {
	known, ok := errors.AsType[*azure.Error](err)
	return ok && known.Status < 500
}

func (s *Source) token(ctx context.Context, r imds.Request, anew bool) (imds.Token, error) {
	identities, err := s.identities(ctx, anew)
	if err != nil {
		return imds.Token{}, err
	}
	who, err := choose(identities, r.Selector)
	if err != nil {
		return imds.Token{}, err
	}
	k := key{who.ClientID, r.Resource}
	s.mu.Lock()
	token := s.kept[k]
	s.mu.Unlock()
	if r.Refresh || !token.kept(s.client.cfg.Now(), s.client.cfg.Keep) {
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
		if s.client.cfg.Keep <= 0 {
			return token, nil
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

// choose finds the identity that a selector means.
func choose(identities []Identity, selector imds.Selector) (Identity, error) {
	if selector.Kind == imds.NoSelector {
		switch len(identities) {
		case 0:
			return Identity{}, imds.ErrIdentityNotFound
		case 1:
			return identities[0], nil
		default:
			return Identity{}, imds.ErrSeveralIdentities
		}
	}
	for _, i := range identities {
		name := map[imds.SelectorKind]string{imds.ByClientID: i.ClientID, imds.ByObjectID: i.ObjectID, imds.ByResourceID: i.ResourceID}[selector.Kind]
		if azure.EqualFold(name, selector.Value) {
			return i, nil
		}
	}
	return Identity{}, imds.ErrIdentityNotFound
}
