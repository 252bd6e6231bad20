package rbac

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

const (
	owner  = azure.RoleOwner
	reader = azure.RoleReader
)

func conditionFixture() *conditionInput {
	return &conditionInput{
		action: azure.Fold("Microsoft.Authorization/roleAssignments/write"),
		request: map[string][]string{
			"Microsoft.Authorization/roleAssignments:RoleDefinitionId": {reader},
			"Microsoft.Authorization/roleAssignments:PrincipalType":    {"ServicePrincipal"},
			SubOperation: {"Blob.List"},
			"a:empty":    {},
			"a:number":   {"10"},
			"a:numbers":  {"10", "20"},
			"a:colors":   {"red", "blue"},
			"a:time":     {"2026-03-01T12:00:00Z"},
			"a:notguid":  {"owner"},
		},
		resource: map[string][]string{
			"Microsoft.Storage/containers:name":          {"logs"},
			"Microsoft.Storage/blobs:path":               {"readonly/a/b.txt"},
			"Microsoft.Storage/blobs/tags:Project":       {"Cascade"},
			"Microsoft.Storage/storageAccounts:isHns":    {"True"},
			"Microsoft.OperationalInsights/x:protection": {"General", "Protected"},
			"strange": {"a*b?c'd\\e"},
		},
		principal: map[string][]string{"Engineering:Project": {"Cascade"}},
		now:       time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
	}
}

