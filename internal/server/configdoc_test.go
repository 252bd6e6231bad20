package server

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

const configDoc = "../../docs/configuration.md"

// TestConfigurationPage: docs/configuration.md is what config.go says, field by
// field, and every field says something.
func TestConfigurationPage(t *testing.T) {
	want := configPage(t)
	if cloudtest.Updating() {
		if err := os.WriteFile(configDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configDoc)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/configuration.md is not what config.go says: go test ./internal/server -run TestConfigurationPage -update")
	}
}

// configPage writes the page from the comments of the configuration's types.
func configPage(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]*ast.TypeSpec{}
	docs := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				if ts, ok := spec.(*ast.TypeSpec); ok {
					types[ts.Name.Name], docs[ts.Name.Name] = ts, g.Doc.Text()
				}
			}
		}
	}
	var page strings.Builder
	page.WriteString(`# Configuration

The fields of the YAML file that ` + "`lanyard serve --config FILE`" + ` reads. A field that is
not listed is an error. Durations are written as ` + "`90s`" + ` or ` + "`1h30m`" + `; relative paths
are relative to the working directory. ` + "`lanyard up`" + ` takes the ones that it lets you
choose as flags.

This page is made from the comments of the types in internal/server/config.go.
`)
	p := configWriter{t: t, types: types, docs: docs, page: &page}
	p.fields("", "Config")
	for _, alias := range KnownAliases() {
		if !strings.Contains(page.String(), alias) {
			t.Errorf("the comment of Config.Aliases lacks %s", alias)
		}
	}
	return page.String()
}

// configWriter writes the fields of one group after the other.
type configWriter struct {
	t     *testing.T
	types map[string]*ast.TypeSpec
	docs  map[string]string
	page  *strings.Builder
}

func (w configWriter) fields(path, typeName string) {
	s, ok := w.types[typeName].Type.(*ast.StructType)
	if !ok {
		return
	}
	var groups [][2]string // the fields that are groups, after the others
	if path != "" {
		fmt.Fprintf(w.page, "\n## %s\n\n%s\n", path, w.paragraph(strings.Replace(w.docs[typeName], typeName, "`"+path+"`", 1)))
	}
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			w.t.Errorf("%s.%s has no name in the file", typeName, f.Names[0])
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(f.Tag.Value, "`json:\""), "\"`")
		if name == "-" {
			continue
		}
		if path != "" {
			name = path + "." + name
		}
		if f.Doc.Text() == "" {
			w.t.Errorf("%s.%s has no comment", typeName, f.Names[0])
		}
		if id, ok := f.Type.(*ast.Ident); ok {
			if ts, ok := w.types[id.Name]; ok && isStruct(ts) {
				groups = append(groups, [2]string{name, id.Name})
				continue
			}
		}
		fmt.Fprintf(w.page, "\n`%s` (%s): %s\n", name, kind(w.t, f.Type), w.paragraph(predicate(f)))
	}
	for _, g := range groups {
		w.fields(g[0], g[1])
	}
}

func isStruct(ts *ast.TypeSpec) bool {
	_, ok := ts.Type.(*ast.StructType)
	return ok
}

// predicate is a field's comment without the name that it begins with.
func predicate(f *ast.Field) string {
	text := strings.TrimPrefix(f.Doc.Text(), f.Names[0].Name+" ")
	return strings.TrimPrefix(strings.TrimPrefix(text, "is "), "are ")
}

// word is what may be the name of a field in a comment.
var word = regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`)

// paragraph makes one line of a comment, with the file's names for fields and
// without the brackets of links.
func (w configWriter) paragraph(comment string) string {
	text := strings.NewReplacer("[", "", "]", "").Replace(strings.Join(strings.Fields(comment), " "))
	names := map[string]string{}
	for _, ts := range w.types {
		s, ok := ts.Type.(*ast.StructType)
		if !ok || !strings.HasSuffix(ts.Name.Name, "Config") {
			continue
		}
		for _, f := range s.Fields.List {
			if f.Tag != nil && len(f.Names) == 1 {
				names[f.Names[0].Name] = strings.TrimSuffix(strings.TrimPrefix(f.Tag.Value, "`json:\""), "\"`")
			}
		}
	}
	return word.ReplaceAllStringFunc(text, func(s string) string {
		if name, ok := names[s]; ok && name != "-" && s != "TLS" {
			return name
		}
		return s
	})
}

// kind names a field's type in YAML's words.
func kind(t *testing.T, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.ArrayType:
		return "list of " + kind(t, e.Elt)
	case *ast.StarExpr:
		return kind(t, e.X)
	case *ast.MapType:
		return "names with " + kind(t, e.Value)
	case *ast.Ident:
		if name, ok := map[string]string{
			"string": "text", "bool": "true or false", "int": "number", "int64": "number", "float64": "number", "Duration": "duration",
		}[e.Name]; ok {
			return name
		}
	}
	t.Errorf("a field has the type %#v, which the page has no word for", e)
	return "?"
}
