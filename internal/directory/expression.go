package directory

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxConditions bounds the conditions of one expression; its length bounds the
// rest.
const maxConditions = 10

// The operators of conditions.
const (
	opEqual   = "eq"
	opMatches = "matches"
)

// Expression is the condition of a flexible federated credential in language
// version 1, parsed: conditions on single claims that must all hold.
//
//	claims['sub'] matches 'repo:contoso/*' and claims['repository_owner_id'] eq '123456'
//
// eq compares the whole claim, case and all. In the pattern of matches * stands
// for any characters or none and ? for one character; all others stand for
// themselves. In a comparand a quote is written twice. Words are separated by
// one space, as Microsoft Entra wants it. The zero Expression matches nothing.
type Expression struct {
	conditions []condition
}

// condition is a claim, an operator and what it is compared with.
type condition struct {
	claim, operator, comparand string
	pattern                    pattern // of matches
}

// ExpressionError tells what is wrong with an expression.
type ExpressionError struct {
	// Offset is where, in bytes.
	Offset int
	Detail string
}

// Error names the place and the fault.
func (e *ExpressionError) Error() string {
	return fmt.Sprintf("%s (at character %d)", e.Detail, e.Offset+1)
}

// ParseExpression parses an expression. It refuses an empty comparand, and an
// expression of which no condition says more than that a claim exists, since it
// would trust every token of the issuer. The error is an [*ExpressionError].
func ParseExpression(value string) (*Expression, error) {
	p := expressionParser{text: value}
	e := &Expression{}
	for {
		c, err := p.condition()
		if err != nil {
			return nil, err
		}
		e.conditions = append(e.conditions, c)
		if p.at == len(value) {
			break
		}
		if len(e.conditions) == maxConditions {
			return nil, p.fault(fmt.Sprintf("it has more than %d conditions", maxConditions))
		}
		if !p.take(" and ") {
			return nil, p.fault("expected ' and ' or the end")
		}
	}
	if !slices.ContainsFunc(e.conditions, condition.restricts) {
		p.at = 0
		return nil, p.fault("it matches every token of the issuer")
	}
	return e, nil
}

// expressionParser reads an expression from the left.
type expressionParser struct {
	text string
	at   int
}

func (p *expressionParser) fault(detail string) error {
	return &ExpressionError{Offset: p.at, Detail: detail}
}

// take passes over word, if that comes next.
func (p *expressionParser) take(word string) bool {
	if !strings.HasPrefix(p.text[p.at:], word) {
		return false
	}
	p.at += len(word)
	return true
}

// condition reads claims['name'] operator 'comparand'.
func (p *expressionParser) condition() (condition, error) {
	var c condition
	if !p.take("claims['") {
		return c, p.fault("expected claims['name']")
	}
	name, _, found := strings.Cut(p.text[p.at:], "'")
	if !found || !isClaimName(name) {
		return c, p.fault("expected the name of a claim and a quote")
	}
	c.claim = name
	p.at += len(name)
	if !p.take("'] ") {
		return c, p.fault("expected '] and a space")
	}
	switch {
	case p.take(opEqual + " "):
		c.operator = opEqual
	case p.take(opMatches + " "):
		c.operator = opMatches
	default:
		return c, p.fault("expected eq or matches and a space")
	}
	var err error
	if c.comparand, err = p.quoted(); err != nil {
		return c, err
	}
	if c.operator == opMatches {
		c.pattern = newPattern(c.comparand)
	}
	return c, nil
}

// quoted reads a comparand in quotes.
func (p *expressionParser) quoted() (string, error) {
	start := p.at
	if !p.take("'") {
		return "", p.fault("expected a value in single quotes")
	}
	var value strings.Builder
	for {
		part, _, found := strings.Cut(p.text[p.at:], "'")
		if !found {
			p.at = start
			return "", p.fault("the quote is not closed")
		}
		value.WriteString(part)
		p.at += len(part) + 1
		if !p.take("'") {
			break
		}
		value.WriteByte('\'')
	}
	if value.Len() == 0 || !utf8.ValidString(value.String()) {
		p.at = start
		return "", p.fault("the value is empty or no text")
	}
	return value.String(), nil
}

// isClaimName reports whether s can name a claim: printable ASCII without
// spaces, quotes, brackets and backslash.
func isClaimName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte(`'"[]\`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// Match reports whether a token with these claims satisfies the expression:
// every claim that it names is there, is a string of at most 600 characters (the
// longest subject), and compares. A claim of another kind is an error, which
// says so; it matches nothing either.
//
// The time taken grows with the length of the claims times that of the
// patterns, whatever the wildcards: nothing is tried twice.
func (e *Expression) Match(claims map[string]any) (bool, error) {
	for _, c := range e.conditions {
		claim, ok := claims[c.claim]
		if !ok {
			return false, nil
		}
		value, ok := claim.(string)
		if !ok {
			return false, fmt.Errorf("the claim %q is not a string", c.claim)
		}
		if utf8.RuneCountInString(value) > maxCredentialText || !c.holds(value) {
			return false, nil
		}
	}
	return len(e.conditions) > 0, nil
}

// holds compares a claim's value.
func (c condition) holds(value string) bool {
	if c.operator == opEqual {
		return value == c.comparand
	}
	return c.pattern.matches(value)
}

// restricts reports whether the condition asks for more than a value of some
// length.
func (c condition) restricts() bool {
	return c.operator == opEqual || strings.Trim(c.comparand, "*?") != ""
}

// pattern is a text with wildcards, cut at each *: the value begins with the
// first segment, ends with the last, and has the others in between, in this
// order.
type pattern []segment

// segment is a text in which ? stands for one character.
type segment []rune

func newPattern(text string) pattern {
	var p pattern
	for part := range strings.SplitSeq(text, "*") {
		p = append(p, segment(part))
	}
	return p
}

// matches finds each segment at the first place where it fits after the one
// before: a later place would leave less room for those that follow, so that
// there is nothing to go back for.
func (p pattern) matches(value string) bool {
	rest := []rune(value)
	first, last := p[0], p[len(p)-1]
	if len(p) == 1 {
		return len(rest) == len(first) && first.fits(rest)
	}
	if len(rest) < len(first)+len(last) || !first.fits(rest) || !last.fits(rest[len(rest)-len(last):]) {
		return false
	}
	rest = rest[len(first) : len(rest)-len(last)]
	for _, s := range p[1 : len(p)-1] {
		at := s.find(rest)
		if at < 0 {
			return false
		}
		rest = rest[at+len(s):]
	}
	return true
}

// fits reports whether text, which is long enough, begins with the segment.
func (s segment) fits(text []rune) bool {
	for i, want := range s {
		if want != '?' && want != text[i] {
			return false
		}
	}
	return true
}

// find gives the first place at which the segment fits, or -1.
func (s segment) find(text []rune) int {
	for at := 0; at+len(s) <= len(text); at++ {
		if s.fits(text[at:]) {
			return at
		}
	}
	return -1
}
