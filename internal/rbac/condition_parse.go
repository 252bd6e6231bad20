package rbac

import (
	"github.com/lanyard-id/lanyard/internal/azure"
)

// parseCondition reads a condition. The error is a *conditionError: what is
// wrong, and at which character.
//
//	expression = term { "AND" term } | term { "OR" term }
//	term       = "NOT" term | "(" expression ")" | function | operand operator operand
//	function   = "ActionMatches" set | "SubOperationMatches" set | "Exists" attribute
//	operand    = attribute | value | set
//	set        = "{" value { "," value } "}"
//	value      = 'text' | GUID | integer | "true" | "false"
//
// "&&", "||" and "!" stand for the words, and case does not matter in keywords.
// Azure's documentation calls "a AND b OR c" ambiguous and asks for
// parentheses, so it is an error here.
func parseCondition(text string) (*condition, error) {
	tokens, err := lexCondition(text)
	if err != nil {
		return nil, err
	}
	p := &condParser{text: text, tokens: tokens}
	root, err := p.expression()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokenEnd {
		return nil, p.errorf(t, "AND, OR or the end is expected, not %s", t)
	}
	return &condition{text: text, root: root}, nil
}

type condParser struct {
	text   string
	tokens []condToken
	next   int
	depth  int
}

func (p *condParser) peek() condToken { return p.tokens[p.next] }

// take gives the next token and moves on; the end stays the next one.
func (p *condParser) take() condToken {
	t := p.tokens[p.next]
	if t.kind != tokenEnd {
		p.next++
	}
	return t
}

func (p *condParser) errorf(t condToken, format string, args ...any) error {
	return condErrorf(p.text, t.offset, format, args...)
}

// expect takes a symbol that must come next.
func (p *condParser) expect(symbol string) error {
	if t := p.peek(); !t.is(symbol) {
		return p.errorf(t, "'%s' is expected, not %s", symbol, t)
	}
	p.take()
	return nil
}

// enter guards against nesting that is too deep; leave ends the level.
func (p *condParser) enter(t condToken) error {
	p.depth++
	if p.depth > maxConditionDepth {
		return p.errorf(t, "the condition is nested more than %d levels deep", maxConditionDepth)
	}
	return nil
}

func (p *condParser) leave() { p.depth-- }

func (p *condParser) expression() (expression, error) {
	first, err := p.term()
	if err != nil {
		return nil, err
	}
	isAnd := func(t condToken) bool { return t.is("AND") || t.is("&&") }
	isOr := func(t condToken) bool { return t.is("OR") || t.is("||") }
	joined, other := isAnd, isOr
	switch t := p.peek(); {
	case isAnd(t):
	case isOr(t):
		joined, other = isOr, isAnd
	default:
		return first, nil
	}
	and := isAnd(p.peek())
	terms := []expression{first}
	for joined(p.peek()) {
		p.take()
		term, err := p.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, term)
	}
	if t := p.peek(); other(t) {
		return nil, p.errorf(t, "AND and OR side by side are ambiguous: put one of them in parentheses")
	}
	if and {
		return allOf(terms), nil
	}
	return anyOf(terms), nil
}

func (p *condParser) term() (expression, error) {
	t := p.peek()
	switch {
	case t.is("!"), t.is("NOT"):
		p.take()
		if err := p.enter(t); err != nil {
			return nil, err
		}
		defer p.leave()
		inner, err := p.term()
		if err != nil {
			return nil, err
		}
		return negation{inner}, nil
	case t.is("("):
		p.take()
		if err := p.enter(t); err != nil {
			return nil, err
		}
		defer p.leave()
		inner, err := p.expression()
		if err != nil {
			return nil, err
		}
		return inner, p.expect(")")
	case t.is("ActionMatches"):
		p.take()
		texts, err := p.strings()
		return actionMatches(compilePatterns(texts)), err
	case t.is("SubOperationMatches"):
		p.take()
		texts, err := p.strings()
		return subOperationMatches(texts), err
	case t.is("Exists"):
		p.take()
		a := p.take()
		if a.kind != tokenAttribute {
			return nil, p.errorf(a, "an attribute is expected after Exists, not %s", a)
		}
		return exists{newAttribute(a)}, nil
	}
	return p.comparison()
}

