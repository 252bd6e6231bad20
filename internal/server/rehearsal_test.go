package server

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/imds"
)

// rehearses is what a completed configuration comes to.
type rehearses struct {
	Propagation, Lag, Cache time.Duration
	Limits                  imds.Limits
	Throttle                bool
}

func TestRehearsal(t *testing.T) {
	azures := rehearses{2 * time.Minute, 10 * time.Minute, 24 * time.Hour, imds.AzureLimits, true}
	for name, test := range map[string]struct {
		yaml string
		want rehearses
	}{
		"nothing by default": {"", rehearses{}},
		"all of it, strictly": {
			"strictAzure: true", azures},
		"one of them": {
			"rehearsal: {roleAssignmentLag: {enabled: true}}", rehearses{Lag: 10 * time.Minute}},
		"one of them, at another pace": {
			"rehearsal: {credentialPropagation: {enabled: true, delay: 30s}}", rehearses{Propagation: 30 * time.Second}},
		"a pace alone turns nothing on": {
			"rehearsal: {credentialPropagation: {delay: 30s}}", rehearses{}},
		"strict, with exceptions": {
			"strictAzure: true\nrehearsal: {armThrottle: {enabled: false}, imdsTokenCache: {lifetime: 1h}, imdsThrottle: {enabled: false}, " +
				"roleAssignmentLag: {enabled: false}, credentialPropagation: {enabled: false}}",
			rehearses{Cache: time.Hour}},
		"narrower": {
			"rehearsal: {imdsThrottle: {enabled: true, perSecond: 2}}", rehearses{Limits: imds.Limits{PerSecond: 2, Concurrent: 5}}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := ParseConfig([]byte("dataDir: data\n" + test.yaml))
			if err != nil {
				t.Fatal(err)
			}
			cfg.OwnSealingKey = true
			if cfg, err = cfg.complete(); err != nil {
				t.Fatal(err)
			}
			r := &cfg.Rehearsal
			got := rehearses{r.credentialPropagation(), r.roleAssignmentLag(), r.imdsTokenCache(), r.imdsLimits(), r.armThrottle()}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("it rehearses (-want +got):\n%s", diff)
			}
		})
	}
	for yaml, want := range map[string]string{
		"rehearsal: {roleAssignmentLag: {delay: -1s}}":      "rehearsal.roleAssignmentLag",
		"rehearsal: {imdsThrottle: {concurrent: -1}}":       "rehearsal.imdsThrottle",
		"rehearsal: {roleAssignmentlag: {enabled: true}}":   `did you mean "roleAssignmentLag"`,
		"rehearsal: {imdsTokenCache: {delay: 1s}}":          `"rehearsal.imdsTokenCache.delay"`,
		"rehearsal: {armThrottle: {enabled: often}}":        "want true or false",
		"rehearsal: {credentialPropagation: {delay: soon}}": "soon",
		"testClock: true": `"testClock"`,
	} {
		cfg, err := ParseConfig([]byte("dataDir: data\n" + yaml))
		if err == nil {
			_, err = cfg.complete()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", yaml, err, want)
		}
	}
}

func TestEnableRehearsal(t *testing.T) {
	complete := func(specs ...string) (rehearses, error) {
		var r RehearsalConfig
		for _, spec := range specs {
			if err := r.Enable(spec); err != nil {
				return rehearses{}, err
			}
		}
		r.complete(false, func(field, format string, args ...any) { t.Errorf(field+": "+format, args...) })
		return rehearses{r.credentialPropagation(), r.roleAssignmentLag(), r.imdsTokenCache(), r.imdsLimits(), r.armThrottle()}, nil
	}
	for specs, want := range map[string]rehearses{
		"all":         {2 * time.Minute, 10 * time.Minute, 24 * time.Hour, imds.AzureLimits, true},
		"ARMTHROTTLE": {Throttle: true},
		"roleAssignmentLag=30s credentialPropagation": {Propagation: 2 * time.Minute, Lag: 30 * time.Second},
		"all imdsTokenCache=1h":                       {2 * time.Minute, 10 * time.Minute, time.Hour, imds.AzureLimits, true},
	} {
		got, err := complete(strings.Fields(specs)...)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", specs, err, diff)
		}
	}
	for spec, want := range map[string]string{
		"":                      "want all, credentialPropagation, roleAssignmentLag, imdsTokenCache, imdsThrottle, armThrottle",
		"everything":            "nothing to rehearse",
		"all=1s":                "nothing to rehearse",
		"armThrottle=1s":        "takes no time",
		"roleAssignmentLag=":    "no positive duration",
		"roleAssignmentLag=0s":  "no positive duration",
		"roleAssignmentLag=-1s": "no positive duration",
	} {
		if _, err := complete(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", spec, err, want)
		}
	}
}
