package directory

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestExpression(t *testing.T) {
	t.Parallel()
	github := map[string]any{
		"sub": "repo:contoso/shop:ref:refs/heads/main", "repository_id": "456789",
		"job_workflow_ref": "contoso/ops/.github/workflows/deploy.yml@refs/heads/main",
		"quoted":           "it's 'so'", "stars": "a*b?c", "empty": "", "unicode": "straße",
		"number": 7.0, "yes": true, "null": nil, "list": []any{"a"}, "map": map[string]any{"sub": "a"},
	}
	for _, tt := range []struct {
		expression string
		want       bool
	}{
		{"claims['sub'] eq 'repo:contoso/shop:ref:refs/heads/main'", true},
		{"claims['sub'] eq 'repo:contoso/shop:ref:refs/heads/Main'", false},
		{"claims['sub'] eq 'repo:contoso/shop:ref:refs/heads/main '", false},
		{"claims['sub'] eq 'repo:contoso/shop:ref:refs/heads/*'", false}, // no pattern
		{"claims['sub'] matches 'repo:contoso/shop:ref:refs/heads/main'", true},
		{"claims['sub'] matches 'repo:contoso/shop:ref:refs/heads/*'", true},
		{"claims['sub'] matches 'repo:contoso/*'", true},
		{"claims['sub'] matches 'repo:contoso*'", true},
		{"claims['sub'] matches 'repo:Contoso/*'", false},
		{"claims['sub'] matches 'repo:contos/*'", false},
		{"claims['sub'] matches 'contoso/*'", false}, // from the beginning
		{"claims['sub'] matches '*heads/mai'", false},
		{"claims['sub'] matches '*:ref:refs/heads/????'", true},
		{"claims['sub'] matches '*:ref:refs/heads/???'", false},
		{"claims['sub'] matches '*:ref:refs/heads/?????'", false},
		{"claims['sub'] matches 'repo:*:ref:refs/heads/main'", true},
		{"claims['sub'] matches 'repo:*:ref:*:ref:*'", false}, // once only
		{"claims['sub'] matches '***main***'", true},
		{"claims['sub'] matches 'repo:contoso/shop:ref:refs/heads/main*'", true}, // or none
		{"claims['sub'] matches 'repo:contoso/shop:ref:refs/heads/main?'", false},
		{"claims['sub'] matches 'repo:contoso/sh*hop:ref:refs/heads/main'", false}, // no overlap
		{"claims['sub'] matches 'repo.contoso/*'", false},                          // no regular expression
		{"claims['sub'] matches '(repo|x):*'", false},
		{"claims['sub'] matches 'repo:*' and claims['repository_id'] eq '456789'", true},
		{"claims['sub'] matches 'repo:*' and claims['repository_id'] eq '45678'", false},
		{"claims['sub'] matches 'rope:*' and claims['repository_id'] eq '456789'", false},
		{"claims['sub'] matches '*' and claims['repository_id'] eq '456789'", true},
		{"claims['sub'] matches 'repo:*' and claims['sub'] matches '*main'", true},
		{"claims['sub'] matches 'repo:*' and claims['sub'] matches '*dev'", false},
		{"claims['job_workflow_ref'] matches 'contoso/ops/.github/workflows/*@refs/heads/main'", true},
		{"claims['missing'] eq 'a'", false},
		{"claims['missing'] matches '*' and claims['repository_id'] eq '456789'", false},
		{"claims['Sub'] matches 'repo:*'", false}, // names have case too
		{"claims['quoted'] eq 'it''s ''so'''", true},
		{"claims['quoted'] matches 'it''s*'", true},
		{"claims['stars'] eq 'a*b?c'", true},
		{"claims['unicode'] matches 'stra?e'", true}, // a character, not a byte
		{"claims['unicode'] eq 'strasse'", false},
		{"claims['empty'] matches '?*a'", false},
	} {
		e, err := ParseExpression(tt.expression)
		if err != nil {
			t.Errorf("%s: %v", tt.expression, err)
			continue
		}
		if got, err := e.Match(github); got != tt.want || err != nil {
			t.Errorf("%s: %v, %v", tt.expression, got, err)
		}
	}
	for _, claim := range []string{"number", "yes", "null", "list", "map"} {
		for _, condition := range []string{"eq '7'", "matches '*7*'", "eq 'true'", "eq 'a'"} {
			e, err := ParseExpression("claims['" + claim + "'] " + condition)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := e.Match(github); got || err == nil || !strings.Contains(err.Error(), `the claim "`+claim+`" is not a string`) {
				t.Errorf("claims['%s'] %s: %v, %v", claim, condition, got, err)
			}
		}
	}
	if ok, err := new(Expression).Match(github); ok || err != nil {
		t.Errorf("the zero expression: %v, %v", ok, err)
	}
}

