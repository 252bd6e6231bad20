package attach

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"
)

// ReadValues reads the values of the agent's chart as `helm install` does: files
// in their order, later ones winning, then the settings ("a.b=c,d[0]=e").
func ReadValues(files, settings []string) (map[string]any, error) {
	values := map[string]any{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading values: %w", err)
		}
		var read map[string]any
		if err := yaml.UnmarshalStrict(content, &read); err != nil {
			return nil, fmt.Errorf("values in %s: %w", file, err)
		}
		values = MergeValues(values, read)
	}
	for _, s := range settings {
		if err := strvals.ParseInto(s, values); err != nil {
			return nil, fmt.Errorf("value %q: %w", s, err)
		}
	}
	return values, nil
}

// MergeValues gives over on top of base: maps are merged, everything else is
// replaced, and null takes away what base has, as in Helm. Neither is changed.
func MergeValues(base, over map[string]any) map[string]any {
	out := make(map[string]any, len(base)+len(over))
	for key, value := range base {
		if m, ok := value.(map[string]any); ok {
			value = MergeValues(m, nil)
		}
		out[key] = value
	}
	for key, value := range over {
		inner, isMap := value.(map[string]any)
		old, wasMap := out[key].(map[string]any)
		switch {
		case value == nil:
			delete(out, key)
		case isMap && wasMap:
			out[key] = MergeValues(old, inner)
		case isMap:
			out[key] = MergeValues(inner, nil)
		default:
			out[key] = value
		}
	}
	return out
}

// validate checks values by the chart's schema, and names each that is wrong.
func (c *chart) validate(values map[string]any) error {
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(c.schema))
	if err != nil {
		return fmt.Errorf("reading the chart's schema: %w", err)
	}
	const name = "values.schema.json"
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, schema); err != nil {
		return fmt.Errorf("reading the chart's schema: %w", err)
	}
	compiled, err := compiler.Compile(name)
	if err != nil {
		return fmt.Errorf("reading the chart's schema: %w", err)
	}
	// The schema's own types of numbers: those of JSON.
	b, err := yaml.Marshal(values)
	if err != nil {
		return err
	}
	b, err = yaml.YAMLToJSON(b)
	if err != nil {
		return err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	err = compiled.Validate(document)
	wrong, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return err
	}
	var problems []string
	for _, leaf := range leaves(wrong) {
		at := strings.Join(leaf.InstanceLocation, ".")
		if at != "" {
			at += ": "
		}
		problems = append(problems, at+leaf.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
	}
	return fmt.Errorf("the chart's values: %s", strings.Join(problems, "; "))
}

// leaves are the errors that have no cause of their own.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}
