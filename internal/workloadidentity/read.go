package workloadidentity

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// readOptions read a review in a third of the time that it takes to look at all of
// it closely: most of a pod, and all of its managed fields, are members that
// nobody here asks for. They are only skipped. Of those that are read a second one
// is refused, so that what is decided on is what the API server patches.
var readOptions = json.JoinOptions(
	jsontext.AllowDuplicateNames(true), // readers look after those that count
	jsontext.AllowInvalidUTF8(true),    // ParseReview looks at the whole at once
	json.WithUnmarshalers(json.UnmarshalFromFunc(func() func(*jsontext.Decoder, *Review) error {
		read := readerOf(reflect.TypeFor[Review]())
		return func(dec *jsontext.Decoder, into *Review) error {
			return read(&input{dec, maxElements}, reflect.ValueOf(into).Elem())
		}
	}())),
)

// input is a review that is read. What is read takes memory by its elements, of
// which a few bytes are enough to send one.
type input struct {
	*jsontext.Decoder
	left int // elements that it may still have
}

// element counts an element of a list, or an annotation.
func (in *input) element() error {
	if in.left--; in.left < 0 {
		return fmt.Errorf("the pod has more than %d elements in its lists", maxElements)
	}
	return nil
}

// reader reads a JSON value into a variable of the type that it was made for. null
// is the type's zero value.
type reader func(dec *input, into reflect.Value) error

// readerOf makes the reader of a type: of a struct, by its json tags, and of what
// structs here have.
func readerOf(t reflect.Type) reader {
	switch t.Kind() {
	case reflect.Struct:
		return structReader(t)
	case reflect.Slice:
		return sliceReader(readerOf(t.Elem()))
	case reflect.Pointer:
		read := readerOf(t.Elem())
		return func(dec *input, into reflect.Value) error {
			if dec.PeekKind() == 'n' {
				into.SetZero()
				return skip(dec)
			}
			into.Set(reflect.New(t.Elem()))
			return read(dec, into.Elem())
		}
	case reflect.String:
		return func(dec *input, into reflect.Value) error {
			text, err := readString(dec)
			into.SetString(text)
			return err
		}
	case reflect.Bool:
		return func(dec *input, into reflect.Value) error {
			kind, err := expect(dec, "true or false", 't', 'f', 'n')
			if err != nil {
				return err
			}
			into.SetBool(kind == 't')
			return skip(dec)
		}
	case reflect.Map:
		return readStrings
	default:
		panic(fmt.Sprintf("nobody reads a %v", t)) // at the program's start
	}
}

// maxMembers is how many fields a struct that is read may have.
const maxMembers = 16

func structReader(t reflect.Type) reader {
	var names []string
	var readers []reader
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names, readers = append(names, name), append(readers, readerOf(field.Type))
	}
	if len(names) > maxMembers {
		panic(fmt.Sprintf("%v has more than %d fields", t, maxMembers)) // as above
	}
	return func(dec *input, into reflect.Value) error {
		into.SetZero()
		var seen [maxMembers]bool
		return members(dec, func(name []byte) error {
			for i := range names {
				if names[i] != string(name) {
					continue
				}
				if seen[i] {
					return fmt.Errorf("duplicate object member name %q", names[i])
				}
				seen[i] = true
				return readers[i](dec, into.Field(i))
			}
			return skip(dec)
		})
	}
}

func sliceReader(read reader) reader {
	return func(dec *input, into reflect.Value) error {
		into.SetZero()
		kind, err := expect(dec, "a list", '[', 'n')
		if err != nil {
			return err
		}
		if _, err := dec.ReadToken(); err != nil || kind == 'n' {
			return err
		}
		if dec.PeekKind() == ']' {
			into.Set(reflect.MakeSlice(into.Type(), 0, 0)) // which is not null
		}
		for n := 0; dec.PeekKind() != ']'; n++ {
			if err := dec.element(); err != nil {
				return err
			}
			if n == into.Cap() {
				into.Grow(max(2, n))
			}
			into.SetLen(n + 1)
			if err := read(dec, into.Index(n)); err != nil {
				return err
			}
		}
		_, err = dec.ReadToken()
		return err
	}
}

// expect gives the kind of the next value, which must be one of those given.
func expect(dec *input, what string, kinds ...jsontext.Kind) (jsontext.Kind, error) {
	kind := dec.PeekKind()
	for _, k := range kinds {
		if kind == k {
			return kind, nil
		}
	}
	if kind == 0 { // reading on gives the error
		if _, err := dec.ReadToken(); err != nil {
			return kind, err
		}
	}
	return kind, fmt.Errorf("%s was expected, not %s", what, kind)
}

// skip reads a value that nobody asks for: all at once, since it is in memory
// anyway, where SkipValue goes by its tokens.
func skip(dec *input) error {
	_, err := dec.ReadValue()
	return err
}

// members reads an object, or null, and calls read before each member's value.
func members(dec *input, read func(name []byte) error) error {
	kind, err := expect(dec, "an object", '{', 'n')
	if err != nil {
		return err
	}
	if _, err := dec.ReadToken(); err != nil || kind == 'n' {
		return err
	}
	for dec.PeekKind() == '"' {
		quoted, err := dec.ReadValue()
		if err != nil {
			return err
		}
		name, err := unquoted(quoted)
		if err != nil {
			return err
		}
		if err := read(name); err != nil {
			return err
		}
	}
	_, err = dec.ReadToken()
	return err
}

// unquoted gives what a JSON string says. It is good until the decoder goes on.
func unquoted(quoted jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	return jsontext.AppendUnquote(nil, quoted)
}

// readString reads a string.
func readString(dec *input) (string, error) {
	kind, err := expect(dec, "a string", '"', 'n')
	if err != nil {
		return "", err
	}
	value, err := dec.ReadValue()
	if err != nil || kind == 'n' {
		return "", err
	}
	text, err := unquoted(value)
	return string(text), err
}

// readStrings reads annotations.
func readStrings(dec *input, into reflect.Value) error {
	var all map[string]string
	err := members(dec, func(raw []byte) error {
		name := string(raw)
		if _, ok := all[name]; ok {
			return fmt.Errorf("duplicate object member name %q", name)
		}
		if err := dec.element(); err != nil {
			return err
		}
		value, err := readString(dec)
		if all == nil {
			all = map[string]string{}
		}
		all[name] = value
		return err
	})
	into.Set(reflect.ValueOf(all))
	return err
}
