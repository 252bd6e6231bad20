package pods

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/lanyard-id/lanyard/e2e/cloudhost"
	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const (
	pythonImage = "kubetest.invalid/python:1"
	nodeImage   = "kubetest.invalid/nodejs:1"
)

// TestGo: an unchanged program in an image that holds nothing else reads the
// secret that its identity may read, and is refused the other.
func TestGo(t *testing.T) { readsItsSecret(t, readerImage, "go") }

// loadPython brings the image with Azure's SDK for Python as Debian has it.
func loadPython(t *testing.T) {
	t.Helper()
	world.Get(t).Image(t, pythonImage, func(t testing.TB) v1.Image {
		t.Helper()
		return kubetest.PythonImage(t, map[string]string{"/read_secret.py": "../../examples/python/read_secret.py"}, "/usr/bin/python3", "/read_secret.py")
	})
}

// TestPython is TestGo with Azure's SDK for Python.
func TestPython(t *testing.T) {
	loadPython(t)
	readsItsSecret(t, pythonImage, "python")
}

// TestAuthorityOfAPod: a pod chooses the cloud's own name over the alias, where its
// SDK takes it: that for Python does, and asks no one for instances.
func TestAuthorityOfAPod(t *testing.T) {
	loadPython(t)
	n, s := newApp(t)
	n.Apply(pod("own", podSpec{account: "app", containers: []string{container("main", pythonImage, s.vault, "greeting", "workload")}},
		"lanyard.dev/authority: own-host"))
	wantOutput(t, n, "own", "main", s.greeting())
	for _, v := range n.WaitEnd("own").Spec.Containers[0].Env {
		if v.Name == "AZURE_AUTHORITY_HOST" && v.Value != "https://login."+cloudhost.Domain+"/" {
			t.Errorf("AZURE_AUTHORITY_HOST is %q", v.Value)
		}
	}
}

// TestJavaScript is TestGo with Azure's SDK for JavaScript.
func TestJavaScript(t *testing.T) {
	world.Get(t).Image(t, nodeImage, func(t testing.TB) v1.Image {
		t.Helper()
		return kubetest.NodeJSImage(t, "../../examples/javascript", "/usr/bin/node", "/app/read-secret.js")
	})
	readsItsSecret(t, nodeImage, "nodejs")
}

// readsItsSecret runs a language's example with both of its credentials, in one
// pod each, and once for the secret of somebody else.
func readsItsSecret(t *testing.T, image, language string) {
	t.Helper()
	n, s := newApp(t)
	for _, credential := range []string{"workload", "default"} {
		n.Apply(pod(language+"-"+credential, podSpec{account: "app", containers: []string{container("main", image, s.vault, "greeting", credential)}}))
	}
	n.Apply(pod(language+"-forbidden", podSpec{account: "app", containers: []string{container("main", image, s.vault, "forbidden", "workload")}}))
	for _, credential := range []string{"workload", "default"} {
		wantOutput(t, n, language+"-"+credential, "main", s.greeting())
	}
	wantRefusal(t, n, language+"-forbidden", "main", "not authorized")
}

// TestOpenSSL: what goes by OpenSSL trusts the cloud beside the image's own
// authorities, of which none is lost.
func TestOpenSSL(t *testing.T) {
	loadPython(t)
	n, _ := newApp(t)
	script := `
import os, ssl, urllib.request
url = os.environ["AZURE_AUTHORITY_HOST"] + os.environ["AZURE_TENANT_ID"] + "/v2.0/.well-known/openid-configuration"
print(urllib.request.urlopen(url).status, len(ssl.create_default_context().get_ca_certs()) > 100)
`
	c := strings.Replace(container("main", pythonImage, "-c", script), "{", `{command: ["/usr/bin/python3"], `, 1)
	n.Apply(pod("openssl", podSpec{account: "app", containers: []string{c}}))
	wantOutput(t, n, "openssl", "main", "200 True")
}
