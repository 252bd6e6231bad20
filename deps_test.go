package lanyard_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/lanyard-id/lanyard"

// order lists every package of the module; one may import only those above it.
// A package that is not listed fails the test: say where it belongs first.
var order = []string{
	"internal/atomicfile",
	"internal/command",
	"internal/standin",
	"internal/azure",
	"internal/channel",
	"internal/channel/channeltest",
	"internal/trust",
	"apis/aadpodidentity/v1",
	"internal/podidentity",
	"internal/workloadidentity",
	"internal/tracing",
	"internal/imds",
	"internal/actas",
	"internal/audit",
	"internal/store",
	"internal/token",
	"internal/issuer",
	"internal/directory",
	"internal/rbac",
	"internal/cloudtest",
	"internal/cluster",
	"internal/arm",
	"internal/provider",
	"internal/entra",
	"internal/keyvault",
	"internal/graph",
	"internal/proxy",
	"internal/server",
	"lanyardtest",
	"deploy",
	"internal/attach",
	"internal/migration",
	"cmd/lanyard",
	"internal/serving",
	"internal/exchange",
	"internal/controller",
	"internal/tokenproxy",
	"internal/sidecar",
	"cmd/lanyard-agent",
}

// agent are the packages of what runs in clusters, and shared are those that it
// has in common with the cloud. Neither side imports more of the other: the
// agent stays small, works before Azure too, and never links etcd.
var (
	agent  = []string{"internal/workloadidentity", "internal/serving", "internal/exchange", "internal/controller", "internal/tokenproxy", "internal/sidecar", "cmd/lanyard-agent"}
	shared = []string{"internal/command", "internal/azure", "internal/channel", "internal/trust", "internal/imds", "apis/aadpodidentity/v1", "internal/podidentity", "internal/workloadidentity"}
)

// testOnly are imported by tests alone, and by none of the product.
var testOnly = []string{"internal/standin", "internal/channel/channeltest", "internal/cloudtest"}

// planes may not import each other, whatever their order: what one needs of
// another comes through a small interface that internal/server fills.
var planes = [][]string{
	{"internal/arm", "internal/provider"},
	{"internal/entra"},
	{"internal/keyvault"},
	{"internal/graph"},
}

// onlyUsers names libraries that one package has to itself, so that the rest
// does not come to depend on them.
var onlyUsers = map[string][]string{
	"go.etcd.io/":                        {"internal/store"},
	"github.com/go-jose/go-jose":         {"internal/token"},
	"github.com/coreos/go-oidc":          {"internal/token"},
	"go.opentelemetry.io/":               {"internal/tracing"},
	"sigs.k8s.io/controller-runtime":     {"internal/controller"},
	"github.com/google/nftables":         {"internal/sidecar"},
	"github.com/vishvananda/netlink":     {"internal/node"},
	"github.com/distribution/":           {"internal/registry"},
	"helm.sh/":                           {"internal/attach"},
	"github.com/Azure/azure-sdk-for-go/": {"lanyardtest"}, // its users' types
	"k8s.io/client-go":                   {"internal/attach", "internal/serving", "internal/controller", "internal/tokenproxy", "cmd/lanyard-agent"},
	"github.com/go-json-experiment/json": {"internal/workloadidentity"},
	"software.sslmate.com/src/go-pkcs12": {"internal/trust"},
	"golang.org/x/crypto/x509roots":      {"internal/trust"},
}

type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func TestImportRules(t *testing.T) {
	for _, p := range goList(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if name == "" { // the root holds tests only
			continue
		}
		place := slices.Index(order, name)
		if place < 0 {
			t.Errorf("package %s is not listed in deps_test.go: add it at its place in the order", name)
			continue
		}
		for _, imported := range p.Imports {
			checkImport(t, name, place, imported)
		}
	}
}

func checkImport(t *testing.T, name string, place int, imported string) {
	t.Helper()
	for library, users := range onlyUsers {
		if strings.HasPrefix(imported, library) && !slices.Contains(users, name) {
			t.Errorf("package %s imports %s, which is for %v only", name, imported, users)
		}
	}
	inner, ok := strings.CutPrefix(imported, module+"/")
	if !ok {
		return
	}
	if at := slices.Index(order, inner); at < 0 || at >= place {
		t.Errorf("package %s imports %s, which is not above it", name, inner)
	}
	if slices.Contains(testOnly, inner) && !slices.Contains(testOnly, name) {
		t.Errorf("package %s imports %s, which is for tests only", name, inner)
	}
	if slices.Contains(agent, name) != slices.Contains(agent, inner) && !slices.Contains(shared, inner) {
		t.Errorf("package %s imports %s: the agent and the cloud share %v only", name, inner, shared)
	}
	mine, theirs := planeOf(name), planeOf(inner)
	if mine >= 0 && theirs >= 0 && mine != theirs {
		t.Errorf("package %s imports %s: planes do not know each other", name, inner)
	}
}

func planeOf(name string) int {
	return slices.IndexFunc(planes, func(members []string) bool { return slices.Contains(members, name) })
}

func goList(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
