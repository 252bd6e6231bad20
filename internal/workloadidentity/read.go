package workloadidentity

import (
	"bytes"
	"errors"
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
	jsontext.AllowDuplicateNames(true), // unmarshalers look after those that count
	json.WithUnmarshalers(json.JoinUnmarshalers(
		objectReader[Review](), objectReader[ReviewRequest](), objectReader[ReviewResource](),
		objectReader[Pod](), objectReader[PodMetadata](), objectReader[PodLabels](), objectReader[PodSpec](),
		objectReader[Container](), objectReader[EnvVar](), objectReader[VolumeMount](), objectReader[HostAlias](),
		objectReader[Volume](), objectReader[ProjectedVolume](), objectReader[VolumeSource](),
		objectReader[TokenSource](), objectReader[ConfigMapSource](),
		json.UnmarshalFromFunc(readStrings),
	)),
)

// maxMembers is how many members an object that is read may have here.
const maxMembers = 16

// objectReader reads a struct by the names of its fields' json tags.
func objectReader[T any]() *json.Unmarshalers {
	var names []string
	for field := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	if len(names) > maxMembers {
		panic(fmt.Sprintf("%v has more than %d fields", reflect.TypeFor[T](), maxMembers))
	}
	return json.UnmarshalFromFunc(func(dec *jsontext.Decoder, into *T) error {
		target := reflect.ValueOf(into).Elem()
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
				field := target.Field(i).Addr().Interface()
				if text, ok := field.(*string); ok {
					return readString(dec, text)
				}
				return json.UnmarshalDecode(dec, field)
			}
			_, err := dec.ReadValue() // quicker than SkipValue, and all of it is in memory
			return err
		})
	})
}

// members reads an object, or null, and calls read before each member's value.
func members(dec *jsontext.Decoder, read func(name []byte) error) error {
	switch kind := dec.PeekKind(); kind {
	case 'n':
		_, err := dec.ReadToken()
		return err
	case '{':
	case 0: // reading on gives the error
		_, err := dec.ReadToken()
		return err
	default:
		return fmt.Errorf("an object was expected, not %s", kind)
	}
	if _, err := dec.ReadToken(); err != nil {
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
	_, err := dec.ReadToken()
	return err
}

// unquoted gives what a JSON string says. It is good until the decoder goes on.
func unquoted(quoted jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	return jsontext.AppendUnquote(nil, quoted)
}

var errNoString = errors.New("a string was expected")

// readString reads a string, or null as an empty one.
func readString(dec *jsontext.Decoder, into *string) error {
	if kind := dec.PeekKind(); kind != '"' && kind != 'n' && kind != 0 {
		return errNoString
	}
	value, err := dec.ReadValue()
	if err != nil || value.Kind() == 'n' {
		*into = ""
		return err
	}
	text, err := unquoted(value)
	*into = string(text)
	return err
}

// readStrings reads annotations.
func readStrings(dec *jsontext.Decoder, into *map[string]string) error {
	*into = nil
	return members(dec, func(raw []byte) error {
		name, value := string(raw), ""
		if _, ok := (*into)[name]; ok {
			return fmt.Errorf("duplicate object member name %q", name)
		}
		if err := readString(dec, &value); err != nil {
			return err
		}
		if *into == nil {
			*into = map[string]string{}
		}
		(*into)[name] = value
		return nil
	})
}
