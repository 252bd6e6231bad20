package token

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"github.com/lanyard-id/lanyard/internal/tracing"
)

// How long a foreign issuer's keys are kept, and how often it is asked.
const (
	// An issuer says how long its keys may be kept by Cache-Control: max-age. It
	// is honoured between these bounds, and when absent keysUnstated holds. A key
	// that the issuer withdrew stops counting after that time.
	minKeysTTL   = 5 * time.Minute
	maxKeysTTL   = 24 * time.Hour
	keysUnstated = time.Hour
	// keysStale is for how long past that time keys count while the issuer
	// cannot be reached, so that its outage does not become the cloud's.
	keysStale = 24 * time.Hour
	// refetchAfter is the shortest time between two fetches that an assertion
	// by an unknown key can cause, so that nobody can make the cloud flood an
	// issuer. A new key counts at once when no fetch was made in that time.
	refetchAfter = 30 * time.Second
	// retryAfter is the time for which a failed fetch is not tried again.
	retryAfter = 5 * time.Second
	// maxIssuers bounds the issuers kept; the one unused the longest goes first.
	maxIssuers = 1000
)

// IssuersConfig configures [NewIssuers].
type IssuersConfig struct {
	// Allow are address ranges that may be dialled though they are not public:
	// loopback, private networks and the like. None by default.
	Allow []netip.Prefix
	// CAs judge the issuers' certificates; nil stands for the system's roots.
	CAs *x509.CertPool
	// Local gives the keys of an issuer of which the cloud itself has a copy, as
	// far as the given tenant is to use that copy; nothing is then fetched. False
	// leaves the issuer to its own documents. Nil keys with true are those of an
	// issuer of the cloud's own that is not there. Local may be nil, and must be
	// quick.
	Local func(tenantID, issuer string) (keys *LocalKeys, ok bool)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
	// Tracer records the fetches of traced requests; nil: none. Issuers learn
	// nothing of the trace.
	Tracer *tracing.Tracer
}

// Issuers verifies assertions with the keys that their issuers publish, and
// keeps those keys. It is safe for concurrent use, holds no goroutine between
// fetches, and needs no closing.
//
// Which issuers are trusted is not decided here: any issuer named by an
// assertion is asked for its keys. The caller first finds the federated
// credential that names the issuer, and refuses the issuers that Entra forbids.
type Issuers struct {
	cfg    IssuersConfig
	client *http.Client
	flight singleflight.Group

	mu    sync.Mutex
	known map[string]*issuer
}

// issuer is what is known of a foreign issuer. The mutex of Issuers guards it.
type issuer struct {
	keys      []foreignKey // the last ones fetched, or nil
	expires   time.Time    // when keys must be fetched anew
	attempted time.Time    // the last fetch, successful or not
	attempts  int
	err       error // of the last fetch
	used      time.Time
}

// NewIssuers makes an empty cache of issuers.
func NewIssuers(cfg IssuersConfig) *Issuers {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	client := newClient(cfg.Allow, cfg.CAs)
	client.Transport = cfg.Tracer.Transport(client.Transport, false)
	return &Issuers{
		cfg:    cfg,
		client: client,
		known:  map[string]*issuer{},
	}
}

// UnreachableError means that an issuer's discovery document or keys could not
// be had: AADSTS90061. Err says why, and for refused addresses and unknown
// certificate authorities how the operator mends it. It tells of the network
// that the cloud sees, so it is for the log and for operators; what an anonymous
// client is shown of it is the caller's decision.
type UnreachableError struct {
	Issuer string
	Err    error
}

// Error names the issuer and the cause.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the keys of issuer %q cannot be had: %v", e.Issuer, e.Err)
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// KeyNotFoundError means that the issuer does not publish the key that the
// assertion names: AADSTS7000272.
type KeyNotFoundError struct{ Issuer, KeyID string }

// Error names the issuer and the key.
func (e *KeyNotFoundError) Error() string {
	return fmt.Sprintf("issuer %q publishes no key %q", e.Issuer, e.KeyID)
}

// SignatureError means that the assertion is not signed by the issuer's key, or
// not with RS256: AADSTS700027.
type SignatureError struct {
	Issuer, KeyID, Algorithm string
	Err                      error
}

// Error names the issuer, the key and the cause.
func (e *SignatureError) Error() string {
	return fmt.Sprintf("the assertion of issuer %q by key %q has an invalid signature: %v", e.Issuer, e.KeyID, e.Err)
}

// Unwrap gives the cause.
func (e *SignatureError) Unwrap() error { return e.Err }

