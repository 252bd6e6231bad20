package graph

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

const (
	maxFilter      = 8 << 10 // bytes of an expression
	maxFilterDepth = 20      // of parentheses, not and any
)

// unsupportedError is a $filter that is well-formed and asks for what is not
// offered: a property that cannot be filtered by, or another operator.
type unsupportedError struct{ what string }

func (e unsupportedError) Error() string { return e.what }

// parseFilter reads a $filter expression. names are the properties that it may
// compare, and resource is what errors call the objects.
func parseFilter(text, resource string, names []string) (filter, error) {
	if len(text) > maxFilter {
		return nil, fmt.Errorf("the expression is longer than %d bytes", maxFilter)
	}
	tokens, err := lexFilter(text)
	if err != nil {
		return nil, err
	}
	p := &filterParser{tokens: tokens, resource: resource, names: names}
	f, err := p.or()
	if err != nil {
		return nil, err
	}
	if !p.done() {
		return nil, fmt.Errorf("'%s' is not expected", p.peek().text)
	}
	return f, nil
}

// filterToken is a word, a quoted text or a mark: "(", ")", "," or ":".
type filterToken struct {
	text   string
	quoted bool
}

func lexFilter(text string) ([]filterToken, error) {
	var tokens []filterToken
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t':
			i++
		case strings.IndexByte("(),:", c) >= 0:
			tokens = append(tokens, filterToken{text: text[i : i+1]})
			i++
		case c == '\'':
			value, rest, err := unquote(text[i:])
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, filterToken{text: value, quoted: true})
			i = len(text) - len(rest)
		default:
			end := i
			for end < len(text) && strings.IndexByte(" \t(),:'", text[end]) < 0 {
				end++
			}
			tokens = append(tokens, filterToken{text: text[i:end]})
			i = end
		}
	}
	return tokens, nil
}

// unquote reads a text in single quotes, in which two stand for one, and gives
// what follows it.
func unquote(text string) (value, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != '\'' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), text[i+1:], nil
	}
	return "", "", errors.New("there is an unterminated string literal")
}

type filterParser struct {
	tokens   []filterToken
	next     int
	depth    int
	variable string // of the any that is being read, or empty
	resource string
	names    []string
}

func (p *filterParser) done() bool { return p.next == len(p.tokens) }

// peek gives the next token, or an empty one at the end.
func (p *filterParser) peek() filterToken {
	if p.done() {
		return filterToken{}
	}
	return p.tokens[p.next]
}

func (p *filterParser) take() filterToken {
	t := p.peek()
	if !p.done() {
		p.next++
	}
	return t
}

// word takes the next token if it is that word or mark.
func (p *filterParser) word(text string) bool {
	t := p.peek()
	if t.quoted || t.text == "" || !azure.EqualFold(t.text, text) {
		return false
	}
	p.next++
	return true
}

func (p *filterParser) expect(mark string) error {
	if !p.word(mark) {
		return fmt.Errorf("'%s' is expected at '%s'", mark, p.peek().text)
	}
	return nil
}

// nest enters one level, which the caller leaves with p.depth--.
func (p *filterParser) nest() error {
	if p.depth++; p.depth > maxFilterDepth {
		return fmt.Errorf("the expression is nested deeper than %d levels", maxFilterDepth)
	}
	return nil
}

func (p *filterParser) or() (filter, error) {
	left, err := p.and()
	for err == nil && p.word("or") {
		var right filter
		right, err = p.and()
		left = filterOr{left, right}
	}
	return left, err
}

func (p *filterParser) and() (filter, error) {
	left, err := p.not()
	for err == nil && p.word("and") {
		var right filter
		right, err = p.not()
		left = filterAnd{left, right}
	}
	return left, err
}

func (p *filterParser) not() (filter, error) {
	if !p.word("not") {
		return p.primary()
	}
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	of, err := p.not()
	return filterNot{of}, err
}

