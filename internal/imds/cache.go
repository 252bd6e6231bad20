package imds

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/lanyard-id/lanyard/internal/azure"
)

const (
	// renewBefore is how long before it ends a token is handed out no longer
	// without asking for another one. Azure's SDKs refresh theirs then.
	renewBefore = 5 * time.Minute
	// renewAgain is how long a renewal that failed is not tried again while the
	// token that there is has time left.
	renewAgain = 30 * time.Second
	// fetchTimeout bounds one question to the source.
	fetchTimeout = time.Minute
	// defaultMaxTokens bounds a cache.
	defaultMaxTokens = 128
)

// CacheConfig configures [NewCache].
type CacheConfig struct {
	// Source gives the tokens. Required.
	Source Source
	// MaxTokens bounds the tokens that are kept; those that have not been asked
	// for longest go first. Default: 128.
	MaxTokens int
	// Now is the clock; nil is time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Cache is a [Source] that keeps another one's tokens. It asks once for all who
// want a token at the same time, and goes on when one of them has gone. A token
// past half of its life is renewed while it is handed out, from five minutes
// before its end it is waited for. Refusals are not kept, and one that meets a
// renewal ends the token that was kept. [Request.Refresh] passes the cache over.
type Cache struct {
	cfg     CacheConfig
	flights singleflight.Group

	mu   sync.Mutex
	kept map[cacheKey]*keptToken
}

type cacheKey struct {
	kind            SelectorKind
	value, resource string
}

type keptToken struct {
	token   Token
	renewAt time.Time // from when on another one is asked for
	waitAt  time.Time // from when on that is waited for
	used    time.Time
}

// NewCache makes a cache.
func NewCache(cfg CacheConfig) *Cache {
	if cfg.MaxTokens <= 0 {
		cfg.MaxTokens = defaultMaxTokens
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Cache{cfg: cfg, kept: map[cacheKey]*keptToken{}}
}

// Token gives a token that was kept, or the source's.
func (c *Cache) Token(ctx context.Context, r Request) (Token, error) {
	key := cacheKey{r.Selector.Kind, azure.Fold(r.Selector.Value), r.Resource}
	now := c.cfg.Now()
	c.mu.Lock()
	kept, found := c.kept[key]
	found = found && now.Before(kept.token.Expires)
	var token Token
	var renew, wait bool
	if found {
		kept.used = now
		token, renew, wait = kept.token, !now.Before(kept.renewAt), !now.Before(kept.waitAt)
	}
	c.mu.Unlock()
	switch {
	case found && !r.Refresh && !renew:
		return token, nil
	case found && !r.Refresh && !wait:
		c.fetch(ctx, key, r)
		return token, nil
	}
	select {
	case result := <-c.fetch(ctx, key, r):
		if result.Err == nil {
			return result.Val.(Token), nil
		}
		if found && !r.Refresh && !decided(result.Err) && c.cfg.Now().Before(token.Expires) {
			return token, nil // better than none
		}
		return Token{}, result.Err
	case <-ctx.Done():
		return Token{}, context.Cause(ctx)
	}
}

// decided reports whether an error is a decision on what was asked for, not a
// fault on the way that may pass.
func decided(err error) bool {
	known, ok := errors.AsType[*azure.Error](err)
	return ok && known.Status < 500 && known.Status != http.StatusTooManyRequests
}

// fetch asks the source, or joins who does so.
func (c *Cache) fetch(ctx context.Context, key cacheKey, r Request) <-chan singleflight.Result {
	return c.flights.DoChan(string(key.kind)+" "+key.value+" "+key.resource, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		token, err := c.cfg.Source.Token(ctx, r)
		c.mu.Lock()
		defer c.mu.Unlock()
		now := c.cfg.Now()
		if err == nil {
			c.keep(key, token, now)
			return token, nil
		}
		if kept, found := c.kept[key]; found {
			c.cfg.Logger.WarnContext(ctx, "a token could not be renewed", "resource", r.Resource, "expires", kept.token.Expires, "error", err)
			kept.renewAt = now.Add(renewAgain)
			if decided(err) {
				delete(c.kept, key)
			}
		}
		return Token{}, err
	})
}

// keep remembers a token. The caller holds the lock.
func (c *Cache) keep(key cacheKey, token Token, now time.Time) {
	half := now.Add(token.Expires.Sub(now) / 2)
	wait := token.Expires.Add(-renewBefore)
	if wait.Before(half) {
		wait = half // a short one
	}
	if _, found := c.kept[key]; !found && len(c.kept) >= c.cfg.MaxTokens {
		var oldest cacheKey
		first := true
		for k, t := range c.kept {
			if first || t.used.Before(c.kept[oldest].used) {
				oldest, first = k, false
			}
		}
		delete(c.kept, oldest)
	}
	c.kept[key] = &keptToken{token: token, renewAt: half, waitAt: wait, used: now}
}
