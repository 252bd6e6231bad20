package issuer

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lanyard-id/lanyard/internal/token"
)

// Defaults of a rotation.
const (
	// DefaultLead is how long a new key is published before it may sign: as long
	// as the documents may be kept. Entra shows a new key after 20 to 60 minutes.
	DefaultLead = MaxAge
	// DefaultMaxTokenLifetime is the longest that a token for Entra lasts when the
	// workload identity webhook has it projected.
	DefaultMaxTokenLifetime = 24 * time.Hour
)

// Phase is where a key is in its life.
type Phase string

// The phases of a key, in their order.
const (
	// Prepared: published, and signing nothing yet.
	Prepared Phase = "prepared"
	// Signing: the one key that API servers are to sign with.
	Signing Phase = "signing"
	// Replaced: it signs no more, or is not to, and its tokens still count.
	Replaced Phase = "replaced"
)

// Key is a key of a rotation.
type Key struct {
	// ID is its kid.
	ID    string `json:"kid"`
	Phase Phase  `json:"phase"`
	// Algorithm is RS256 unless the key was adopted.
	Algorithm string `json:"algorithm"`
	// Prepared is when it was made or adopted.
	Prepared time.Time `json:"prepared"`
	// Activated is when it became the one that is to sign.
	Activated time.Time `json:"activated,omitzero"`
	// LastSigned is when a replaced key had certainly ceased to sign; zero while
	// nobody has confirmed it.
	LastSigned time.Time `json:"lastSigned,omitzero"`
}

// State is a rotation: the keys of an issuer, and the rules by which they come
// and go. Its methods change nothing; they give the state after a step, or say
// why the step cannot be taken now.
type State struct {
	// Issuer is the issuer's URL.
	Issuer string `json:"issuer"`
	// LeadSeconds is how long a key is prepared before it may be activated, and
	// MaxTokenLifetimeSeconds the longest that a token lasts.
	LeadSeconds             int64 `json:"leadSeconds"`
	MaxTokenLifetimeSeconds int64 `json:"maxTokenLifetimeSeconds"`
	// Keys are in the order in which they were prepared.
	Keys []Key `json:"keys"`
}

// TooEarlyError means that a step can be taken, but not yet.
type TooEarlyError struct {
	// When is when it can be.
	When time.Time
	// Why says what is waited for.
	Why string
}

// Error says when and why.
func (e *TooEarlyError) Error() string {
	return fmt.Sprintf("not before %s: %s", e.When.UTC().Format(time.RFC3339), e.Why)
}

// check says what is wrong with a state that was read.
func (s State) check() error {
	if err := token.CheckIssuerURL(s.Issuer); err != nil {
		return fmt.Errorf("the issuer %q: %w", s.Issuer, err)
	}
	if s.LeadSeconds < 0 || s.MaxTokenLifetimeSeconds <= 0 {
		return errors.New("a duration is missing or negative")
	}
	phases := map[Phase]int{}
	seen := map[string]bool{}
	for _, k := range s.Keys {
		if !keyID.MatchString(k.ID) || seen[k.ID] {
			return fmt.Errorf("the kid %q is not one of Kubernetes's, or is there twice", k.ID)
		}
		seen[k.ID] = true
		phases[k.Phase]++
	}
	if phases[Signing] != 1 || phases[Prepared] > 1 || phases[Prepared]+phases[Signing]+phases[Replaced] != len(s.Keys) {
		return errors.New("it does not have exactly one key that signs, and one at most that is prepared")
	}
	return nil
}

func (s State) lead() time.Duration { return time.Duration(s.LeadSeconds) * time.Second }

// MaxTokenLifetime is the longest that a token of the issuer lasts.
func (s State) MaxTokenLifetime() time.Duration {
	return time.Duration(s.MaxTokenLifetimeSeconds) * time.Second
}

// In gives the first key in a phase.
func (s State) In(p Phase) (Key, bool) {
	i := slices.IndexFunc(s.Keys, func(k Key) bool { return k.Phase == p })
	if i < 0 {
		return Key{}, false
	}
	return s.Keys[i], true
}

// unconfirmed reports whether a replaced key may still sign, for all that is
// known.
func (s State) unconfirmed() bool {
	return slices.ContainsFunc(s.Keys, func(k Key) bool { return k.Phase == Replaced && k.LastSigned.IsZero() })
}

// Prepare adds a new key, which is published from then on and signs later.
func (s State) Prepare(key token.VerificationKey, now time.Time) (State, error) {
	if k, ok := s.In(Prepared); ok {
		return s, fmt.Errorf("the key %s is prepared already: activate it, or retire it by its kid if it is not to be used", k.ID)
	}
	s.Keys = append(slices.Clone(s.Keys), Key{ID: key.ID, Phase: Prepared, Algorithm: key.Algorithm, Prepared: now.UTC()})
	return s, nil
}