func TestConditions(t *testing.T) {
	tests := []struct {
		text string
		want truth
	}{
		// Functions and connectives.
		{"ActionMatches{'Microsoft.Authorization/roleAssignments/*'}", yes},
		{"ActionMatches{'Microsoft.Authorization/roleDefinitions/*'}", no},
		{"ActionMatches{'Microsoft.Authorization/roleDefinitions/*', 'microsoft.authorization/roleassignments/WRITE'}", yes},
		{"!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})", no},
		{"not actionmatches {'Microsoft.KeyVault/*'}", yes},
		{"!!ActionMatches{'*'}", yes},
		{"SubOperationMatches{'blob.list'}", yes},
		{"ActionMatches{'*'} AND NOT SubOperationMatches{'Blob.List'}", no},
		{"@Request[subOperation] ForAnyOfAnyValues:StringEqualsIgnoreCase {'blob.list'}", yes},
		{"Exists @Request[a:number]", yes},
		{"Exists @Request[A:NUMBER]", yes},
		{"NOT Exists @Request[a:missing]", yes},
		{"Exists @Request[a:empty]", no},
		{"1 NumericEquals 1 && 2 numericequals 3", no},
		{"1 NumericEquals 1 || 2 NumericEquals 3", yes},
		{"1 NumericEquals 1 and 1 NumericEquals 1 AND 1 NumericEquals 1", yes},
		{"(1 NumericEquals 2 AND 1 NumericEquals 1) OR 1 NumericEquals 1", yes},
		{"1 NumericEquals 2 AND (1 NumericEquals 1 OR 1 NumericEquals 1)", no},

		// The examples of Azure's documentation.
		{"{'red', 'blue'} ForAnyOfAnyValues:StringEquals {'blue', 'green'}", yes},
		{"{'red', 'blue'} ForAnyOfAnyValues:StringEquals {'orange', 'green'}", no},
		{"{'red', 'blue'} ForAllOfAnyValues:StringEquals {'orange', 'red', 'blue'}", yes},
		{"{'red', 'blue'} ForAllOfAnyValues:StringEquals {'red', 'green'}", no},
		{"{10, 20} ForAnyOfAllValues:NumericLessThan {15, 18}", yes},
		{"{10, 20} ForAllOfAllValues:NumericLessThan {5, 15, 18}", no},
		{"{10, 20} ForAllOfAllValues:NumericLessThan {25, 30}", yes},
		{"{10, 20} ForAllOfAllValues:NumericLessThan {15, 25, 30}", no},
		{"'abcd' StringLike 'a*c?'", yes},
		{"'abcd' StringLike 'A*C?'", no},
		{"'abcd' StringLikeIgnoreCase 'A*C?'", yes},
		{"'abcd' StringLike 'a*c'", no},

		// Texts.
		{"@Resource[Microsoft.Storage/containers:name] StringEquals 'logs'", yes},
		{"@Resource[microsoft.storage/CONTAINERS:name] StringEquals 'logs'", yes},
		{"@Resource[Microsoft.Storage/containers:name] StringEquals 'Logs'", no},
		{"@Resource[Microsoft.Storage/containers:name] StringEqualsIgnoreCase 'LOGS'", yes},
		{"@Resource[Microsoft.Storage/containers:name] StringNotEquals 'logs'", no},
		{"@Resource[Microsoft.Storage/containers:name] StringNotEqualsIgnoreCase 'LOG'", yes},
		{"@Resource[Microsoft.Storage/blobs:path] StringStartsWith 'readonly/'", yes},
		{"@Resource[Microsoft.Storage/blobs:path] StringStartsWith 'Readonly/'", no},
		{"@Resource[Microsoft.Storage/blobs:path] StringStartsWithIgnoreCase 'Readonly/'", yes},
		{"@Resource[Microsoft.Storage/blobs:path] StringNotStartsWith 'private/'", yes},
		{"@Resource[Microsoft.Storage/blobs:path] StringLike 'readonly/*'", yes},
		{"@Resource[Microsoft.Storage/blobs:path] StringNotLike '*.txt'", no},
		{`@Resource[strange] StringEquals 'a*b?c\'d\\e'`, yes},
		{`@Resource[strange] StringLike 'a\*b\?c\'d\\e'`, yes},
		{`'axb?c' StringLike 'a\*b\?c'`, no},
		{"'\u212A' StringEqualsIgnoreCase 'k'", no}, // Kelvin sign
		{"@Principal[Engineering:Project] StringEquals @Resource[Microsoft.Storage/blobs/tags:Project<$key_case_sensitive$>]", yes},
		{"@Resource[microsoft.storage/blobs/tags:Project<$key_case_sensitive$>] StringEquals 'Cascade'", yes},
		{"@Resource[Microsoft.Storage/blobs/tags:project<$key_case_sensitive$>] StringEquals 'Cascade'", unknown},

		// Booleans, numbers, times, GUIDs.
		{"@Resource[Microsoft.Storage/storageAccounts:isHns] BoolEquals true", yes},
		{"@Resource[Microsoft.Storage/storageAccounts:isHns] boolnotequals TRUE", no},
		{"@Environment[isPrivateLink] BoolEquals true", no},
		{"@Request[a:number] NumericGreaterThanEquals 10", yes},
		{"@Request[a:number] NumericGreaterThan 10", no},
		{"@Request[a:number] NumericLessThanEquals -1", no},
		{"@Request[a:number] NumericNotEquals 11", yes},
		{"@Request[a:time] DateTimeEquals '2026-03-01T12:00:00.000Z'", yes},
		{"@Request[a:time] DateTimeLessThan '2026-03-01T12:00:00.0000001Z'", yes},
		{"@Environment[UtcNow] DateTimeGreaterThan '2026-04-30T23:59:59Z'", yes},
		{"@Environment[utcnow] DateTimeLessThanEquals '2026-04-30T23:59:59Z'", no},
		{"@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] GuidEquals " + reader, yes},
		{"@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] GuidEquals '" + strings.ToUpper(reader) + "'", yes},
		{"@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals{" + compact(reader) + "," + owner + "}", yes},
		{"@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAllValues:GuidNotEquals {" + owner + "}", yes},
		{"@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAllValues:GuidNotEquals {" + owner + ", " + compact(reader) + "}", no},
		{"@Request[Microsoft.Authorization/roleAssignments:PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {'User', 'serviceprincipal'}", yes},

		// Several values.
		{"@Request[a:colors] ForAnyOfAnyValues:StringEquals {'blue'}", yes},
		{"@Request[a:colors] ForAllOfAnyValues:StringEquals {'blue'}", no},
		{"@Request[a:colors] ForAllOfAllValues:StringNotEquals {'green', 'white'}", yes},
		{"@Resource[Microsoft.OperationalInsights/x:protection] ForAllOfAnyValues:StringEquals {'General', 'Protected'}", yes},
		{"@Request[a:number] StringEquals {'10'}", yes},
		{"@Request[a:numbers] NumericEquals 10", unknown},

		// What is absent satisfies nothing, and neither does its negation.
		{"@Request[a:missing] StringEquals 'x'", unknown},
		{"@Request[a:missing] StringNotEquals 'x'", unknown},
		{"NOT (@Request[a:missing] StringEquals 'x')", unknown},
		{"@Request[a:empty] ForAllOfAnyValues:StringEquals {'x'}", unknown},
		{"@Request[a:missing] ForAllOfAllValues:StringNotEquals {'x'}", unknown},
		{"'x' StringEquals @Resource[missing]", unknown},
		{"@Request[a:missing] StringEquals 'x' AND 1 NumericEquals 2", no},
		{"@Request[a:missing] StringEquals 'x' OR 1 NumericEquals 1", yes},
		{"@Request[a:notguid] GuidNotEquals " + owner, unknown},
		{"@Environment[Microsoft.Network/privateEndpoints] StringEquals 'x'", unknown},
		{"@Principal[missing] StringNotEquals 'x'", unknown},
	}
	for _, test := range tests {
		c, err := parseCondition(test.text)
		if err != nil {
			t.Errorf("%s\n\t%v", test.text, err)
			continue
		}
		if got := c.root.eval(conditionFixture()); got != test.want {
			t.Errorf("%s\n\tis %d, want %d", test.text, got, test.want)
		}
		if got := c.met(conditionFixture()); got != (test.want == yes) {
			t.Errorf("%s\n\tmet is %v", test.text, got)
		}
	}
}

