package issuer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/token"
)

func named(n int) token.VerificationKey {
	return token.VerificationKey{ID: fmt.Sprintf("%043d", n), Algorithm: token.RS256}
}

// begun is a state with one key that signs.
func begun() State {
	return State{
		Issuer: issuerURL, LeadSeconds: 3600, MaxTokenLifetimeSeconds: 24 * 3600,
		Keys: []Key{{ID: named(0).ID, Phase: Signing, Algorithm: token.RS256, Prepared: standin.Start, Activated: standin.Start}},
	}
}

// try runs a step that must succeed.
func try(t *testing.T, after State, err error) State {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func wantTooEarly(t *testing.T, err error, when time.Time) {
	t.Helper()
	early, ok := errors.AsType[*TooEarlyError](err)
	if !ok || !early.When.Equal(when) || !strings.Contains(err.Error(), "not before "+when.Format(time.RFC3339)) {
		t.Errorf("%v; want too early, until %s", err, when)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	c, s := standin.NewClock(standin.Start), begun()

	// Nothing out of turn.
	_, err := s.Activate(c.Now())
	wantError(t, err, "prepare one first")
	_, err = s.Confirm(c.Now())
	wantError(t, err, "nothing to confirm")
	_, _, err = s.Retire("", false, c.Now())
	wantError(t, err, "nothing to retire")
	_, _, err = s.Retire("", true, c.Now())
	wantError(t, err, "nothing to retire")
	for _, force := range []bool{false, true} {
		_, _, err = s.Retire(named(0).ID, force, c.Now())
		wantError(t, err, "signs: prepare and activate another first")
	}
	_, _, err = s.Retire("other", true, c.Now())
	wantError(t, err, `no key "other"`)

	after, err := s.Prepare(named(1), c.Now())
	s = try(t, after, err)
	_, err = s.Prepare(named(2), c.Now())
	wantError(t, err, "is prepared already")
	c.Advance(time.Hour - time.Second)
	_, err = s.Activate(c.Now())
	wantTooEarly(t, err, standin.Start.Add(time.Hour))
	c.Advance(time.Second)
	after, err = s.Activate(c.Now())
	s = try(t, after, err)
	if k, _ := s.In(Signing); k.ID != named(1).ID {
		t.Errorf("%+v", s)
	}

	// The time of the old key runs from when API servers ceased to sign with it,
	// not from the command.
	c.Advance(100 * time.Hour)
	_, _, err = s.Retire("", false, c.Now())
	wantError(t, err, "confirm first")
	after, err = s.Prepare(named(2), c.Now())
	s = try(t, after, err)
	c.Advance(time.Hour)
	_, err = s.Activate(c.Now())
	wantError(t, err, "confirm first")
	after, err = s.Confirm(c.Now())
	s = try(t, after, err)
	confirmed := c.Now()
	c.Advance(24*time.Hour - time.Second)
	_, _, err = s.Retire("", false, c.Now())
	wantTooEarly(t, err, confirmed.Add(24*time.Hour))
	c.Advance(time.Second)
	after, gone, err := s.Retire("", false, c.Now())
	s = try(t, after, err)
	if len(gone) != 1 || gone[0].ID != named(0).ID || len(s.Keys) != 2 {
		t.Errorf("%v gone, %+v", gone, s)
	}

	// A prepared key that is not wanted has signed nothing.
	after, gone, err = s.Retire(named(2).ID, false, c.Now())
	s = try(t, after, err)
	if len(gone) != 1 || len(s.Keys) != 1 {
		t.Errorf("%v gone, %+v", gone, s)
	}
}

// A key that others may know goes at once, by the operator's word alone.
func TestForcedRetirement(t *testing.T) {
	t.Parallel()
	c, s := standin.NewClock(standin.Start), begun()
	after, err := s.Prepare(named(1), c.Now())
	s = try(t, after, err)
	c.Advance(time.Hour)
	after, err = s.Activate(c.Now())
	s = try(t, after, err)
	after, gone, err := s.Retire("", true, c.Now())
	s = try(t, after, err)
	if len(gone) != 1 || gone[0].ID != named(0).ID || len(s.Keys) != 1 {
		t.Errorf("%v gone, %+v", gone, s)
	}
}

func TestStateCheck(t *testing.T) {
	t.Parallel()
	if err := begun().check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*State){
		"another scheme":     func(s *State) { s.Issuer = "http://oidc.example" },
		"no lifetime":        func(s *State) { s.MaxTokenLifetimeSeconds = 0 },
		"a negative lead":    func(s *State) { s.LeadSeconds = -1 },
		"no key":             func(s *State) { s.Keys = nil },
		"two sign":           func(s *State) { s.Keys = append(s.Keys, Key{ID: named(1).ID, Phase: Signing}) },
		"an unknown phase":   func(s *State) { s.Keys = append(s.Keys, Key{ID: named(1).ID, Phase: "retired"}) },
		"one key twice":      func(s *State) { s.Keys = append(s.Keys, Key{ID: named(0).ID, Phase: Replaced}) },
		"a path for its kid": func(s *State) { s.Keys[0].ID = "../" + strings.Repeat("a", 40) },
	} {
		s := begun()
		change(&s)
		if s.check() == nil {
			t.Errorf("%s: %+v passes", name, s)
		}
	}
}

// Whatever the order and the times of the steps, every token that an API server
// has signed is verified by a published key for as long as it lasts, and the key
// that signs was published for the lead before. API servers restart some time
// between a step and its confirmation.
func TestNoTokenIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now, s, made := standin.Start, begun(), 0
		s.MaxTokenLifetimeSeconds = rapid.Int64Range(600, 100_000).Draw(t, "lifetime")
		published := map[string]time.Time{named(0).ID: standin.Start.Add(-1000 * time.Hour)}
		signs := named(0).ID            // by which API servers do sign
		valid := map[string]time.Time{} // until when tokens by a key last
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 50_000).Draw(t, "seconds")) * time.Second)
			valid[signs] = now.Add(s.MaxTokenLifetime()) // a token is signed right now
			before := s
			var err error
			switch rapid.SampledFrom([]string{"prepare", "activate", "restart", "confirm", "retire", "retire prepared"}).Draw(t, "step") {
			case "prepare":
				if s, err = s.Prepare(named(made+1), now); err == nil {
					made++
					published[named(made).ID] = now
				}
			case "activate":
				s, err = s.Activate(now)
			case "restart":
				k, _ := s.In(Signing)
				if signs != k.ID && now.Sub(published[k.ID]) < s.lead() {
					t.Fatalf("%s signs after %s", k.ID, now.Sub(published[k.ID]))
				}
				signs = k.ID
			case "confirm": // by who has seen that the new key signs
				if k, _ := s.In(Signing); signs == k.ID {
					s, err = s.Confirm(now)
				}
			case "retire":
				s, _, err = s.Retire("", false, now)
			case "retire prepared":
				if k, ok := s.In(Prepared); ok {
					s, _, err = s.Retire(k.ID, false, now)
				}
			}
			if err != nil && fmt.Sprint(s) != fmt.Sprint(before) {
				t.Fatalf("a refused step changed %v to %v", before, s)
			}
			if err := s.check(); err != nil {
				t.Fatal(err)
			}
			for id, until := range valid {
				known := false
				for _, k := range s.Keys {
					known = known || k.ID == id
				}
				if !known && now.Before(until) {
					t.Fatalf("tokens by %s are good until %s, and it is gone at %s: %+v", id, until, now, s)
				}
			}
		}
	})
}
