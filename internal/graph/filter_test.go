package graph

import (
	"errors"
	"strings"
	"testing"
)

// sample is the object that filters are tried on.
var sample = map[string]any{
	"displayName": "O'Hara's Shop", "appId": "0000-AA", "accountEnabled": true, "description": nil,
	"names": []string{"api://shop", "https://shop.example"}, "none": []string{},
}

var sampleNames = []string{"displayName", "appId", "accountEnabled", "description", "names", "none"}

func TestFilter(t *testing.T) {
	for text, want := range map[string]bool{
		`displayName eq 'O''Hara''s Shop'`:                                 true,
		`displayName eq 'o''hara''s SHOP'`:                                 true, // as Graph compares
		`displayName eq 'O'`:                                               false,
		`displayName ne 'O'`:                                               true,
		`DISPLAYNAME EQ 'o''hara''s shop'`:                                 true,
		`startswith(displayName,'O''h')`:                                   true,
		`startsWith( displayName , 'hara' )`:                               false,
		`endswith(displayName,'shop')`:                                     true,
		`startswith(displayName,'')`:                                       true,
		`appId eq '0000-aa'`:                                               true,
		`appId in ('x','0000-AA')`:                                         true,
		`appId in ('x')`:                                                   false,
		`accountEnabled eq true`:                                           true,
		`accountEnabled eq false`:                                          false,
		`accountEnabled eq 'true'`:                                         false,
		`description eq null`:                                              true,
		`description ne null`:                                              false,
		`displayName eq null`:                                              false,
		`names/any(x:x eq 'API://shop')`:                                   true,
		`names/any(c:startswith(c,'https:'))`:                              true,
		`names/any(s:s eq 'nothing')`:                                      false,
		`none/any(x:x ne 'y')`:                                             false,
		`displayName/any(x:x eq 'O')`:                                      false, // no list
		`names eq 'api://shop'`:                                            false, // a list is no text
		`not (appId eq 'x')`:                                               true,
		`not appId eq '0000-aa'`:                                           false,
		`not not appId eq '0000-aa'`:                                       true,
		`appId eq 'x' or appId eq '0000-aa' and accountEnabled eq false`:   false,
		`appId eq '0000-aa' or appId eq 'x' and accountEnabled eq false`:   true, // and binds closer
		`(appId eq '0000-aa' or appId eq 'x') and accountEnabled eq false`: false,
		`names/any(x:x eq 'a' or startswith(x,'api') and not (x eq 'b'))`:  true,
		"\tappId\teq\t'0000-aa' ":                                          true,
		`displayName eq '\u212aelvin'`:                                     false,
		`((((appId eq '0000-aa'))))`:                                       true,
		`names/any(appId:appId eq 'api://shop')`:                           true, // the variable hides the property
		`startswith(displayName,'O') and names/any(x:x eq 'api://shop') and not (appId eq '')`: true,
	} {
		f, err := parseFilter(text, "Application", sampleNames)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := f.holds(func(name string) any { return sample[name] }); got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "a property or a function is expected at ''",
		"appId":                                  "an operator is expected after 'appId'",
		"appId eq":                               "a string literal in single quotes, true, false or null is expected at ''",
		"appId eq x":                             "a string literal in single quotes, true, false or null is expected at 'x'",
		"appId eq 'x":                            "there is an unterminated string literal",
		"appId eq 'x' and":                       "a property or a function is expected at ''",
		"appId eq 'x' 'y'":                       "'y' is not expected",
		"appId is 'x'":                           "'is' is no operator",
		"(appId eq 'x'":                          "')' is expected at ''",
		"appId eq 'x')":                          "')' is not expected",
		"'x' eq appId":                           "a property or a function is expected at 'x'",
		"appId in 'x'":                           "'(' is expected at 'x'",
		"appId in ()":                            "a string literal in single quotes, true, false or null is expected at ')'",
		"startswith(appId)":                      "',' is expected at ')'",
		"startswith(appId,true)":                 "a string literal is expected at 'true'",
		"startswith('x',appId)":                  "a property is expected at 'x'",
		"names/any()":                            "a variable is expected at ')'",
		"names/any(x eq 'y')":                    "':' is expected at 'eq'",
		"names/any(1:1 eq 'y')":                  "a variable is expected at '1'",
		strings.Repeat("(", 21) + "appId eq 'x'": "the expression is nested deeper than 20 levels",
		strings.Repeat("not ", 21) + "appId eq ''": "the expression is nested deeper than 20 levels",
		strings.Repeat(" ", 8193):                  "the expression is longer than 8192 bytes",
	} {
		if _, err := parseFilter(text, "Application", sampleNames); err == nil || err.Error() != want {
			t.Errorf("%.60q: got %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"secret eq 'x'":                          "Unsupported or invalid query filter clause specified for property 'secret' of resource 'Application'.",
		"names/any(x:appId eq 'y')":              "Complex query on property 'appId' is not supported.",
		"names/any(x:x/keyId eq 'y')":            "Complex query on property 'x/keyId' is not supported.",
		"names/any(x:none/any(y:y eq 'z'))":      "Unsupported property filter clause operator 'Any' inside of another.",
		"names/all(x:x eq 'y')":                  "Unsupported property filter clause operator 'names/all'.",
		"contains(appId,'x')":                    "Unsupported property filter clause operator 'contains'.",
		"appId gt 'x'":                           "Unsupported property filter clause operator 'gt'.",
		"displayName/x eq 'y'":                   "Unsupported or invalid query filter clause specified for property 'displayName/x' of resource 'Application'.",
		"appId eq 'x' or secret/any(x:x eq 'y')": "Unsupported or invalid query filter clause specified for property 'secret' of resource 'Application'.",
	} {
		_, err := parseFilter(text, "Application", sampleNames)
		if unsupported, ok := errors.AsType[unsupportedError](err); !ok || unsupported.what != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
