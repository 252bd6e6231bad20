package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// runAz runs a script with az, unmodified, which finds the cloud by what "lanyard
// env --format az" prints, and gives what it printed.
func runAz(t *testing.T, script string) []string {
	t.Helper()
	if _, err := exec.LookPath("az"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have az (Debian's azure-cli)")
		}
		t.Skip("NOT TESTED: this machine lacks az (Debian's azure-cli)")
	}
	cmd := exec.CommandContext(testContext(t), "bash", "-c", "set -eu\neval \"$(lanyard env --format az)\" 2>/dev/null\n"+script)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AZURE_") && !strings.HasPrefix(v, "PATH=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "PATH="+world.bin+":"+os.Getenv("PATH"), "LANYARD_ENV_FILE="+filepath.Join(filepath.Dir(world.env.CAFile), "env.json"))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("az said:\n%s", complaints.String())
		}
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// TestAz has az make what a workload identity needs.
func TestAz(t *testing.T) {
	group := newGroup(t)
	lines := runAz(t, `
az account show --query tenantId -o tsv
az group show -n `+group+` --query location -o tsv
az identity create -g `+group+` -n orders --query clientId -o tsv
az identity federated-credential create -g `+group+` --identity-name orders -n cluster \
  --issuer https://cluster.example --subject system:serviceaccount:shop:orders --audiences api://AzureADTokenExchange --query subject -o tsv
az identity list -g `+group+` --query '[].name' -o tsv
az resource list -g `+group+` --query '[].type' -o tsv
az identity delete -g `+group+` -n orders
az identity list -g `+group+` --query 'length(@)' -o tsv
`)
	if len(lines) != 7 || lines[0] != world.env.TenantID || lines[1] != location || lines[3] != "system:serviceaccount:shop:orders" ||
		lines[4] != "orders" || !strings.EqualFold(lines[5], "Microsoft.ManagedIdentity/userAssignedIdentities") || lines[6] != "0" {
		t.Fatalf("az printed %q", lines)
	}
}

// TestAzApplications has az make an application with a secret, a certificate and
// a federated credential, and find its principal.
func TestAzApplications(t *testing.T) {
	name := "az-" + uuid.NewString()[:8]
	lines := runAz(t, `
name=`+name+`
az ad sp create-for-rbac -n $name --query displayName -o tsv
app=$(az ad app list --display-name $name --query '[0].appId' -o tsv)
az ad app update --id $app --identifier-uris api://$app
az ad app show --id $app --query 'identifierUris[0]' -o tsv | sed "s/$app/APP/"
az ad app credential reset --id $app --append --query 'length(password)' -o tsv
az ad app credential reset --id $app --append --create-cert --query tenant -o tsv
az ad app credential list --id $app --cert --query '[].type' -o tsv
az ad app federated-credential create --id $app --parameters \
  '{"name":"main","issuer":"https://cluster.example","subject":"s","audiences":["api://AzureADTokenExchange"]}' --query name -o tsv
az ad app federated-credential update --id $app --federated-credential-id main --parameters '{"subject":"t"}'
az ad app federated-credential show --id $app --federated-credential-id main --query subject -o tsv
az ad sp credential reset --id $app --query 'length(password)' -o tsv
az ad sp show --id $app --query servicePrincipalType -o tsv
az ad sp delete --id $app
az ad app delete --id $app
az ad app list --display-name $name --query 'length(@)' -o tsv
`)
	want := []string{name, "api://APP", "40", world.env.TenantID, "AsymmetricX509Cert", "main", "t", "40", "Application", "0"}
	if !slices.Equal(lines, want) {
		t.Fatalf("az printed %q, want %q", lines, want)
	}
}

// TestAzGroups has az make a user and a group, and ask who is in it.
func TestAzGroups(t *testing.T) {
	name := "az-" + uuid.NewString()[:8]
	lines := runAz(t, `
name=`+name+`
user=$(az ad user create --display-name $name --password Secret-123456 --user-principal-name $name@`+world.env.Domain+` --query id -o tsv)
az ad group create --display-name $name --mail-nickname $name --query securityEnabled -o tsv
az ad group member add -g $name --member-id $user
az ad group member check -g $name --member-id $user --query value -o tsv
az ad group member list -g $name --query '[].displayName' -o tsv
az ad user get-member-groups --id $name@`+world.env.Domain+` --query 'length(@)' -o tsv
az ad group member remove -g $name --member-id $user
az ad group member check -g $name --member-id $user --query value -o tsv
az ad group delete -g $name
az ad user delete --id $user
az ad user list --upn $name@`+world.env.Domain+` --query 'length(@)' -o tsv
`)
	if want := []string{"true", "true", name, "1", "false", "0"}; !slices.Equal(lines, want) {
		t.Fatalf("az printed %q, want %q", lines, want)
	}
}
