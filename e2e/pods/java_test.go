package pods

import (
	"regexp"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const javaImage = "kubetest.invalid/java:1"

// untrusted is what Java says of an authority that it does not know.
const untrusted = "unable to find valid certification path to requested target"

// TestJava: a program that knows the JDK alone, and trusts what the JDK trusts by
// default, is its identity, in init containers too. Options of a container's own
// are left as they are; Java in it trusts the cloud when they have what the warning
// says. Where the webhook does not bring the trust there is none.
func TestJava(t *testing.T) {
	world.Get(t).Image(t, javaImage, func(t testing.TB) v1.Image {
		t.Helper()
		return kubetest.JavaImage(t, "../../examples/java/ReadSecret.java")
	})
	n, s := newApp(t)
	java := func(name, secret string) string { return container(name, javaImage, s.vault, secret) }
	withOptions := func(name, options string) string {
		return strings.Replace(java(name, "greeting"), "{", `{env: [{name: JAVA_TOOL_OPTIONS, value: "`+options+`"}], `, 1)
	}
	n.Apply(pod("java", podSpec{account: "app", init: []string{java("first", "greeting")}, containers: []string{java("main", "greeting")}}))
	n.Apply(pod("forbidden", podSpec{account: "app", containers: []string{java("main", "forbidden")}}))
	n.Apply(pod("without", podSpec{account: "app", containers: []string{java("main", "greeting")}}, `lanyard.dev/trust: "go,openssl,node,python"`))
	const own = "-Xmx64m"
	warned := strings.Join(applyWarnings(t, n.Name, pod("own", podSpec{account: "app", containers: []string{withOptions("main", own)}})), "\n")
	option := regexp.MustCompile(`-Djavax\.\S+`).FindString(warned)
	if option == "" {
		t.Fatalf("the warning names no option: %q", warned)
	}
	warned = strings.Join(applyWarnings(t, n.Name, pod("mended", podSpec{account: "app", containers: []string{withOptions("main", own+" "+option)}})), "\n")
	if strings.Contains(warned, "JAVA_TOOL_OPTIONS") {
		t.Errorf("warned although the options have it: %q", warned)
	}
	wantOutput(t, n, "java", "first", s.greeting())
	wantOutput(t, n, "java", "main", s.greeting())
	wantRefusal(t, n, "forbidden", "main", "403", "ForbiddenByRbac")
	wantRefusal(t, n, "without", "main", untrusted)
	wantRefusal(t, n, "own", "main", "Picked up JAVA_TOOL_OPTIONS: "+own+"\n", untrusted)
	wantOutput(t, n, "mended", "main", s.greeting())
}