func TestParseExpressionRefusals(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"":                                                     "expected claims['name'] (at character 1)",
		" claims['sub'] eq 'a'":                                "expected claims['name'] (at character 1)",
		"sub eq 'a'":                                           "expected claims['name'] (at character 1)",
		"Claims['sub'] eq 'a'":                                 "expected claims['name'] (at character 1)",
		"not claims['sub'] eq 'a'":                             "expected claims['name'] (at character 1)",
		"(claims['sub'] eq 'a')":                               "expected claims['name'] (at character 1)",
		`claims["sub"] eq 'a'`:                                 "expected claims['name'] (at character 1)",
		"claims[‘sub’] eq ‘a’":                                 "expected claims['name'] (at character 1)",
		"claims[''] eq 'a'":                                    "expected the name of a claim and a quote (at character 9)",
		"claims['sub":                                          "expected the name of a claim and a quote (at character 9)",
		"claims['a b'] eq 'a'":                                 "expected the name of a claim and a quote (at character 9)",
		"claims['a]'] eq 'a'":                                  "expected the name of a claim and a quote (at character 9)",
		"claims['sübject'] eq 'a'":                             "expected the name of a claim and a quote (at character 9)",
		"claims['a\x00'] eq 'a'":                               "expected the name of a claim and a quote (at character 9)",
		"claims['sub']":                                        "expected '] and a space (at character 12)",
		"claims['sub'].x eq 'a'":                               "expected '] and a space (at character 12)",
		"claims['sub']eq 'a'":                                  "expected '] and a space (at character 12)",
		"claims['sub']\teq 'a'":                                "expected '] and a space (at character 12)",
		"claims['sub'] ":                                       "expected eq or matches and a space (at character 15)",
		"claims['sub']  eq 'a'":                                "expected eq or matches and a space (at character 15)",
		"claims['sub'] EQ 'a'":                                 "expected eq or matches and a space (at character 15)",
		"claims['sub'] ne 'a'":                                 "expected eq or matches and a space (at character 15)",
		"claims['sub'] == 'a'":                                 "expected eq or matches and a space (at character 15)",
		"claims['sub'] startswith 'a'":                         "expected eq or matches and a space (at character 15)",
		"claims['sub'] eq":                                     "expected eq or matches and a space (at character 15)",
		"claims['sub'] eq ":                                    "expected a value in single quotes (at character 18)",
		"claims['sub'] eq  'a'":                                "expected a value in single quotes (at character 18)",
		"claims['sub'] eq a":                                   "expected a value in single quotes (at character 18)",
		`claims['sub'] eq "a"`:                                 "expected a value in single quotes (at character 18)",
		"claims['sub'] eq claims['sub']":                       "expected a value in single quotes (at character 18)",
		"claims['sub'] eq 'a":                                  "the quote is not closed (at character 18)",
		"claims['sub'] eq 'a''":                                "the quote is not closed (at character 18)",
		"claims['sub'] eq ''":                                  "the value is empty or no text (at character 18)",
		"claims['sub'] eq '\xff'":                              "the value is empty or no text (at character 18)",
		"claims['sub'] eq 'a' ":                                "expected ' and ' or the end (at character 21)",
		"claims['sub'] eq 'a'b'":                               "expected ' and ' or the end (at character 21)",
		"claims['sub'] eq 'a' or claims['x'] eq":               "expected ' and ' or the end (at character 21)",
		"claims['sub'] eq 'a'  and claims['x']":                "expected ' and ' or the end (at character 21)",
		"claims['sub'] eq 'a' AND claims['x']":                 "expected ' and ' or the end (at character 21)",
		"claims['sub'] eq 'a' and ":                            "expected claims['name'] (at character 26)",
		"claims['sub'] eq 'a' and  claims['x']":                "expected claims['name'] (at character 26)",
		"claims['sub'] matches '*'":                            "it matches every token of the issuer (at character 1)",
		"claims['sub'] matches '?*??'":                         "it matches every token of the issuer (at character 1)",
		"claims['a'] matches '*' and claims['b'] matches '**'": "it matches every token of the issuer (at character 1)",
		strings.Repeat("claims['a'] eq 'b' and ", 10) + "x":    "it has more than 10 conditions (at character 226)",
	} {
		e, err := ParseExpression(expression)
		if fault, ok := errors.AsType[*ExpressionError](err); e != nil || !ok || fault.Error() != want {
			t.Errorf("%q: got %v, want %s", expression, err, want)
		}
	}
	if _, err := ParseExpression(strings.Repeat("claims['a'] eq 'b' and ", 9) + "claims['a'] eq 'b'"); err != nil {
		t.Errorf("ten conditions: %v", err)
	}
}