// strings reads the set of texts after a function's name.
func (p *condParser) strings() ([]string, error) {
	at := p.peek()
	values, err := p.set()
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(values))
	for i, v := range values {
		if v.kind != tokenString {
			return nil, p.errorf(v, "a text in quotes is expected, not %s", v)
		}
		texts[i] = unescape(v.text)
	}
	if len(texts) == 0 {
		return nil, p.errorf(at, "the set is empty")
	}
	return texts, nil
}

// set reads "{ value, ... }".
func (p *condParser) set() ([]condToken, error) {
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	var values []condToken
	for {
		t := p.take()
		if t.kind != tokenString && t.kind != tokenWord {
			return nil, p.errorf(t, "a value is expected, not %s", t)
		}
		values = append(values, t)
		if p.peek().is(",") {
			p.take()
			continue
		}
		return values, p.expect("}")
	}
}

// rawOperand is an operand before the operator's type is known.
type rawOperand struct {
	at        condToken
	attribute *attribute
	values    []condToken
}

func (p *condParser) operand() (rawOperand, error) {
	t := p.peek()
	switch {
	case t.kind == tokenAttribute:
		p.take()
		a := newAttribute(t)
		return rawOperand{at: t, attribute: &a}, nil
	case t.kind == tokenString, t.kind == tokenWord:
		p.take()
		return rawOperand{at: t, values: []condToken{t}}, nil
	case t.is("{"):
		values, err := p.set()
		return rawOperand{at: t, values: values}, err
	}
	return rawOperand{}, p.errorf(t, "an attribute, a value or a set is expected, not %s", t)
}

func (p *condParser) comparison() (expression, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	t := p.take()
	if t.kind != tokenWord {
		return nil, p.errorf(t, "an operator such as StringEquals is expected, not %s", t)
	}
	op, ok := parseOperator(t.text)
	if !ok {
		return nil, p.errorf(t, "there is no operator %s", t)
	}
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	c := comparison{operator: op}
	if c.left, err = p.typed(left, op, false); err != nil {
		return nil, err
	}
	if c.right, err = p.typed(right, op, true); err != nil {
		return nil, err
	}
	return &c, nil
}

// typed checks an operand's values against the operator's type. right is the
// side on which a Like operator has its pattern.
func (p *condParser) typed(o rawOperand, op operator, right bool) (operand, error) {
	if o.attribute != nil {
		return operand{attribute: o.attribute}, nil
	}
	if op.quantifier == single && len(o.values) > 1 {
		return operand{}, p.errorf(o.at, "%s compares single values; use ForAnyOfAnyValues:%s or another of its kind",
			op.name, op.name)
	}
	typed := operand{values: make([]value, len(o.values))}
	for i, t := range o.values {
		if quoted := t.kind == tokenString; op.kind.quoted() && !quoted {
			return operand{}, p.errorf(t, "%s compares texts in quotes, not %s", op.name, t)
		}
		text := t.text
		if pattern := op.test == testLike && right; t.kind == tokenString && !pattern {
			text = unescape(text)
		}
		v, ok := op.value(text, right)
		if !ok {
			return operand{}, p.errorf(t, "%s compares %s, not %s", op.name, op.kind, t)
		}
		typed.values[i] = v
	}
	return typed, nil
}

// unescape removes the backslash before a quote, a wildcard or a backslash.
func unescape(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && isEscapable(s[i+1]) {
			if out == nil {
				out = append(make([]byte, 0, len(s)), s[:i]...)
			}
			i++
		}
		if out != nil {
			out = append(out, s[i])
		}
	}
	if out == nil {
		return s
	}
	return string(out)
}

func isEscapable(c byte) bool { return c == '\'' || c == '\\' || c == '*' || c == '?' }

// caseSensitiveKey ends the name of a tag attribute whose key keeps its case:
// "...blobs/tags:Project<$key_case_sensitive$>".
const caseSensitiveKey = "<$key_case_sensitive$>"

// newAttribute reads an attribute's token.
func newAttribute(t condToken) attribute {
	a := attribute{source: t.source, name: t.text, exact: -1}
	if name, ok := azure.CutSuffixFold(a.name, caseSensitiveKey); ok {
		a.name = name
		for i := 0; i < len(name); i++ {
			if name[i] == ':' {
				a.exact = i
			}
		}
	}
	return a
}
