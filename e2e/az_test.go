package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAz has az, unmodified, use a cloud by what "lanyard env --format az"
// prints, and make what a workload identity needs.
func TestAz(t *testing.T) {
	if _, err := exec.LookPath("az"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have az (Debian's azure-cli)")
		}
		t.Skip("NOT TESTED: this machine lacks az (Debian's azure-cli)")
	}
	group := newGroup(t)
	script := `
set -eu
eval "$(lanyard env --format az)" 2>/dev/null
az account show --query tenantId -o tsv
az group show -n ` + group + ` --query location -o tsv
az identity create -g ` + group + ` -n orders --query clientId -o tsv
az identity federated-credential create -g ` + group + ` --identity-name orders -n cluster \
  --issuer https://cluster.example --subject system:serviceaccount:shop:orders --audiences api://AzureADTokenExchange --query subject -o tsv
az identity list -g ` + group + ` --query '[].name' -o tsv
az resource list -g ` + group + ` --query '[].type' -o tsv
az identity delete -g ` + group + ` -n orders
az identity list -g ` + group + ` --query 'length(@)' -o tsv
`
	cmd := exec.CommandContext(testContext(t), "bash", "-c", script)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AZURE_") && !strings.HasPrefix(v, "PATH=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "PATH="+world.bin+":"+os.Getenv("PATH"), "LANYARD_ENV_FILE="+filepath.Join(filepath.Dir(world.env.CAFile), "env.json"))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, complaints.String())
	}
	lines := strings.Fields(string(out))
	if len(lines) != 7 || lines[0] != world.env.TenantID || lines[1] != location || lines[3] != "system:serviceaccount:shop:orders" ||
		lines[4] != "orders" || !strings.EqualFold(lines[5], "Microsoft.ManagedIdentity/userAssignedIdentities") || lines[6] != "0" {
		t.Fatalf("az printed:\n%s%s", out, complaints.String())
	}
}
