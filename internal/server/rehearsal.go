package server

import (
	"fmt"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/imds"
)

// RehearsalConfig has the cloud behave as Azure does where that costs its users
// time: delays and throttles, each of which can be switched by itself, so that
// programs meet them before they meet Azure. What is not enabled costs nothing.
type RehearsalConfig struct {
	// CredentialPropagation delays federated credentials.
	CredentialPropagation CredentialPropagationConfig `json:"credentialPropagation"`
	// RoleAssignmentLag delays role assignments.
	RoleAssignmentLag RoleAssignmentLagConfig `json:"roleAssignmentLag"`
	// IMDSTokenCache keeps managed identities' tokens.
	IMDSTokenCache IMDSTokenCacheConfig `json:"imdsTokenCache"`
	// IMDSThrottle refuses too many requests to the metadata service.
	IMDSThrottle IMDSThrottleConfig `json:"imdsThrottle"`
	// ARMThrottle refuses too many requests to the Resource Manager.
	ARMThrottle ARMThrottleConfig `json:"armThrottle"`
}

// CredentialPropagationConfig delays federated credentials: the token service
// does not know a new or changed one for a while, and answers an assertion that
// it would accept with AADSTS70021 meanwhile. A removed one ends at once.
type CredentialPropagationConfig struct {
	// Enabled turns it on. Default: StrictAzure.
	Enabled *bool `json:"enabled"`
	// Delay is how long it takes, from when the credential was written.
	// Default: 2m, of the "seconds to minutes" that Azure documents.
	Delay Duration `json:"delay"`
}

// RoleAssignmentLagConfig delays role assignments: one that is made, changed or
// removed counts in decisions only after a while. What the first start itself
// makes is spared.
type RoleAssignmentLagConfig struct {
	// Enabled turns it on. Default: StrictAzure.
	Enabled *bool `json:"enabled"`
	// Delay is how long it takes. Default: 10m, the longest that Azure documents.
	Delay Duration `json:"delay"`
}

// IMDSTokenCacheConfig keeps managed identities' tokens, as the machines of
// Azure do: the metadata service hands out the token of an identity for a
// resource again and again, and what has changed of the identity shows when
// that ends. Tokens of managed identities then also carry the identity's groups,
// at most 200, and those are the ones that count.
type IMDSTokenCacheConfig struct {
	// Enabled turns it on. Default: StrictAzure.
	Enabled *bool `json:"enabled"`
	// Lifetime is how long a token is kept, at most until ten minutes before it
	// expires. Default: 24h.
	Lifetime Duration `json:"lifetime"`
}

// IMDSThrottleConfig refuses too many requests for tokens to the metadata
// service, with 429.
type IMDSThrottleConfig struct {
	// Enabled turns it on. Default: StrictAzure.
	Enabled *bool `json:"enabled"`
	// PerSecond is how many requests it takes in a second. Default: 20.
	PerSecond int `json:"perSecond"`
	// Concurrent is how many it takes at the same time. Default: 5.
	Concurrent int `json:"concurrent"`
}

// ARMThrottleConfig refuses too many requests to the Resource Manager, with 429
// and Retry-After: each principal's in a subscription (reads 250 at once and 25 a
// second, writes and deletes 200 and 10), and those on user-assigned identities
// and their federated credentials, for which Azure has narrower rates for each
// tenant, subscription and resource.
type ARMThrottleConfig struct {
	// Enabled turns it on. Default: StrictAzure.
	Enabled *bool `json:"enabled"`
}

// rehearsed is one part of a [RehearsalConfig]: its name in the file, its
// switch, and how long it takes, for those to which that applies.
type rehearsed struct {
	name     string
	enabled  **bool
	duration *Duration
	standard time.Duration
}

