package main

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The hashes were reckoned by sha256sum and basenc --base64url.
func TestAccountNames(t *testing.T) {
	n := accountNames{namespace: "shop", account: "web", issuer: "https://oidc.example/prod/"}
	got := []string{n.application(), n.credential(), n.identityCredential(), n.subject()}
	want := []string{
		"shop-web-HyOSmA37_knUW0g73_LyWn9IWo8DtHPGG0-7fvzpw0U=", "gxsKoQnvTFk_DlPOqMyjS94Tj_HJLyJHhP7TSaqdM9c=", "sa-gxsKoQnvTFk_DlPOqMyjS94Tj_HJLyJHhP7TSaqdM9c",
		"system:serviceaccount:shop:web",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Whatever the hash begins with, the Resource Manager accepts the name.
	legal := regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}$`)
	for _, account := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		n.account = account
		if name := n.identityCredential(); !legal.MatchString(name) {
			t.Errorf("%s is no name of a credential", name)
		}
	}
}

func TestAccountNamesAreKubernetes(t *testing.T) {
	for name, valid := range map[string]bool{
		"web": true, "w": true, "web-1": true, "a.b-c.d": true, strings.Repeat("a", 253): true,
		"": false, "Web": false, "-web": false, "web-": false, "a:b": false, "a/b": false, "a..b": false, "a b": false, "web\n": false, strings.Repeat("a", 254): false,
	} {
		if err := (accountNames{namespace: "shop", account: name}).check(); (err == nil) != valid {
			t.Errorf("the service account %q: %v", name, err)
		}
	}
	for name, valid := range map[string]bool{
		"shop": true, "s-1": true, strings.Repeat("a", 63): true,
		"": false, "a.b": false, "a:b": false, "Shop": false, strings.Repeat("a", 64): false,
	} {
		if err := (accountNames{namespace: name, account: "web"}).check(); (err == nil) != valid {
			t.Errorf("the namespace %q: %v", name, err)
		}
	}
}

func TestPhaseOrder(t *testing.T) {
	for _, test := range []struct {
		all  []accountPhase
		skip []string
		want []string
	}{
		{createPhases(), nil, []string{"aad-application", "service-account", "federated-identity", "role-assignment"}},
		{deletePhases(), nil, []string{"role-assignment", "federated-identity", "service-account", "aad-application"}},
		{createPhases(), []string{"ra", "aad-application"}, []string{"service-account", "federated-identity"}},
		{deletePhases(), []string{"sa", "fi"}, []string{"role-assignment", "aad-application"}},
	} {
		got, err := selectPhases(test.all, test.skip)
		if diff := cmp.Diff(test.want, phaseNames(got)); diff != "" || err != nil {
			t.Errorf("without %v: %v %s", test.skip, err, diff)
		}
	}
	if _, err := selectPhases(createPhases(), []string{"roles"}); err == nil || !strings.Contains(err.Error(), "aad-application, service-account, federated-identity, role-assignment") {
		t.Errorf("an unknown phase: %v", err)
	}
	if _, err := selectPhases(createPhases(), []string{"app", "sa", "fi", "ra"}); err == nil {
		t.Error("no phase is left, and that is no error")
	}
}

// scripted is a phase that finds what it is told to, and notes that it acted.
func scripted(name string, found outcome, err error, acted *[]string) accountPhase {
	return accountPhase{name: name, check: func(*accountRun) error { return nil }, look: func(context.Context, *accountRun) (accountChange, error) {
		change := accountChange{outcome: found, resource: "the " + name}
		if found != outcomeExists && found != outcomeAbsent {
			change.apply = func(context.Context) (string, error) {
				*acted = append(*acted, name)
				return "the " + name + " itself", err
			}
		}
		return change, nil
	}}
}

func TestRunPhases(t *testing.T) {
	for _, test := range []struct {
		name  string
		dry   bool
		fails error
		want  []accountStep
		acted []string
	}{
		{"all", false, nil, []accountStep{
			{"one", "exists", "the one", ""}, {"two", "created", "the two itself", ""}, {"three", "changed", "the three itself", ""}, {"four", "deleted", "the four itself", ""},
		}, []string{"two", "three", "four"}},
		{"a plan", true, errors.New("never"), []accountStep{
			{"one", "exists", "the one", ""}, {"two", "create", "the two", ""}, {"three", "change", "the three", ""}, {"four", "delete", "the four", ""},
		}, nil},
		{"the third fails", false, errors.New("out of order"), []accountStep{
			{"one", "exists", "the one", ""}, {"two", "created", "the two itself", ""}, {"three", "failed", "the three itself", "out of order"},
		}, []string{"two", "three"}},
	} {
		var acted []string
		var told []accountStep
		steps, err := runPhases(t.Context(), []accountPhase{
			scripted("one", outcomeExists, nil, &acted), scripted("two", outcomeCreate, nil, &acted),
			scripted("three", outcomeChange, test.fails, &acted), scripted("four", outcomeDelete, nil, &acted),
		}, nil, test.dry, func(s accountStep) { told = append(told, s) })
		if diff := cmp.Diff(test.want, steps); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		if diff := cmp.Diff(test.acted, acted); diff != "" {
			t.Errorf("%s acted: %s", test.name, diff)
		}
		if failed := test.fails != nil && !test.dry; (err != nil) != failed || failed && !errors.Is(err, test.fails) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err != nil {
			if want := "phase three: out of order; before it: one (exists), two (created). The same command goes on from here"; !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %q", err, want)
			}
			steps = steps[:len(steps)-1]
		}
		if diff := cmp.Diff(steps, told); diff != "" {
			t.Errorf("%s told: %s", test.name, diff)
		}
	}
}

// A credential of the same tokens for another audience is in the way, and those
// of others are kept apart.
func TestMatchingCredentials(t *testing.T) {
	n := accountNames{namespace: "shop", account: "web", issuer: "https://oidc.example/prod"}
	own := accountCredential{name: "own", issuer: n.issuer, subject: n.subject(), audiences: []string{exchangeAudience}}
	slash, other := own, own
	slash.name, slash.issuer = "slash", n.issuer+"/"
	other.name, other.subject = "other", n.subject()+"-2"
	found, rest, err := matching([]accountCredential{slash, own, other}, n)
	if err != nil || found == nil || found.name != "own" || len(rest) != 2 {
		t.Errorf("%v, %v, %v", found, rest, err)
	}
	if found, _, err = matching([]accountCredential{slash, other}, n); found != nil || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	own.audiences = []string{"https://example.com"}
	if found, _, err = matching([]accountCredential{own}, n); found == nil || err == nil || !strings.Contains(err.Error(), "delete it first") {
		t.Errorf("%v, %v", found, err)
	}
}
