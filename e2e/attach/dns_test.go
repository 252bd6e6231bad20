package attach

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/lanyard-id/lanyard/e2e/cloudhost"
	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const workloadImage = "kubetest.invalid/workload:1"

// TestAttachByDNS: where the cluster's DNS leads the authority's names to the cloud,
// nothing is written into pods' host files; and a pod may go by the public
// authority's own name, which the cloud answers for the cluster.
func TestAttachByDNS(t *testing.T) {
	k := world.Get(t)
	address := world.Host.Addr()
	names := map[string]netip.Addr{
		"*." + cloudhost.Domain: address, "login-us.microsoftonline.com": address, "login.microsoftonline.com": address,
	}
	if err := k.SetNames(t.Context(), names); err != nil {
		t.Fatal(err)
	}
	if err := world.LoadProgram(t.Context(), k, workloadImage, "../../examples", "./quickstart/workload"); err != nil {
		t.Fatal(err)
	}
	issuer, err := world.Attach(t.Context(), k, "by-dns", "clusters", agentImage, "--address", "dns", "--authority", "alias,override")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { // the one side and the other, as where one of them is no more
		place := []string{"by-dns", "--resource-group", "clusters", "--yes"}
		mustLanyard(t, k, append([]string{"detach", "--cluster-only"}, place...)...)
		if out := mustLanyard(t, k, append([]string{"detach", "--cluster-only"}, place...)...); !strings.Contains(out, "nothing is left of it") {
			t.Errorf("detached again:\n%s", out)
		}
		mustLanyard(t, k, append([]string{"detach", "--cloud-only"}, place...)...)
	}()
	made, err := world.Quickstart(t.Context(), "../../examples", issuer)
	if err != nil {
		t.Fatal(err)
	}
	n := k.NamespaceNamed(t, cloudhost.QuickstartNamespace, kubetest.Restricted())
	n.Apply(fmt.Sprintf("{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, annotations: {azure.workload.identity/client-id: %s}}}", made.ClientIDs["reader"]))
	for way, host := range map[string]string{"alias": "https://login-us.microsoftonline.com/", "override": "https://login.microsoftonline.com/"} {
		n.Apply(readerPod(way, way, made))
		ended := n.WaitEnd(way)
		said := n.Logs(way, "main")
		if ended.Status.Phase != corev1.PodSucceeded || !strings.Contains(said, "hello from the vault") {
			t.Errorf("pod %s, %s: %s", way, ended.Status.Phase, said)
		}
		if len(ended.Spec.HostAliases) > 0 {
			t.Errorf("pod %s has host aliases: %v", way, ended.Spec.HostAliases)
		}
		for _, v := range ended.Spec.Containers[0].Env {
			if v.Name == "AZURE_AUTHORITY_HOST" && v.Value != host {
				t.Errorf("pod %s: AZURE_AUTHORITY_HOST is %s", way, v.Value)
			}
		}
	}
}

// readerPod reads the quickstart's secret by one way to the authority.
func readerPod(name, way string, made cloudhost.Quickstart) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {azure.workload.identity/use: "true"}, annotations: {lanyard.dev/authority: %s}}
spec:
  serviceAccountName: reader
  restartPolicy: Never
  containers:
  - {name: main, image: %s, imagePullPolicy: Never, args: [%q, %q], securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true,
      capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}
`, name, way, workloadImage, made.VaultURL, made.Secret)
}
