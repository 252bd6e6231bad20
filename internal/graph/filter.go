package graph

import "github.com/lanyard-id/lanyard/internal/azure"

// A filter is a $filter expression, made ready: comparisons of properties with
// literals (eq, ne, in, startswith, endswith), any over lists of text, and, or,
// not. It is evaluated against the values of one object.
type filter interface {
	// holds reports whether the expression is true; value gives a property.
	holds(value func(property string) any) bool
}

type (
	filterAnd struct{ left, right filter }
	filterOr  struct{ left, right filter }
	filterNot struct{ of filter }
	// filterCompare compares a property with any of the literals.
	filterCompare struct {
		property string
		how      comparison
		literals []any // string, bool or nil
	}
	// filterAny is property/any(variable:of), of a list of text.
	filterAny struct {
		property, variable string
		of                 filter
	}
)

// comparison is how [filterCompare] compares.
type comparison int

const (
	equal comparison = iota
	notEqual
	startsWith
	endsWith
)

func (f filterAnd) holds(value func(string) any) bool {
	return f.left.holds(value) && f.right.holds(value)
}
func (f filterOr) holds(value func(string) any) bool {
	return f.left.holds(value) || f.right.holds(value)
}
func (f filterNot) holds(value func(string) any) bool { return !f.of.holds(value) }

func (f filterCompare) holds(value func(string) any) bool {
	have := value(f.property)
	for _, want := range f.literals {
		if compare(f.how, have, want) {
			return true
		}
	}
	return false
}

func (f filterAny) holds(value func(string) any) bool {
	list, _ := value(f.property).([]string)
	for _, element := range list {
		inside := func(property string) any {
			if property == f.variable {
				return element
			}
			return value(property)
		}
		if f.of.holds(inside) {
			return true
		}
	}
	return false
}

// compare compares two values. Text is compared without regard to case, as
// Graph does for directory objects.
func compare(how comparison, have, want any) bool {
	if how == notEqual {
		return !compare(equal, have, want)
	}
	text, ok := have.(string)
	if !ok {
		return how == equal && have == want
	}
	other, ok := want.(string)
	if !ok {
		return false
	}
	switch how {
	case startsWith:
		return azure.HasPrefixFold(text, other)
	case endsWith:
		_, found := azure.CutSuffixFold(text, other)
		return found
	default:
		return azure.EqualFold(text, other)
	}
}
