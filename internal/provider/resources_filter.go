package provider

import (
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// The properties that a $filter of resources, and of resource groups, may name.
// Azure knows more; they are refused rather than ignored.
var (
	resourceFields = []string{"resourceType", "name", "location", "resourceGroup", "kind", "tagName", "tagValue"}
	groupFields    = []string{"name", "location", "tagName", "tagValue"}
)

// parseResourceFilter understands the $filter of lists of resources:
// comparisons by eq and ne, startswith(property, 'x') and
// substringof('x', property), joined by and, or and not, in parentheses. Values
// are compared as Azure compares names. "tagName eq 'a' and tagValue eq 'b'"
// speaks of one tag.
func parseResourceFilter(text string, fields []string) (func(arm.Envelope) bool, error) {
	p := &resourceFilterParser{text: text, fields: fields}
	p.next()
	match := p.or()
	if p.bad == "" && p.token != "" {
		p.fail("'" + p.token + "' is not expected")
	}
	if p.bad != "" {
		return nil, azure.Errorf(http.StatusBadRequest, "InvalidFilterInQueryString",
			"Invalid $filter '%s' specified in the query string: %s. Supported are comparisons by eq and ne of %s with quoted values, startswith(property,'value') and substringof('value',property), joined by and, or and not.",
			text, p.bad, strings.Join(fields, ", "))
	}
	return func(env arm.Envelope) bool {
		// Without tags, conditions on tags meet an empty name and value once.
		if len(env.Tags) == 0 {
			return match(filtered{env: &env})
		}
		for name, value := range env.Tags {
			if match(filtered{&env, name, value}) {
				return true
			}
		}
		return false
	}, nil
}

// filtered is a resource with one of its tags.
type filtered struct {
	env               *arm.Envelope
	tagName, tagValue string
}

type predicate func(filtered) bool

// resourceFilterParser reads a filter by recursive descent.
type resourceFilterParser struct {
	text   string // what is still to be read
	fields []string
	token  string // the present one; "" at the end
	quoted bool   // token is a quoted value
	depth  int
	bad    string // the first fault
}

func (p *resourceFilterParser) fail(why string) {
	if p.bad == "" {
		p.bad = why
	}
	p.text, p.token = "", ""
}

// next reads a token: a quoted value, a word, or one of the characters "(),".
func (p *resourceFilterParser) next() {
	p.text = strings.TrimLeft(p.text, " \t\r\n")
	p.quoted = false
	if p.text == "" {
		p.token = ""
		return
	}
	switch c := p.text[0]; {
	case c == '\'':
		p.quotedValue()
	case strings.IndexByte("(),", c) >= 0:
		p.token, p.text = p.text[:1], p.text[1:]
	default:
		end := strings.IndexAny(p.text, " \t\r\n(),'")
		if end < 0 {
			end = len(p.text)
		}
		p.token, p.text = p.text[:end], p.text[end:]
	}
}

// quotedValue reads a value in which a quote is written twice.
func (p *resourceFilterParser) quotedValue() {
	var b strings.Builder
	rest := p.text[1:]
	for {
		end := strings.IndexByte(rest, '\'')
		if end < 0 {
			p.fail("a quoted value has no end")
			return
		}
		b.WriteString(rest[:end])
		rest = rest[end+1:]
		if !strings.HasPrefix(rest, "'") {
			break
		}
		b.WriteByte('\'')
		rest = rest[1:]
	}
	p.token, p.text, p.quoted = b.String(), rest, true
}

func (p *resourceFilterParser) word(w string) bool {
	if p.quoted || !azure.EqualFold(p.token, w) || p.token == "" {
		return false
	}
	p.next()
	return true
}

func (p *resourceFilterParser) expect(w string) {
	if !p.word(w) {
		p.fail("'" + w + "' is expected before '" + p.token + p.text + "'")
	}
}

func (p *resourceFilterParser) or() predicate {
	left := p.and()
	for p.word("or") {
		a, b := left, p.and()
		left = func(f filtered) bool { return a(f) || b(f) }
	}
	return left
}

func (p *resourceFilterParser) and() predicate {
	left := p.term()
	for p.word("and") {
		a, b := left, p.term()
		left = func(f filtered) bool { return a(f) && b(f) }
	}
	return left
}

// maxFilterDepth bounds the nesting of what a stranger writes.
const maxFilterDepth = 20

func (p *resourceFilterParser) term() predicate {
	never := func(filtered) bool { return false }
	if p.depth++; p.depth > maxFilterDepth {
		p.fail("it is nested too deeply")
		return never
	}
	defer func() { p.depth-- }()
	switch {
	case p.word("not"):
		inner := p.term()
		return func(f filtered) bool { return !inner(f) }
	case p.word("("):
		inner := p.or()
		p.expect(")")
		return inner
	case p.word("startswith"):
		p.expect("(")
		field := p.field()
		p.expect(",")
		value := azure.Fold(p.value())
		p.expect(")")
		return func(f filtered) bool { return strings.HasPrefix(azure.Fold(field(f)), value) }
	case p.word("substringof"):
		p.expect("(")
		value := azure.Fold(p.value())
		p.expect(",")
		field := p.field()
		p.expect(")")
		return func(f filtered) bool { return strings.Contains(azure.Fold(field(f)), value) }
	}
	field := p.field()
	equal := p.word("eq")
	if !equal {
		p.expect("ne")
	}
	value := p.value()
	return func(f filtered) bool { return azure.EqualFold(field(f), value) == equal }
}

func (p *resourceFilterParser) value() string {
	if !p.quoted {
		p.fail("a quoted value is expected before '" + p.token + p.text + "'")
		return ""
	}
	v := p.token
	p.next()
	return v
}

// field reads a property's name.
func (p *resourceFilterParser) field() func(filtered) string {
	i := slices.IndexFunc(p.fields, func(known string) bool { return azure.EqualFold(known, p.token) })
	if i < 0 || p.quoted {
		p.fail("'" + p.token + "' is not a property that can be filtered by")
		return func(filtered) string { return "" }
	}
	name := p.fields[i]
	p.next()
	return func(f filtered) string { return fieldOf(name, f) }
}

func fieldOf(name string, f filtered) string {
	switch name {
	case "resourceType", "type":
		return f.env.Type
	case "id":
		return f.env.ID
	case "name":
		return f.env.Name
	case "location":
		return f.env.Location
	case "kind":
		return f.env.Kind
	case "tagName":
		return f.tagName
	case "tagValue":
		return f.tagValue
	case "resourceGroup", "subscriptionId":
		id, err := azure.ParseResourceID(f.env.ID)
		if err != nil {
			return ""
		}
		if name == "subscriptionId" {
			return id.SubscriptionID()
		}
		return id.ResourceGroup()
	}
	return ""
}