// Verify checks the assertion's signature, RS256 alone, with the keys that its
// issuer publishes, or with the cloud's own copy for the given tenant (see
// [IssuersConfig.Local]); when it names no key, with each of them. Times, subject
// and audience are the caller's to check.
//
// The tenant is the one whose federated credential trusts the issuer: what one
// tenant's operator says of an issuer's keys holds for no other tenant.
//
// Keys are fetched when none are known or their time is over, and once more,
// but not within 30 seconds of the last fetch, when the known ones do not fit.
// Callers that need the same issuer share one fetch, which takes 10 seconds at
// most; ctx ends the caller's own waiting.
//
// The error is an [*UnreachableError], a [*KeyNotFoundError] or a
// [*SignatureError].
func (i *Issuers) Verify(ctx context.Context, tenantID string, a *Assertion) error {
	if a.Algorithm != string(jose.RS256) {
		return &SignatureError{Issuer: a.Issuer, KeyID: a.KeyID, Algorithm: a.Algorithm,
			Err: errNotRS256}
	}
	if i.cfg.Local != nil {
		if keys, ok := i.cfg.Local(tenantID, a.Issuer); ok {
			return keys.verify(a)
		}
	}
	keys, attempt, err := i.keys(ctx, a.Issuer, 0)
	if err != nil {
		return &UnreachableError{Issuer: a.Issuer, Err: err}
	}
	mismatch := a.signedBy(keys)
	if mismatch == nil {
		return nil
	}
	again, latest, err := i.keys(ctx, a.Issuer, attempt)
	if _, missing := errors.AsType[*KeyNotFoundError](mismatch); missing && err != nil {
		// The key may well be published by now: nobody could see.
		return &UnreachableError{Issuer: a.Issuer, Err: err}
	}
	if err != nil || latest == attempt {
		return mismatch
	}
	return a.signedBy(again)
}

// keys gives the keys of a foreign issuer and the number of the fetch that they
// are of. When unfit is the number of the latest fetch, a new one is due,
// within its rate.
func (i *Issuers) keys(ctx context.Context, name string, unfit int) ([]foreignKey, int, error) {
	if i.due(name, unfit) {
		done := i.flight.DoChan(name, func() (any, error) {
			// A flight that ended a moment ago has done what this one is for.
			if i.due(name, unfit) {
				i.fetch(context.WithoutCancel(ctx), name)
			}
			return nil, nil
		})
		select {
		case <-done:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	k := i.known[name]
	switch now := i.cfg.Now(); {
	case k == nil:
		return nil, 0, errors.New("it was forgotten among too many issuers")
	case k.err != nil && (k.keys == nil || unfit != 0 || !now.Before(k.expires.Add(keysStale))):
		return nil, 0, k.err
	default:
		k.used = now
		return k.keys, k.attempts, nil
	}
}

// due reports whether the issuer must be asked for its keys now.
func (i *Issuers) due(name string, unfit int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	k, now := i.known[name], i.cfg.Now()
	if k == nil {
		return true
	}
	if now.Before(k.expires) && (unfit == 0 || unfit != k.attempts) {
		return false
	}
	since, pause := now.Sub(k.attempted), refetchAfter
	if k.err != nil {
		pause = retryAfter
	}
	// A clock that was set back must not silence the issuer until it catches up.
	return since < 0 || since >= pause
}

// fetch asks the issuer and notes what came of it.
func (i *Issuers) fetch(ctx context.Context, name string) {
	keys, ttl, err := fetchKeys(ctx, i.client, name)
	now := i.cfg.Now()
	if err != nil {
		i.cfg.Logger.WarnContext(ctx, "an issuer's keys cannot be had", "issuer", name, "error", err)
	} else {
		i.cfg.Logger.InfoContext(ctx, "an issuer's keys were fetched", "issuer", name, "keys", len(keys), "ttl", ttl)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	k := i.known[name]
	if k == nil {
		i.makeRoom()
		k = &issuer{}
		i.known[name] = k
	}
	k.attempts++
	k.attempted, k.used, k.err = now, now, err
	if err == nil {
		k.keys, k.expires = keys, now.Add(ttl)
	}
}

// makeRoom forgets the issuer that was not used for the longest time, when
// there are too many.
func (i *Issuers) makeRoom() {
	if len(i.known) < maxIssuers {
		return
	}
	var oldest string
	for name, k := range i.known {
		if oldest == "" || k.used.Before(i.known[oldest].used) {
			oldest = name
		}
	}
	delete(i.known, oldest)
}