// An action without a suboperation has none, which is known: the older form of
// a condition on suboperations must leave the whole action alone.
func TestConditionWithoutSubOperation(t *testing.T) {
	in := conditionFixture()
	delete(in.request, SubOperation)
	for text, want := range map[string]truth{
		"SubOperationMatches{'Blob.List'}":                                                     no,
		"!(ActionMatches{'*'} AND SubOperationMatches{'Blob.List'})":                           yes,
		"!(ActionMatches{'*'} AND @Request[subOperation] ForAnyOfAnyValues:StringEquals {''})": yes,
	} {
		c, err := parseCondition(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.root.eval(in); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
}

func TestConditionErrors(t *testing.T) {
	tests := []struct {
		text string
		at   int
		want string
	}{
		{"", 1, "an attribute, a value or a set is expected, not the end"},
		{"   ", 4, "not the end"},
		{"ActionMatches", 14, "'{' is expected, not the end"},
		{"ActionMatches{}", 15, "a value is expected, not '}'"},
		{"ActionMatches{'a',}", 19, "a value is expected"},
		{"ActionMatches{a}", 15, "a text in quotes is expected, not 'a'"},
		{"ActionMatches{'a'", 18, "'}' is expected, not the end"},
		{"(ActionMatches{'a'}", 20, "')' is expected, not the end"},
		{"ActionMatches{'a'})", 19, "AND, OR or the end is expected, not ')'"},
		{"ActionMatches{'a'} ActionMatches{'b'}", 20, "AND, OR or the end is expected"},
		{"1 NumericEquals 1 AND 1 NumericEquals 1 OR 1 NumericEquals 1", 41, "ambiguous"},
		{"1 NumericEquals 1 || 1 NumericEquals 1 && 1 NumericEquals 1", 40, "ambiguous"},
		{"AND", 4, "an operator such as StringEquals is expected"},
		{"'a", 1, "no closing quote"},
		{`'a\'`, 1, "no closing quote"},
		{"@Request", 1, "an attribute is written @Source[name]"},
		{"@Request[", 1, "no closing ']'"},
		{"@Request[ ] StringEquals 'a'", 1, "no name"},
		{"@Token[x] StringEquals 'a'", 1, "attributes are @Request"},
		{"Exists 'a'", 8, "an attribute is expected after Exists"},
		{"Exists", 7, "an attribute is expected after Exists, not the end"},
		{"@Request[x] Equals 'a'", 13, "there is no operator 'Equals'"},
		{"@Request[x] ForSomeValues:StringEquals {'a'}", 13, "there is no operator"},
		{"@Request[x] StringLessThan 'a'", 13, "there is no operator"},
		{"@Request[x] GuidLike 'a'", 13, "there is no operator"},
		{"@Request[x] NumericNotLessThan 1", 13, "there is no operator"},
		{"@Request[x] NumericEqualsIgnoreCase 1", 13, "there is no operator"},
		{"@Request[x] StringEquals", 25, "is expected, not the end"},
		{"@Request[x] StringEquals a", 26, "compares texts in quotes"},
		{"@Request[x] StringEquals {'a', 'b'}", 26, "use ForAnyOfAnyValues:StringEquals"},
		{"@Request[x] GuidEquals owner", 24, "compares GUIDs, not 'owner'"},
		{"@Request[x] GuidEquals {8e3af657-a8ff-443c-a75c-2fe8c4bcb63}", 25, "compares GUIDs"},
		{"@Request[x] NumericEquals 1.5", 27, "compares integers"},
		{"@Request[x] NumericEquals 99999999999999999999", 27, "compares integers"},
		{"@Request[x] BoolEquals yes", 24, "compares true or false"},
		{"@Request[x] DateTimeEquals '2026-01-31'", 28, "compares times"},
		{"a # b", 3, "'#' is not expected"},
		{"'é' # b", 5, "'#' is not expected"},
		{"a & b", 3, "'&' is not expected"},
		{"\"a\"", 1, "is not expected"},
		{strings.Repeat("(", 65), 65, "nested more than 64 levels"},
		{strings.Repeat("!", 65), 65, "nested more than 64 levels"},
	}
	for _, test := range tests {
		_, err := parseCondition(test.text)
		var ce *conditionError
		if !errors.As(err, &ce) {
			t.Errorf("%q: error %v, want a conditionError", test.text, err)
			continue
		}
		if ce.at != test.at || !strings.Contains(ce.what, test.want) {
			t.Errorf("%q: at %d: %s; want at %d: %s", test.text, ce.at, ce.what, test.at, test.want)
		}
	}
}

func TestCheckCondition(t *testing.T) {
	const good = "ActionMatches{'*'}"
	long := "'" + strings.Repeat("a", maxConditionLength) + "' StringEquals 'a'"
	for _, test := range []struct {
		text, version, want string
	}{
		{"", "", ""},
		{"", "1.0", ""},
		{good, "2.0", ""},
		{good, "1.0", `version "1.0" is not supported`},
		{good, "", `version "" is not supported`},
		{long, "2.0", "longer than 8192 bytes"},
		{"nonsense", "2.0", "at character 9"},
	} {
		err := checkCondition(test.text, test.version)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("checkCondition(%.20q, %q) = %v, want %q", test.text, test.version, err, test.want)
		}
	}
}

func FuzzParseCondition(f *testing.F) {
	for _, def := range BuiltIns() {
		for _, p := range def.Permissions {
			if p.Condition != "" {
				f.Add(p.Condition)
			}
		}
	}
	f.Add("@Resource[a:b<$key_case_sensitive$>] StringNotLike 'a\\*?*'")
	f.Add("{1, 2} ForAllOfAllValues:NumericLessThan {3} || NOT Exists @Request[x]")
	f.Add("@Environment[UtcNow] DateTimeLessThan '2026-01-01T00:00:00Z' AND true BoolEquals false")
	f.Add("'\\")
	f.Add("((((")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCondition(text)
		if err != nil {
			var ce *conditionError
			if !errors.As(err, &ce) || ce.at < 1 || ce.at > len(text)+1 {
				t.Fatalf("%q: error %v does not say where", text, err)
			}
			return
		}
		got := c.root.eval(conditionFixture())
		if !slices.Contains([]truth{no, unknown, yes}, got) {
			t.Fatalf("%q is %d", text, got)
		}
		// The same in parentheses, and its negation is the opposite.
		again, err := parseCondition("! (" + text + ")")
		if err != nil {
			var ce *conditionError
			if errors.As(err, &ce) && strings.Contains(ce.what, "levels deep") {
				return
			}
			t.Fatalf("%q: in parentheses: %v", text, err)
		}
		if n := again.root.eval(conditionFixture()); n != yes-got {
			t.Fatalf("%q is %d and its negation %d", text, got, n)
		}
	})
}
