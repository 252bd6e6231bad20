package rbac

import (
	"fmt"
	"time"
)

// condition is a parsed condition of a role assignment or of a role's
// permission: Azure's attribute-based access control. The language is that of
// "Azure role assignment condition format and syntax", version 2.0. Version
// 1.0, which one built-in role has, is read the same way.
type condition struct {
	text string
	root expression
}

// met reports whether the condition lets the action through. What is unknown
// does not.
func (c *condition) met(in *conditionInput) bool { return c.root.eval(in) == yes }

// truth is the outcome of an expression. A comparison with an attribute that
// the request does not have is unknown, and so is its negation: "not equal to
// X" says nothing of what is absent, and must not let it through. Only Exists
// answers for absence.
type truth int8

const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// expression is a node of a condition.
type expression interface {
	eval(in *conditionInput) truth
}

// conditionInput is what a condition is evaluated on.
type conditionInput struct {
	action                       string // folded
	request, resource, principal map[string][]string
	now                          time.Time
}

// conditionError says where a condition can't be read.
type conditionError struct {
	// at counts characters from 1.
	at   int
	what string
}

func (e *conditionError) Error() string {
	return fmt.Sprintf("at character %d: %s", e.at, e.what)
}

// maxConditionLength is Azure's limit on the condition of an assignment, 8 KB.
const maxConditionLength = 8 << 10

// maxConditionDepth bounds nesting, so that no text can exhaust the stack.
const maxConditionDepth = 64

// checkCondition checks what a client sends as condition and conditionVersion.
func checkCondition(text, version string) error {
	if text == "" {
		return nil
	}
	if version != "2.0" {
		return fmt.Errorf("the condition version %q is not supported; use \"2.0\"", version)
	}
	if len(text) > maxConditionLength {
		return fmt.Errorf("it is longer than %d bytes", maxConditionLength)
	}
	_, err := parseCondition(text)
	return err
}
