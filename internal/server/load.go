package server

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// LoadConfig reads a configuration file. Every unknown or doubled field is an
// error that names it, its place and, where one is near, the field that was
// meant; defaults are not filled in yet.
func LoadConfig(path string) (Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	cfg, err := ParseConfig(b)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return cfg, nil
}

// ParseConfig reads a configuration from YAML (or JSON, its subset).
func ParseConfig(text []byte) (Config, error) {
	var cfg Config
	b, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return cfg, err
	}
	var doc any
	if err := json.Unmarshal(b, &doc); err != nil {
		return cfg, err
	}
	if doc == nil { // an empty file
		return cfg, nil
	}
	if err := errors.Join(checkFields("", doc, reflect.TypeFor[Config]())...); err != nil {
		return cfg, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&cfg); err != nil {
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return cfg, fmt.Errorf("field %q: cannot take a %s: want %s", te.Field, te.Value, wanted(te.Type))
		}
		return cfg, err
	}
	return cfg, nil
}

// checkFields finds the fields of a document that t does not have. encoding/json
// would take a field in another case, and does not say where an unknown one is.
func checkFields(path string, doc any, t reflect.Type) []error {
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	fields, ok := doc.(map[string]any)
	if !ok {
		return nil // the decoder says so
	}
	known := map[string]reflect.Type{}
	var names []string
	for f := range t.Fields() {
		if name := f.Tag.Get("json"); name != "-" {
			known[name] = f.Type
			names = append(names, name)
		}
	}
	var errs []error
	given := make([]string, 0, len(fields))
	for name := range fields {
		given = append(given, name)
	}
	slices.Sort(given)
	for _, name := range given {
		full := name
		if path != "" {
			full = path + "." + name
		}
		ft, ok := known[name]
		if !ok {
			errs = append(errs, unknownField(full, name, names))
			continue
		}
		errs = append(errs, checkFields(full, fields[name], ft)...)
	}
	return errs
}

func unknownField(full, name string, names []string) error {
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("unknown field %q: did you mean %q?", full, near)
	}
	return fmt.Errorf("unknown field %q: fields here are %s", full, strings.Join(names, ", "))
}

// nearest gives the name that is at most a third of its length in edits away
// from what was written, letter case aside.
func nearest(written string, names []string) string {
	best, bestDistance := "", len(written)
	for _, name := range names {
		d := distance(strings.ToLower(written), strings.ToLower(name))
		if d < bestDistance && d <= max(1, len(name)/3) {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// wanted says in YAML's words what a field takes.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a group of fields"
	case reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int64:
		if t == reflect.TypeFor[Duration]() {
			return `a duration such as "90s"`
		}
		return "a whole number"
	default:
		return "text"
	}
}
