package attach

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/lanyard-id/lanyard/deploy"
)

var update = flag.Bool("update", false, "write the golden files")

const tenant = "aaaaaaaa-0000-0000-0000-000000000001"

func agentChart(t *testing.T) *chart {
	t.Helper()
	c, err := loadChart(deploy.Chart())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestChart renders testdata/chart/NAME.yaml, values, and compares the objects
// with NAME.golden.
func TestChart(t *testing.T) {
	c := agentChart(t)
	files, err := filepath.Glob("testdata/chart/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("values: %v, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			values, err := ReadValues([]string{file}, nil)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := c.render(release{Name: "agent", Namespace: "azure-workload-identity-system", Service: "lanyard"}, values)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, o := range objects {
				text, err := yaml.Marshal(o.Object)
				if err != nil {
					t.Fatal(err)
				}
				b.WriteString("---\n" + string(text))
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v; -update writes it", err)
			}
			if d := cmp.Diff(string(want), b.String()); d != "" {
				t.Errorf("objects (-want +got):\n%s", d)
			}
		})
	}
}
