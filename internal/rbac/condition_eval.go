package rbac

import (
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

type allOf []expression

func (e allOf) eval(in *conditionInput) truth {
	result := yes
	for _, term := range e {
		if result = min(result, term.eval(in)); result == no {
			break
		}
	}
	return result
}

type anyOf []expression

func (e anyOf) eval(in *conditionInput) truth {
	result := no
	for _, term := range e {
		if result = max(result, term.eval(in)); result == yes {
			break
		}
	}
	return result
}

type negation struct{ inner expression }

// eval keeps what is unknown unknown.
func (e negation) eval(in *conditionInput) truth { return yes - e.inner.eval(in) }

// actionMatches holds where one of the patterns covers the action.
type actionMatches []pattern

func (e actionMatches) eval(in *conditionInput) truth {
	return truthOf(matchAny(e, in.action) != nil)
}

// subOperationMatches holds where the request names one of the suboperations.
type subOperationMatches []string

func (e subOperationMatches) eval(in *conditionInput) truth {
	for _, have := range in.request[SubOperation] {
		for _, want := range e {
			if azure.EqualFold(have, want) {
				return yes
			}
		}
	}
	return no
}

type exists struct{ attribute attribute }

func (e exists) eval(in *conditionInput) truth {
	_, ok := e.attribute.lookup(in)
	return truthOf(ok)
}

// attribute names a value of the request, the resource, the principal or the
// environment.
type attribute struct {
	source string // folded
	name   string
	// exact is the index from which the name's case matters; -1: nowhere.
	exact int
}

func (a *attribute) isNamed(name string) bool {
	if a.exact < 0 {
		return azure.EqualFold(a.name, name)
	}
	return len(name) == len(a.name) &&
		azure.EqualFold(a.name[:a.exact], name[:a.exact]) && a.name[a.exact:] == name[a.exact:]
}

// lookup gives the attribute's values. An attribute without any is absent.
func (a *attribute) lookup(in *conditionInput) ([]string, bool) {
	var set map[string][]string
	switch a.source {
	case "request":
		set = in.request
	case "resource":
		set = in.resource
	case "principal":
		set = in.principal
	default:
		return a.environment(in)
	}
	if values, ok := set[a.name]; ok {
		return values, len(values) > 0
	}
	for name, values := range set {
		if a.isNamed(name) {
			return values, len(values) > 0
		}
	}
	return nil, false
}

// environment gives the attributes of the environment. There are no private
// endpoints or service endpoints of subnets here, so that no request comes
// through one.
func (a *attribute) environment(in *conditionInput) ([]string, bool) {
	switch {
	case a.isNamed("UtcNow"):
		return []string{in.now.UTC().Format(time.RFC3339Nano)}, true
	case a.isNamed("isPrivateLink"):
		return []string{"false"}, true
	}
	return nil, false
}

// isSubOperation reports whether the attribute is the request's suboperation:
// an action without one has none, which is known, unlike an absent attribute.
func (a *attribute) isSubOperation() bool { return a.source == "request" && a.isNamed(SubOperation) }

// operand is one side of a comparison.
type operand struct {
	attribute *attribute // nil: values
	values    []value
}

// resolve gives the operand's values; outcome is yes, or what the comparison
// comes to because there are none.
func (o *operand) resolve(in *conditionInput, op *operator, right bool) (values []value, outcome truth) {
	if o.attribute == nil {
		return o.values, yes
	}
	texts, ok := o.attribute.lookup(in)
	if !ok {
		if o.attribute.isSubOperation() {
			return nil, no
		}
		return nil, unknown
	}
	values = make([]value, len(texts))
	for i, text := range texts {
		if values[i], ok = op.value(text, right); !ok {
			return nil, unknown // not of the operator's type
		}
	}
	return values, yes
}

// comparison is "operand operator operand".
type comparison struct {
	operator    operator
	left, right operand
}

func (c *comparison) eval(in *conditionInput) truth {
	left, outcome := c.left.resolve(in, &c.operator, false)
	if outcome != yes {
		return outcome
	}
	right, outcome := c.right.resolve(in, &c.operator, true)
	if outcome != yes {
		return outcome
	}
	op := &c.operator
	switch op.quantifier {
	case anyOfAny:
		return truthOf(some(left, func(l *value) bool { return op.anyOf(l, right) }))
	case anyOfAll:
		return truthOf(some(left, func(l *value) bool { return op.allOf(l, right) }))
	case allOfAny:
		return truthOf(every(left, func(l *value) bool { return op.anyOf(l, right) }))
	case allOfAll:
		return truthOf(every(left, func(l *value) bool { return op.allOf(l, right) }))
	default:
		if len(left) != 1 || len(right) != 1 {
			return unknown // a single value is compared, and there are several
		}
		return truthOf(op.holds(&left[0], &right[0]))
	}
}

func (op *operator) anyOf(l *value, right []value) bool {
	return some(right, func(r *value) bool { return op.holds(l, r) })
}

func (op *operator) allOf(l *value, right []value) bool {
	return every(right, func(r *value) bool { return op.holds(l, r) })
}

func some(values []value, f func(*value) bool) bool {
	for i := range values {
		if f(&values[i]) {
			return true
		}
	}
	return false
}

func every(values []value, f func(*value) bool) bool {
	return !some(values, func(v *value) bool { return !f(v) })
}
