package attach

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/lanyard-id/lanyard/internal/attach"
)

const (
	chartDir  = "../../deploy/chart"
	namespace = attach.DefaultNamespace
)

// helm is the unmodified program, built once.
var helm = struct {
	once sync.Once
	path string
	err  error
}{}

func helmPath(t *testing.T) string {
	t.Helper()
	helm.once.Do(func() {
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "tool", "-n", "helm").Output()
		helm.path, helm.err = strings.TrimSpace(string(out)), err
	})
	if helm.err != nil {
		t.Fatalf("building helm: %v", helm.err)
	}
	return helm.path
}

func runHelm(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), helmPath(t), args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("helm %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// valuesFiles are those that attach's own tests have golden files for.
func valuesFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../internal/attach/testdata/chart/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("values: %v, %v", files, err)
	}
	return files
}

func TestHelmLint(t *testing.T) {
	for _, file := range valuesFiles(t) {
		if out := runHelm(t, "lint", "--strict", chartDir, "--values", file); !strings.Contains(out, "0 chart(s) failed") {
			t.Errorf("%s:\n%s", file, out)
		}
	}
}

// render gives what attach would install with the values of a file.
func render(t *testing.T, file string) string {
	t.Helper()
	values, err := attach.ReadValues([]string{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	install, err := attach.Prepare(attach.Attachment{Namespace: namespace, Values: values}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := install.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(rendered)
}

// TestHelmRendersTheSame: attach renders the chart without Helm's engine; what
// comes out is the same.
func TestHelmRendersTheSame(t *testing.T) {
	for _, file := range valuesFiles(t) {
		rendered := render(t, file)
		ours := objects(t, strings.ReplaceAll(rendered, "app.kubernetes.io/managed-by: lanyard", "app.kubernetes.io/managed-by: Helm"))
		// What attach has beside the chart.
		for _, name := range []string{"Namespace/" + namespace, "Secret/lanyard-attachment"} {
			if ours[name] == nil {
				t.Errorf("%s: there is no %s", file, name)
			}
			delete(ours, name)
		}
		theirs := objects(t, runHelm(t, "template", "lanyard-agent", chartDir, "--namespace", namespace, "--values", file))
		if d := cmp.Diff(theirs, ours); d != "" {
			t.Errorf("%s (-helm +attach):\n%s", file, d)
		}
	}
}

// TestObjectsAreStrictlyValid: the API's own types know every field.
func TestObjectsAreStrictlyValid(t *testing.T) {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, file := range valuesFiles(t) {
		rendered := render(t, file)
		for document := range strings.SplitSeq("\n"+rendered, "\n---\n") {
			if strings.TrimSpace(document) == "" || strings.Contains(document, "kind: ServiceMonitor") {
				continue // of the Prometheus operator, whose types are not here
			}
			if _, _, err := decoder.Decode([]byte(document), nil, nil); err != nil {
				t.Errorf("%s: %v\n%s", file, err, document)
			}
		}
	}
}

// objects reads documents of YAML by kind and name.
func objects(t *testing.T, text string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if o == nil {
			continue
		}
		kind, _ := o["kind"].(string)
		name, _ := o["metadata"].(map[string]any)["name"].(string)
		all[kind+"/"+name] = o
	}
	return all
}
