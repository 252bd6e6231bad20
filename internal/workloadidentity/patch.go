package workloadidentity

import (
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Operation is one operation of a JSON patch (RFC 6902). There is only "add":
// nothing here removes or replaces.
type Operation struct {
	// Path is a JSON pointer. It is made of field names and indexes only, so
	// that nothing in it needs escaping.
	Path string
	// Value is JSON.
	Value jsontext.Value
}

// Patch is a JSON patch. Its operations apply in order.
type Patch []Operation

const (
	operationStart = `{"op":"add","path":"`
	operationValue = `","value":`
)

// AppendJSON appends the patch as a JSON document.
func (p Patch) AppendJSON(dst []byte) []byte {
	size := len("[]")
	for _, op := range p {
		size += len(operationStart) + len(op.Path) + len(operationValue) + len(op.Value) + len("},")
	}
	dst = append(slices.Grow(dst, size), '[')
	for i, op := range p {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, operationStart...)
		dst = append(dst, op.Path...)
		dst = append(dst, operationValue...)
		dst = append(dst, op.Value...)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendTo adds values at the end of the array at path: as a new array where
// there is none (absent, or null), else one by one.
func (p *Patch) appendTo(path string, exists bool, values []jsontext.Value) {
	switch {
	case len(values) == 0:
	case !exists:
		*p = append(*p, Operation{Path: path, Value: array(values)})
	default:
		path += "/-"
		for _, v := range values {
			*p = append(*p, Operation{Path: path, Value: v})
		}
	}
}

// insertAt puts values into the array at path, the first at index at; into a new
// array where there is none.
func (p *Patch) insertAt(path string, exists bool, at int, values []jsontext.Value) {
	switch {
	case len(values) == 0:
	case !exists:
		*p = append(*p, Operation{Path: path, Value: array(values)})
	default:
		for i, v := range values {
			*p = append(*p, Operation{Path: path + "/" + strconv.Itoa(at+i), Value: v})
		}
	}
}

func array(values []jsontext.Value) jsontext.Value {
	size := 1 + len(values)
	for _, v := range values {
		size += len(v)
	}
	out := make([]byte, 0, size)
	out = append(out, '[')
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, v...)
	}
	return append(out, ']')
}

// appendString appends s as a JSON string. Bytes that are not UTF-8 cannot come
// from a decoded review, and settings with such bytes become replacement
// characters, as everywhere in JSON.
func appendString(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, s)
	_ = err // says that a byte was replaced; the output is whole either way
	return out
}
