package provider

import (
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// filterTerm is one term of an OData $filter, of those that
// Microsoft.Authorization knows: a function of at most one string, or a
// comparison of a property with a string.
type filterTerm struct {
	name  string // folded: "atscope", "principalid"
	call  bool   // name() or name('value'), else name eq 'value'
	value string
}

// parseFilter reads terms joined by "and". It is no general OData parser: what
// it doesn't read is refused by [unsupportedFilter], never passed over, since a
// filter that is not applied shows more than was asked for.
func parseFilter(filter string) (terms []filterTerm, ok bool) {
	p := &filterParser{rest: filter}
	if p.space(); p.rest == "" {
		return nil, true
	}
	for {
		term, ok := p.term()
		if !ok {
			return nil, false
		}
		terms = append(terms, term)
		spaced := p.space()
		if p.rest == "" {
			return terms, true
		}
		if !spaced || azure.Fold(p.word()) != "and" || !p.space() {
			return nil, false
		}
	}
}

type filterParser struct{ rest string }

// space skips white space and reports whether there was any.
func (p *filterParser) space() bool {
	trimmed := strings.TrimLeft(p.rest, " \t")
	skipped := len(trimmed) < len(p.rest)
	p.rest = trimmed
	return skipped
}

// word takes letters.
func (p *filterParser) word() string {
	n := 0
	for n < len(p.rest) && 'a' <= p.rest[n]|0x20 && p.rest[n]|0x20 <= 'z' {
		n++
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	return word
}

func (p *filterParser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	p.rest = rest
	return ok
}

// text takes a quoted string, in which a quote is written twice.
func (p *filterParser) text() (string, bool) {
	if !p.take("'") {
		return "", false
	}
	var b strings.Builder
	for {
		part, rest, ok := strings.Cut(p.rest, "'")
		if !ok {
			return "", false
		}
		b.WriteString(part)
		p.rest = rest
		if !p.take("'") {
			return b.String(), true
		}
		b.WriteByte('\'')
	}
}

func (p *filterParser) term() (filterTerm, bool) {
	t := filterTerm{name: azure.Fold(p.word())}
	if t.name == "" {
		return t, false
	}
	var ok bool
	if p.take("(") {
		t.call = true
		p.space()
		if p.take(")") {
			return t, true
		}
		if t.value, ok = p.text(); !ok {
			return t, false
		}
		p.space()
		return t, p.take(")")
	}
	if !p.space() || azure.Fold(p.word()) != "eq" || !p.space() {
		return t, false
	}
	t.value, ok = p.text()
	return t, ok
}

// unsupportedFilter is Azure's answer to a filter that a list doesn't know.
func unsupportedFilter(filter, supported string) error {
	return azure.Errorf(http.StatusBadRequest, "BadRequest",
		"The filter '%s' is not supported. Supported filters are either %s.", filter, supported)
}
