package kubetest_test

import (
	"testing"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const probeImage = "kubetest.invalid/probe:1"

// loadProbe has the cluster know the image of the probe.
func loadProbe(t *testing.T, c *kubetest.Cluster) {
	t.Helper()
	image, err := kubetest.ScratchImage(map[string]string{"/probe": kubetest.GoProgram(t, ".", "./internal/probe")}, "/probe")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.LoadImage(t.Context(), probeImage, image); err != nil {
		t.Fatal(err)
	}
}

func TestStart(t *testing.T) {
	c := kubetest.Start(t, kubetest.Options{})
	loadProbe(t, c)
	n := c.Namespace(t, kubetest.Restricted())
	n.Apply(`{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}},
  containers: [{name: web, image: "` + probeImage + `", args: [serve, ":8080"], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}`)
	n.WaitReady("web")
	t.Log(n.Logs("web", "web"))
	t.Log(n.Exec("web", "web", "/probe", "lookup", "kubernetes.default"))
}
