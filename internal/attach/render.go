package attach

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// release is what a chart is told of where it goes, by the names that Helm has
// for it.
type release struct {
	Name, Namespace string
	// Service is who renders: it goes into app.kubernetes.io/managed-by.
	Service string
}

// chartInfo is as much of Chart.yaml as templates use, and which clusters it is for.
type chartInfo struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	AppVersion  string `json:"appVersion"`
	KubeVersion string `json:"kubeVersion"`
}

// chart is a Helm chart without dependencies, hooks and custom resources.
//
// It is rendered here, by Go's templates and Helm's function library, and not by
// Helm's engine, which brings every type of the Kubernetes API with it: thirty
// megabytes of program, and twenty of memory in each process of a cloud. Tests
// hold the two against each other.
type chart struct {
	info      chartInfo
	defaults  map[string]any
	schema    []byte
	templates *template.Template
	files     []string // templates that make objects
}

// loadChart reads a chart's files.
func loadChart(files fs.FS) (*chart, error) {
	c := &chart{}
	for name, into := range map[string]any{"Chart.yaml": &c.info, "values.yaml": &c.defaults} {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading the chart: %w", err)
		}
		if err := yaml.Unmarshal(content, into); err != nil {
			return nil, fmt.Errorf("reading the chart's %s: %w", name, err)
		}
	}
	var err error
	if c.schema, err = fs.ReadFile(files, "values.schema.json"); err != nil {
		return nil, fmt.Errorf("reading the chart: %w", err)
	}
	names, err := fs.Glob(files, "templates/*")
	if err != nil {
		return nil, err
	}
	c.templates = template.New("").Option("missingkey=zero")
	c.templates.Funcs(c.functions())
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading the chart: %w", err)
		}
		if _, err := c.templates.New(name).Parse(string(content)); err != nil {
			return nil, fmt.Errorf("reading the chart: %w", err)
		}
		if path.Ext(name) == ".yaml" {
			c.files = append(c.files, name)
		}
	}
	return c, nil
}

// functions are those that Helm gives to templates, as far as the chart uses
// them: sprig's, without the environment, and Helm's own.
func (c *chart) functions() template.FuncMap {
	f := sprig.TxtFuncMap()
	delete(f, "env")
	delete(f, "expandenv")
	f["include"] = func(name string, data any) (string, error) {
		var b strings.Builder
		err := c.templates.ExecuteTemplate(&b, name, data)
		return b.String(), err
	}
	f["toYaml"] = func(v any) (string, error) {
		b, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(b), "\n"), err
	}
	f["required"] = func(message string, v any) (any, error) {
		if v == nil || v == "" {
			return nil, errors.New(message)
		}
		return v, nil
	}
	return f
}

// render gives the chart's objects in the order in which they are to be made.
// The values are the given ones over the chart's defaults.
func (c *chart) render(r release, given map[string]any) ([]*unstructured.Unstructured, error) {
	values := MergeValues(c.defaults, given)
	if err := c.validate(values); err != nil {
		return nil, err
	}
	data := map[string]any{"Values": values, "Release": r, "Chart": c.info}
	var objects []*unstructured.Unstructured
	for _, name := range c.files {
		var b bytes.Buffer
		if err := c.templates.ExecuteTemplate(&b, name, data); err != nil {
			return nil, renderError(err)
		}
		// What is missing in a map of any prints so; Helm takes it out, too.
		text := strings.ReplaceAll(b.String(), "<no value>", "")
		for document := range strings.SplitSeq(text, "\n---\n") {
			o, err := objectOf(document)
			if err != nil {
				return nil, fmt.Errorf("the chart's %s: %w", name, err)
			}
			if o != nil {
				objects = append(objects, o)
			}
		}
	}
	for _, o := range objects {
		if rank(o.GetKind()) < 0 {
			return nil, fmt.Errorf("the chart makes a %s, which is none of the kinds that attach knows", o.GetKind())
		}
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a.GetKind()) - rank(b.GetKind()) })
	return objects, nil
}

// renderError leaves away where in a template a `fail` or `required` stands: its
// words are for whoever gave the values.
func renderError(err error) error {
	var exec template.ExecError
	if !errors.As(err, &exec) {
		return fmt.Errorf("rendering the chart: %w", err)
	}
	for inner := errors.Unwrap(error(exec)); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return fmt.Errorf("rendering the chart: %s: %w", exec.Name, err)
}

// objectOf reads one document of YAML; nil for one that holds nothing.
func objectOf(document string) (*unstructured.Unstructured, error) {
	b, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		return nil, err
	}
	if string(b) == "null" {
		return nil, nil
	}
	o := &unstructured.Unstructured{}
	return o, o.UnmarshalJSON(b)
}
