package rbac

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// quantifier is the prefix of a cross product operator: how many values of the
// left side must compare to how many of the right.
type quantifier int

const (
	single   quantifier = iota // no prefix: one value on each side
	anyOfAny                   // ForAnyOfAnyValues
	anyOfAll                   // ForAnyOfAllValues
	allOfAny                   // ForAllOfAnyValues
	allOfAll                   // ForAllOfAllValues
)

// valueKind is the type that an operator compares.
type valueKind int

const (
	kindString valueKind = iota
	kindBool
	kindNumber
	kindTime
	kindGUID
)

// String names the kind in errors.
func (k valueKind) String() string {
	return [...]string{"texts", "true or false", "integers", "times such as '2026-01-31T00:00:00.0Z'", "GUIDs"}[k]
}

// quoted reports whether literals of the kind need quotes.
func (k valueKind) quoted() bool { return k == kindString || k == kindTime }

type valueTest int

const (
	testEquals valueTest = iota
	testStartsWith
	testLike
	testLess
	testLessEquals
	testGreater
	testGreaterEquals
)

// operator is a comparison operator of the condition language.
type operator struct {
	name       string // without the quantifier, for errors
	quantifier quantifier
	kind       valueKind
	test       valueTest
	ignoreCase bool
	negate     bool
}

// parseOperator reads an operator's name, in any case.
func parseOperator(word string) (operator, bool) {
	op := operator{name: word}
	if prefix, name, ok := strings.Cut(word, ":"); ok {
		switch azure.Fold(prefix) {
		case "foranyofanyvalues":
			op.quantifier = anyOfAny
		case "foranyofallvalues":
			op.quantifier = anyOfAll
		case "forallofanyvalues":
			op.quantifier = allOfAny
		case "forallofallvalues":
			op.quantifier = allOfAll
		default:
			return operator{}, false
		}
		op.name = name
	}
	rest := azure.Fold(op.name)
	kind, ok := cutKind(&rest)
	if !ok {
		return operator{}, false
	}
	op.kind = kind
	if kind == kindString {
		rest, op.ignoreCase = strings.CutSuffix(rest, "ignorecase")
	}
	rest, op.negate = strings.CutPrefix(rest, "not")
	ordered := kind == kindNumber || kind == kindTime
	switch {
	case rest == "equals":
		op.test = testEquals
	case rest == "startswith" && kind == kindString:
		op.test = testStartsWith
	case rest == "like" && kind == kindString:
		op.test = testLike
	case op.negate || !ordered:
		return operator{}, false
	case rest == "lessthan":
		op.test = testLess
	case rest == "lessthanequals":
		op.test = testLessEquals
	case rest == "greaterthan":
		op.test = testGreater
	case rest == "greaterthanequals":
		op.test = testGreaterEquals
	default:
		return operator{}, false
	}
	return op, true
}

// cutKind takes the kind off the front of a folded operator name.
func cutKind(name *string) (valueKind, bool) {
	for kind, prefix := range []string{"string", "bool", "numeric", "datetime", "guid"} {
		if rest, ok := strings.CutPrefix(*name, prefix); ok {
			*name = rest
			return valueKind(kind), true
		}
	}
	return 0, false
}

// value is one value of an operand, in the operator's type.
type value struct {
	text   string // kindString (folded where case does not matter), kindBool, kindGUID
	number int64
	time   time.Time
	like   likePattern
}

// value reads a value. right is the side on which a Like operator has its
// pattern.
func (op *operator) value(text string, right bool) (value, bool) {
	switch op.kind {
	case kindString:
		if op.ignoreCase {
			text = azure.Fold(text)
		}
		if op.test == testLike && right {
			return value{like: compileLike(text)}, true
		}
		return value{text: text}, true
	case kindBool:
		text = azure.Fold(text)
		return value{text: text}, text == "true" || text == "false"
	case kindGUID:
		guid, ok := parseGUID(text)
		return value{text: guid}, ok
	case kindNumber:
		n, err := strconv.ParseInt(text, 10, 64)
		return value{number: n}, err == nil
	default:
		t, err := time.Parse(time.RFC3339Nano, text)
		return value{time: t}, err == nil
	}
}

// holds compares two values.
func (op *operator) holds(l, r *value) bool {
	var result bool
	switch op.test {
	case testStartsWith:
		result = strings.HasPrefix(l.text, r.text)
	case testLike:
		result = r.like.match(l.text)
	default:
		order := op.compare(l, r)
		switch op.test {
		case testLess:
			result = order < 0
		case testLessEquals:
			result = order <= 0
		case testGreater:
			result = order > 0
		case testGreaterEquals:
			result = order >= 0
		default:
			result = order == 0
		}
	}
	return result != op.negate
}

func (op *operator) compare(l, r *value) int {
	switch op.kind {
	case kindNumber:
		return cmp.Compare(l.number, r.number)
	case kindTime:
		return l.time.Compare(r.time)
	default:
		return strings.Compare(l.text, r.text)
	}
}

// likePattern is the pattern of a Like operator: "*" any run of characters, "?"
// one character, both literal after a backslash.
type likePattern []rune

// The wildcards of a likePattern, outside of Unicode.
const (
	likeAny rune = -1
	likeOne rune = -2
)

func compileLike(text string) likePattern {
	var p likePattern
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			escaped = false
			if r > 0x7f || !isEscapable(byte(r)) {
				p = append(p, '\\')
			}
			p = append(p, r)
		case r == '\\':
			escaped = true
		case r == '*':
			p = append(p, likeAny)
		case r == '?':
			p = append(p, likeOne)
		default:
			p = append(p, r)
		}
	}
	if escaped {
		p = append(p, '\\')
	}
	return p
}

// match goes back to the last "*" at most, so that its time is bounded by the
// product of both lengths.
func (p likePattern) match(text string) bool {
	s := []rune(text)
	i, j := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case j < len(p) && p[j] == likeAny:
			star, mark = j, i
			j++
		case j < len(p) && (p[j] == likeOne || p[j] == s[i]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(p) && p[j] == likeAny {
		j++
	}
	return j == len(p)
}