// parts are the parts in the order in which help lists them.
func (c *RehearsalConfig) parts() []rehearsed {
	return []rehearsed{
		{"credentialPropagation", &c.CredentialPropagation.Enabled, &c.CredentialPropagation.Delay, 2 * time.Minute},
		{"roleAssignmentLag", &c.RoleAssignmentLag.Enabled, &c.RoleAssignmentLag.Delay, 10 * time.Minute},
		{"imdsTokenCache", &c.IMDSTokenCache.Enabled, &c.IMDSTokenCache.Lifetime, 24 * time.Hour},
		{"imdsThrottle", &c.IMDSThrottle.Enabled, nil, 0},
		{"armThrottle", &c.ARMThrottle.Enabled, nil, 0},
	}
}

// Rehearsals are the names that [RehearsalConfig.Enable] takes beside "all".
func Rehearsals() []string {
	var names []string
	for _, p := range new(RehearsalConfig).parts() {
		names = append(names, p.name)
	}
	return names
}

// Enable turns on the part of a name in the file ("roleAssignmentLag"), in any
// case, or "all". A part that takes time may be given how long after an equals
// sign: "roleAssignmentLag=30s".
func (c *RehearsalConfig) Enable(spec string) error {
	name, text, timed := strings.Cut(spec, "=")
	on, known := true, false
	for _, p := range c.parts() {
		if !azure.EqualFold(name, p.name) && (timed || !azure.EqualFold(name, "all")) {
			continue
		}
		known = true
		*p.enabled = &on
		if !timed {
			continue
		}
		if p.duration == nil {
			return fmt.Errorf("%s takes no time: leave out %q", p.name, "="+text)
		}
		if err := p.duration.UnmarshalText([]byte(text)); err != nil || *p.duration <= 0 {
			return fmt.Errorf("%s: %q is no positive duration such as 90s", p.name, text)
		}
	}
	if !known {
		return fmt.Errorf("%q is nothing to rehearse: want all, %s", name, strings.Join(Rehearsals(), ", "))
	}
	return nil
}

// Hurry turns off the parts that take time and are not turned on, also where
// Config.StrictAzure is set.
func (c *RehearsalConfig) Hurry() {
	off := false
	for _, p := range c.parts() {
		if p.duration != nil && *p.enabled == nil {
			*p.enabled = &off
		}
	}
}

// complete fills in the defaults and checks the fields.
func (c *RehearsalConfig) complete(strict bool, bad func(field, format string, args ...any)) {
	for _, p := range c.parts() {
		if *p.enabled == nil {
			*p.enabled = &strict
		}
		if p.duration == nil {
			continue
		}
		setDefault(p.duration, Duration(p.standard))
		if *p.duration < 0 {
			bad("rehearsal."+p.name, "%s: want a positive duration", time.Duration(*p.duration))
		}
	}
	setDefault(&c.IMDSThrottle.PerSecond, imds.AzureLimits.PerSecond)
	setDefault(&c.IMDSThrottle.Concurrent, imds.AzureLimits.Concurrent)
	if c.IMDSThrottle.PerSecond < 0 || c.IMDSThrottle.Concurrent < 0 {
		bad("rehearsal.imdsThrottle", "want positive numbers")
	}
}

// The values below are those of a completed configuration, zero where a part is
// off.

func (c *RehearsalConfig) credentialPropagation() time.Duration {
	return ifEnabled(c.CredentialPropagation.Enabled, time.Duration(c.CredentialPropagation.Delay))
}

func (c *RehearsalConfig) roleAssignmentLag() time.Duration {
	return ifEnabled(c.RoleAssignmentLag.Enabled, time.Duration(c.RoleAssignmentLag.Delay))
}

func (c *RehearsalConfig) imdsTokenCache() time.Duration {
	return ifEnabled(c.IMDSTokenCache.Enabled, time.Duration(c.IMDSTokenCache.Lifetime))
}

func (c *RehearsalConfig) imdsLimits() imds.Limits {
	return ifEnabled(c.IMDSThrottle.Enabled, imds.Limits{PerSecond: c.IMDSThrottle.PerSecond, Concurrent: c.IMDSThrottle.Concurrent})
}

func (c *RehearsalConfig) armThrottle() bool { return ifEnabled(c.ARMThrottle.Enabled, true) }

func ifEnabled[T any](enabled *bool, value T) T {
	if *enabled {
		return value
	}
	var zero T
	return zero
}
