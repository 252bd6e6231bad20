package rbac

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
)

type tokenKind int

const (
	tokenEnd       tokenKind = iota
	tokenWord                // keyword, operator, GUID, number, true or false
	tokenString              // 'text', without the quotes and still escaped
	tokenAttribute           // @Source[name]
	tokenSymbol              // ( ) { } , ! && ||
)

// condToken is a token of a condition.
type condToken struct {
	kind tokenKind
	text string
	// source is the folded source of an attribute ("request"); text is its name.
	source string
	offset int // in bytes
}

// is reports whether the token is the given keyword or symbol, in any case.
func (t condToken) is(text string) bool {
	return (t.kind == tokenWord || t.kind == tokenSymbol) && azure.EqualFold(t.text, text)
}

// String names the token in errors.
func (t condToken) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end"
	case tokenString:
		return "the text '" + t.text + "'"
	case tokenAttribute:
		return "the attribute " + t.text
	default:
		return "'" + t.text + "'"
	}
}

// lexCondition splits a condition into tokens; the last is tokenEnd.
func lexCondition(text string) ([]condToken, error) {
	var tokens []condToken
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
		case strings.IndexByte("(){},!", c) >= 0:
			tokens = append(tokens, condToken{kind: tokenSymbol, text: text[i : i+1], offset: i})
			i++
		case strings.HasPrefix(text[i:], "&&") || strings.HasPrefix(text[i:], "||"):
			tokens = append(tokens, condToken{kind: tokenSymbol, text: text[i : i+2], offset: i})
			i += 2
		case c == '\'':
			end := stringEnd(text, i+1)
			if end < 0 {
				return nil, condErrorf(text, i, "the text that starts here has no closing quote")
			}
			tokens = append(tokens, condToken{kind: tokenString, text: text[i+1 : end], offset: i})
			i = end + 1
		case c == '@':
			t, end, err := lexAttribute(text, i)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, t)
			i = end
		case isWordByte(c):
			end := i + 1
			for end < len(text) && isWordByte(text[end]) {
				end++
			}
			tokens = append(tokens, condToken{kind: tokenWord, text: text[i:end], offset: i})
			i = end
		default:
			r, _ := utf8.DecodeRuneInString(text[i:])
			return nil, condErrorf(text, i, "the character %q is not expected", r)
		}
	}
	return append(tokens, condToken{kind: tokenEnd, offset: len(text)}), nil
}

// stringEnd gives the index of the quote that ends a text; a backslash guards
// the character after it.
func stringEnd(text string, from int) int {
	for i := from; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '\'':
			return i
		}
	}
	return -1
}

func lexAttribute(text string, at int) (condToken, int, error) {
	open := strings.IndexByte(text[at:], '[')
	if open < 0 {
		return condToken{}, 0, condErrorf(text, at, "an attribute is written @Source[name]")
	}
	source := azure.Fold(strings.TrimSpace(text[at+1 : at+open]))
	switch source {
	case "request", "resource", "principal", "environment":
	default:
		return condToken{}, 0, condErrorf(text, at,
			"attributes are @Request, @Resource, @Principal and @Environment")
	}
	nameAt := at + open + 1
	length := strings.IndexByte(text[nameAt:], ']')
	if length < 0 {
		return condToken{}, 0, condErrorf(text, at, "the attribute has no closing ']'")
	}
	name := strings.TrimSpace(text[nameAt : nameAt+length])
	if name == "" {
		return condToken{}, 0, condErrorf(text, at, "the attribute has no name")
	}
	return condToken{kind: tokenAttribute, source: source, text: name, offset: at}, nameAt + length + 1, nil
}

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == ':'
}

func condErrorf(text string, offset int, format string, args ...any) error {
	return &conditionError{
		at:   utf8.RuneCountInString(text[:offset]) + 1,
		what: fmt.Sprintf(format, args...),
	}
}