// Activate makes the prepared key the one that is to sign. Whoever keeps the
// issuer's documents must have had the time to read them again.
func (s State) Activate(now time.Time) (State, error) {
	k, ok := s.In(Prepared)
	if !ok {
		return s, errors.New("no key is prepared: prepare one first")
	}
	if s.unconfirmed() {
		return s, errors.New("API servers may still sign with a key that was replaced: confirm first that all of them sign with the present one")
	}
	if due := k.Prepared.Add(s.lead()); now.Before(due) {
		return s, &TooEarlyError{When: due, Why: fmt.Sprintf("the key %s is published since %s, and who keeps the issuer's keys may not know it before %s have passed",
			k.ID, k.Prepared.UTC().Format(time.RFC3339), s.lead())}
	}
	s.Keys = slices.Clone(s.Keys)
	for i := range s.Keys {
		switch s.Keys[i].Phase {
		case Signing:
			s.Keys[i].Phase = Replaced
		case Prepared:
			s.Keys[i].Phase, s.Keys[i].Activated = Signing, now.UTC()
		case Replaced:
		}
	}
	return s, nil
}

// Confirm notes that all API servers sign with the signing key: from now on no
// token by a replaced key is made. The time of replaced keys runs from there.
func (s State) Confirm(now time.Time) (State, error) {
	if !s.unconfirmed() {
		return s, errors.New("there is nothing to confirm: no key was replaced since the last time")
	}
	s.Keys = slices.Clone(s.Keys)
	for i := range s.Keys {
		if s.Keys[i].Phase == Replaced && s.Keys[i].LastSigned.IsZero() {
			s.Keys[i].LastSigned = now.UTC()
		}
	}
	return s, nil
}

// retirable is when a key may go; its error says why that is not known yet, or
// never.
func (s State) retirable(k Key) (time.Time, error) {
	switch {
	case k.Phase == Signing:
		return time.Time{}, fmt.Errorf("the key %s signs: prepare and activate another first", k.ID)
	case k.Phase == Prepared:
		return time.Time{}, nil // it has never signed
	case k.LastSigned.IsZero():
		return time.Time{}, fmt.Errorf("API servers may still sign with the key %s: confirm first that all of them sign with the new one", k.ID)
	}
	return k.LastSigned.Add(s.MaxTokenLifetime()), nil
}

// Retire removes the key with a kid, or with none given, all replaced keys of
// which no token can be good any more; too early when there is none of those.
// A prepared key may go at any time. force takes a replaced key at once, for one
// that others may know: its tokens are refused from then on.
func (s State) Retire(id string, force bool, now time.Time) (after State, gone []Key, err error) {
	var refusal error
	for _, k := range s.Keys {
		if id != "" && k.ID != id || id == "" && k.Phase != Replaced {
			continue
		}
		due, err := s.retirable(k)
		switch {
		case force && k.Phase == Replaced, err == nil && !now.Before(due):
			gone = append(gone, k)
		case refusal != nil: // the oldest key's is told
		case err != nil:
			refusal = err
		default:
			refusal = &TooEarlyError{When: due, Why: fmt.Sprintf("tokens that the key %s signed until %s may last %s",
				k.ID, k.LastSigned.UTC().Format(time.RFC3339), s.MaxTokenLifetime())}
		}
	}
	switch {
	case len(gone) > 0:
		s.Keys = slices.DeleteFunc(slices.Clone(s.Keys), func(k Key) bool { return slices.Contains(gone, k) })
		return s, gone, nil
	case refusal != nil:
		return s, nil, refusal
	case id != "":
		return s, nil, fmt.Errorf("there is no key %q", id)
	}
	return s, nil, errors.New("no key was replaced: there is nothing to retire")
}

// Next says what the rotation waits for.
func (s State) Next(now time.Time) string {
	after := func(due time.Time, do string) string {
		if now.Before(due) {
			return do + ", from " + due.UTC().Format(time.RFC3339)
		}
		return do
	}
	if s.unconfirmed() {
		return "restart every API server with these flags, then confirm"
	}
	if k, ok := s.In(Prepared); ok {
		return after(k.Prepared.Add(s.lead()), "publish the keys, restart every API server with these flags, then activate")
	}
	if k, ok := s.In(Replaced); ok {
		due, err := s.retirable(k)
		if err == nil {
			return after(due, "retire")
		}
	}
	return "prepare, when the key is to be replaced"
}