func (p *filterParser) primary() (filter, error) {
	if p.word("(") {
		if err := p.nest(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		f, err := p.or()
		if err != nil {
			return nil, err
		}
		return f, p.expect(")")
	}
	t := p.take()
	if t.quoted || t.text == "" || strings.Contains("(),:", t.text) {
		return nil, fmt.Errorf("a property or a function is expected at '%s'", t.text)
	}
	if before, found := azure.CutSuffixFold(t.text, "/any"); found && p.word("(") {
		return p.any(before)
	}
	if p.word("(") {
		return p.call(t.text)
	}
	return p.compare(t.text)
}

// call reads startswith(property,'text') and endswith, after the parenthesis.
func (p *filterParser) call(function string) (filter, error) {
	how, ok := map[string]comparison{"startswith": startsWith, "endswith": endsWith}[azure.Fold(function)]
	if !ok {
		return nil, unsupportedError{fmt.Sprintf("Unsupported property filter clause operator '%s'.", function)}
	}
	property, err := p.property(p.take())
	if err != nil {
		return nil, err
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	t := p.take()
	if !t.quoted {
		return nil, fmt.Errorf("a string literal is expected at '%s'", t.text)
	}
	return filterCompare{property, how, []any{t.text}}, p.expect(")")
}

// any reads property/any(variable:expression), after the parenthesis.
func (p *filterParser) any(name string) (filter, error) {
	if p.variable != "" {
		return nil, unsupportedError{"Unsupported property filter clause operator 'Any' inside of another."}
	}
	property, err := p.property(filterToken{text: name})
	if err != nil {
		return nil, err
	}
	variable := p.take()
	if !isVariable(variable) {
		return nil, fmt.Errorf("a variable is expected at '%s'", variable.text)
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	if err := p.nest(); err != nil {
		return nil, err
	}
	p.variable = variable.text
	defer func() { p.depth--; p.variable = "" }()
	of, err := p.or()
	if err != nil {
		return nil, err
	}
	return filterAny{property, variable.text, of}, p.expect(")")
}

func isVariable(t filterToken) bool {
	if t.quoted || t.text == "" || len(t.text) > 32 {
		return false
	}
	for i := range len(t.text) {
		if c := t.text[i] | 0x20; (c < 'a' || c > 'z') && (i == 0 || t.text[i] < '0' || t.text[i] > '9') && t.text[i] != '_' {
			return false
		}
	}
	return true
}

// compare reads "eq literal", "ne literal" or "in (literal, ...)".
func (p *filterParser) compare(name string) (filter, error) {
	property, err := p.property(filterToken{text: name})
	if err != nil {
		return nil, err
	}
	switch operator := p.take(); {
	case operator.quoted || operator.text == "":
		return nil, fmt.Errorf("an operator is expected after '%s'", name)
	case azure.EqualFold(operator.text, "in"):
		literals, err := p.list()
		return filterCompare{property, equal, literals}, err
	case azure.EqualFold(operator.text, "eq"), azure.EqualFold(operator.text, "ne"):
		how := equal
		if azure.EqualFold(operator.text, "ne") {
			how = notEqual
		}
		literal, err := p.literal()
		return filterCompare{property, how, []any{literal}}, err
	case strings.Contains(" gt ge lt le has ", " "+azure.Fold(operator.text)+" "):
		return nil, unsupportedError{fmt.Sprintf("Unsupported property filter clause operator '%s'.", operator.text)}
	default:
		return nil, fmt.Errorf("'%s' is no operator", operator.text)
	}
}

func (p *filterParser) list() ([]any, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var literals []any
	for {
		literal, err := p.literal()
		if err != nil {
			return nil, err
		}
		literals = append(literals, literal)
		if !p.word(",") {
			return literals, p.expect(")")
		}
	}
}

func (p *filterParser) literal() (any, error) {
	switch t := p.take(); {
	case t.quoted:
		return t.text, nil
	case azure.EqualFold(t.text, "true"):
		return true, nil
	case azure.EqualFold(t.text, "false"):
		return false, nil
	case azure.EqualFold(t.text, "null"):
		return nil, nil
	default:
		return nil, fmt.Errorf("a string literal in single quotes, true, false or null is expected at '%s'", t.text)
	}
}

// property gives the name of a property as it is spelled, whose case does not
// count, or the variable of the any that is being read.
func (p *filterParser) property(t filterToken) (string, error) {
	if t.quoted || t.text == "" || strings.Contains("(),:", t.text) {
		return "", fmt.Errorf("a property is expected at '%s'", t.text)
	}
	if p.variable != "" {
		if t.text == p.variable {
			return t.text, nil
		}
		return "", unsupportedError{fmt.Sprintf("Complex query on property '%s' is not supported.", t.text)}
	}
	for _, name := range p.names {
		if azure.EqualFold(name, t.text) {
			return name, nil
		}
	}
	return "", unsupportedError{fmt.Sprintf("Unsupported or invalid query filter clause specified for property '%s' of resource '%s'.",
		t.text, p.resource)}
}