// A claim is only compared, never read: nothing in it can end the expression
// and go on with another.
func TestExpressionInjection(t *testing.T) {
	t.Parallel()
	e, err := ParseExpression("claims['sub'] eq 'repo:contoso/shop' and claims['repository_id'] eq '1'")
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{
		"repo:contoso/shop' and claims['repository_id'] eq '1", "repo:contoso/shop'", "' or '1' eq '1", "*", "repo:contoso/*",
		"repo:contoso/shop\x00", "repo:contoso/shop\n", "repo:contoso/sho\u200bp",
	} {
		if ok, _ := e.Match(map[string]any{"sub": sub, "repository_id": "1"}); ok {
			t.Errorf("%q matched", sub)
		}
	}
}

// Patterns and values on which a matcher that goes back tries for ages: with
// one try for each place, this test is over at once; otherwise it never is.
func TestExpressionBlowup(t *testing.T) {
	t.Parallel()
	value := strings.Repeat("a", maxCredentialText)
	for _, text := range []string{
		strings.Repeat("a*", 250) + "b",
		strings.Repeat("*a", 250) + "b*",
		strings.Repeat("?*", 280) + "b",
		"*" + strings.Repeat("a", 280) + "b*" + strings.Repeat("?", 280) + "*",
	} {
		e, err := ParseExpression("claims['sub'] matches '" + text + "'")
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if ok, _ := e.Match(map[string]any{"sub": value}); ok {
				t.Fatalf("%s matched", text)
			}
		}
	}
	// A longer value is no subject, and not even looked at.
	e, err := ParseExpression("claims['sub'] matches 'a*'")
	if err != nil {
		t.Fatal(err)
	}
	for length, want := range map[int]bool{600: true, 601: false, 1 << 14: false} {
		if ok, err := e.Match(map[string]any{"sub": strings.Repeat("ä", length-1) + "a"}); ok || err != nil {
			t.Errorf("%d characters: %v, %v", length, ok, err)
		}
		if ok, err := e.Match(map[string]any{"sub": strings.Repeat("a", length)}); ok != want || err != nil {
			t.Errorf("%d characters: %v, %v", length, ok, err)
		}
	}
}

// oracle is the regular expression that a pattern stands for.
func oracle(text string) *regexp.Regexp {
	var b strings.Builder
	for _, r := range text {
		switch r {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile(`(?s)\A` + b.String() + `\z`)
}

func TestPatternAgainstOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// Few characters, so that much of it nearly matches.
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab:ä**??\n")), 0, 12, -1).Draw(t, "pattern")
		value := rapid.StringOfN(rapid.SampledFrom([]rune("ab:ä*\n")), 0, 14, -1).Draw(t, "value")
		if got, want := newPattern(text).matches(value), oracle(text).MatchString(value); got != want {
			t.Fatalf("%q matches %q: %v, want %v", text, value, got, want)
		}
	})
}

// FuzzExpression: an expression either does not parse, or its conditions, put
// together again, are it; and a token matches only if each holds.
func FuzzExpression(f *testing.F) {
	f.Add("claims['sub'] eq 'a'", `{"sub":"a"}`)
	f.Add("claims['sub'] matches 'repo:contoso/*' and claims['repository_id'] eq '1'", `{"sub":"repo:contoso/x","repository_id":"1"}`)
	f.Add("claims['sub'] eq 'it''s' and claims['x'] matches '''*'", `{"sub":"it's","x":"'"}`)
	f.Add("claims['sub'] eq 'a' and ", `{"sub":["a"]}`)
	f.Add("claims['sub'] matches '*a?*'", `{"sub":{"sub":"a"}}`)
	f.Add("claims['", `null`)
	f.Fuzz(func(t *testing.T, text, token string) {
		e, err := ParseExpression(text)
		if err != nil {
			fault, ok := errors.AsType[*ExpressionError](err)
			if !ok || fault.Offset < 0 || fault.Offset > len(text) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		var again []string
		for _, c := range e.conditions {
			again = append(again, "claims['"+c.claim+"'] "+c.operator+" '"+strings.ReplaceAll(c.comparand, "'", "''")+"'")
		}
		if strings.Join(again, " and ") != text {
			t.Fatalf("%q was read as %q", text, again)
		}
		var claims map[string]any
		if json.Unmarshal([]byte(token), &claims) != nil {
			return
		}
		got, err := e.Match(claims)
		want := true
		for _, c := range e.conditions {
			value, ok := claims[c.claim].(string)
			switch {
			case !ok || utf8.RuneCountInString(value) > maxCredentialText:
				want = false
			case c.operator == opEqual:
				want = want && value == c.comparand
			default:
				want = want && oracle(c.comparand).MatchString(value)
			}
		}
		if got != want || got && err != nil {
			t.Fatalf("%q on %q: %v, %v, want %v", text, token, got, err, want)
		}
	})
}
