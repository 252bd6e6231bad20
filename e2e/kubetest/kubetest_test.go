package kubetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const (
	probeImage = "kubetest.invalid/probe:1"
	issuer     = "https://oidc.kubetest.invalid/cluster"
	audience   = "api://AzureADTokenExchange"
)

// shared is the cluster of these tests: two pools, and an issuer of its own.
var shared = kubetest.Shared{Options: kubetest.Options{
	Nodes:  []kubetest.Node{{}, {Pool: "pool2", Labels: map[string]string{"kubetest.invalid/far": "yes"}}},
	Issuer: issuer,
}}

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	os.Exit(shared.Main(m))
}

// namespace is a namespace of the shared cluster, which knows the probe.
func namespace(t *testing.T) *kubetest.Namespace {
	t.Helper()
	c := shared.Get(t)
	c.Image(t, probeImage, probe)
	return c.Namespace(t, kubetest.Restricted())
}

func probe(t testing.TB) v1.Image {
	t.Helper()
	image, err := kubetest.ScratchImage(map[string]string{"/probe": kubetest.GoProgram(t, ".", "./internal/probe")}, "/probe")
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// pod is a probe that the restricted standard lets in.
func pod(name, node string, args ...string) string {
	quoted, _ := json.Marshal(args)
	return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  nodeName: %[2]s
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: probe
    image: %[3]s
    args: %[4]s
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    resources: {limits: {cpu: 200m, memory: 64Mi}}
    volumeMounts: [{name: token, mountPath: /var/run/secrets/azure/tokens, readOnly: true}]
  volumes:
  - name: token
    projected: {sources: [{serviceAccountToken: {path: token, audience: %[5]q, expirationSeconds: 3600}}]}
`, name, node, probeImage, quoted, audience)
}

// exec is what a probe in the pod prints.
func exec(t *testing.T, n *kubetest.Namespace, pod string, args ...string) string {
	t.Helper()
	out, err := n.Exec(pod, "probe", append([]string{"/probe"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// TestPods has pods on two nodes reach each other by address, by service and by
// name, and says what they said.
func TestPods(t *testing.T) {
	n := namespace(t)
	n.Apply(pod("web", "node1", "serve", ":8080") + pod("near", "node1", "serve", ":8080") + pod("far", "node2", "serve", ":8080") + `---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`)
	addresses := map[string]string{}
	for _, name := range []string{"web", "near", "far"} {
		addresses[name] = n.WaitReady(name).Status.PodIP
	}
	if got := n.Logs("web", "probe"); got != "serving on :8080\n" {
		t.Errorf("web said %q", got)
	}
	n.WaitForService("web")
	for _, from := range []string{"near", "far"} {
		for _, to := range []string{addresses["web"] + ":8080", "web", "web." + n.Name + ".svc.cluster.local"} {
			if got, want := exec(t, n, from, "get", "http://"+to), "web "+addresses[from]; got != want {
				t.Errorf("from %s, http://%s said %q, want %q", from, to, got, want)
			}
		}
	}
	if _, err := n.Exec("near", "probe", "/probe", "lookup", "no-such-name.invalid"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("a name that nobody has: %v", err)
	}
	t.Run("outside", func(t *testing.T) { fromOutside(t, n, addresses["far"]) })
}

// fromOutside reaches a pod and a service from the test, and from a node.
func fromOutside(t *testing.T, n *kubetest.Namespace, address string) {
	t.Helper()
	service, err := n.Cluster.Client().CoreV1().Services(n.Name).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod, clusterIP := address+":8080", service.Spec.ClusterIP+":80"
	want := map[string]string{pod: "far 10.89.0.1", clusterIP: "web "}
	dials := map[string]func(context.Context, string, string) (net.Conn, error){
		pod: n.Cluster.Dial,
		clusterIP: func(ctx context.Context, network, address string) (net.Conn, error) {
			return n.Cluster.DialNode(ctx, "node2", network, address)
		},
	}
	for to, dial := range dials {
		transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
		response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("http://" + to)
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		raw, err := io.ReadAll(response.Body)
		response.Body.Close()
		if got := string(raw); err != nil || !strings.HasPrefix(got, want[to]) {
			t.Errorf("%s said %q, %v; want %s", to, got, err, want[to])
		}
	}
}

// TestRestricted has the API server refuse what the namespace's standard forbids.
func TestRestricted(t *testing.T) {
	n := namespace(t)
	err := n.Cluster.Apply(t.Context(), n.Name, strings.Replace(pod("root", "node1", "serve", ":80"), "runAsNonRoot: true", "runAsUser: 0", 1))
	if err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
		t.Errorf("a pod that runs as root: %v", err)
	}
}

// TestPools has each node carry its pool's labels, and a selector choose by them.
func TestPools(t *testing.T) {
	n := namespace(t)
	n.Apply(strings.Replace(pod("chosen", "", "serve", ":8080"), "nodeName: ", "nodeSelector: {kubernetes.azure.com/agentpool: pool2, kubetest.invalid/far: \"yes\"}", 1))
	if got := n.WaitReady("chosen").Spec.NodeName; got != "node2" {
		t.Errorf("it runs on %s, want node2", got)
	}
}

// TestToken reads a pod's projected token as Entra would.
func TestToken(t *testing.T) {
	n := namespace(t)
	n.Apply(pod("workload", "node1", "serve", ":8080"))
	n.WaitReady("workload")
	claims := verified(t, n.Cluster, exec(t, n, "workload", "cat", "/var/run/secrets/azure/tokens/token"))
	if want := "system:serviceaccount:" + n.Name + ":default"; claims.Issuer != issuer || claims.Subject != want || !slices.Equal(claims.Audience, jwt.Audience{audience}) {
		t.Errorf("the token has issuer %s, subject %s, audience %s", claims.Issuer, claims.Subject, claims.Audience)
	}
	discovery, err := n.Cluster.Kubectl(t.Context(), "get", "--raw", "/.well-known/openid-configuration")
	if err != nil || !strings.Contains(discovery, `"jwks_uri":"`+issuer+`/openid/v1/jwks"`) || !strings.Contains(discovery, `"issuer":"`+issuer+`"`) {
		t.Errorf("discovery: %v\n%s", err, discovery)
	}
}

// verified are the claims of a token that the cluster's published keys verify.
func verified(t *testing.T, c *kubetest.Cluster, token string) jwt.Claims {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatalf("%v: %q", err, token)
	}
	var claims jwt.Claims
	if err := parsed.Claims(published(t, c), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// published are the keys that the API server publishes.
func published(t *testing.T, c *kubetest.Cluster) jose.JSONWebKeySet {
	t.Helper()
	raw, err := c.Kubectl(t.Context(), "get", "--raw", "/openid/v1/jwks")
	if err != nil {
		t.Fatal(err)
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(raw), &keys); err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestHost serves on a machine beside the cluster: in this process, by a name
// that changes, and by a program.
func TestHost(t *testing.T) {
	n := namespace(t)
	c := n.Cluster
	host, err := c.Host("cloud")
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Host("cloud")
	if err != nil || again != host {
		t.Errorf("the host of the same name: %v", err)
	}
	if _, err := c.Host("node1"); err == nil {
		t.Error("a host has a node's name")
	}
	listener, err := host.Listen(t.Context(), "tcp", "0.0.0.0:80")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, " ", netip.MustParseAddrPort(r.RemoteAddr).Addr())
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	if err := c.SetNames(t.Context(), map[string]netip.Addr{"login.test": host.Addr(), "*.vault.test": host.Addr()}); err != nil {
		t.Fatal(err)
	}
	n.Apply(pod("client", "node2", "serve", ":8080"))
	address := n.WaitReady("client").Status.PodIP
	for _, name := range []string{host.Addr().String(), "login.test", "one.vault.test", "a.b.vault.test"} {
		if got := exec(t, n, "client", "get", "http://"+name); got != name+" "+address {
			t.Errorf("http://%s said %q", name, got)
		}
	}
	for _, name := range []string{"vault.test", "xlogin.test", "a.login.test"} {
		if out, err := n.Exec("client", "probe", "/probe", "lookup", name); err == nil {
			t.Errorf("%s is %s", name, out)
		}
	}
	program := kubetest.GoProgram(t, ".", "./internal/probe")
	out, err := host.Command(t.Context(), program, "get", "http://"+address+":8080").CombinedOutput()
	if got, want := string(out), "client "+host.Addr().String()+"\n"; err != nil || got != want {
		t.Errorf("from the host: %v %q, want %q", err, got, want)
	}
	if err := c.SetNames(t.Context(), map[string]netip.Addr{"login.test": netip.MustParseAddr("10.89.0.9")}); err != nil {
		t.Fatal(err)
	}
	if got := exec(t, n, "client", "lookup", "login.test"); got != "10.89.0.9" {
		t.Errorf("login.test is still %s", got)
	}
}

// TestRotation replaces the key of service-account tokens, as a careful operator
// would, while a pod runs.
func TestRotation(t *testing.T) {
	n := namespace(t)
	c := n.Cluster
	token := func() string {
		t.Helper()
		out, err := c.Kubectl(t.Context(), "create", "token", "default", "--namespace="+n.Name, "--audience="+audience)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	restart := func(change func(*kubetest.APIServerOptions)) {
		t.Helper()
		if err := c.RestartAPIServer(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	n.Apply(pod("bystander", "node1", "serve", ":8080"))
	started := n.WaitReady("bystander").Status.StartTime
	old := token()
	private, public, err := c.NewServiceAccountKey()
	if err != nil {
		t.Fatal(err)
	}
	var first string
	restart(func(o *kubetest.APIServerOptions) { first, o.Keys = o.Keys[0], append(o.Keys, public) })
	if got := len(published(t, c).Keys); got != 2 {
		t.Errorf("%d keys are published, want both", got)
	}
	restart(func(o *kubetest.APIServerOptions) { o.SigningKey = private })
	fresh := token()
	verified(t, c, old)
	verified(t, c, fresh)
	restart(func(o *kubetest.APIServerOptions) {
		o.Keys = slices.DeleteFunc(o.Keys, func(k string) bool { return k == first })
	})
	verified(t, c, fresh)
	if got := len(published(t, c).Keys); got != 1 {
		t.Errorf("%d keys are published, want the new one alone", got)
	}
	now := n.WaitForPod("bystander", "to run on", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if !now.Status.StartTime.Equal(started) || now.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("the pod did not outlast the rotation")
	}
}

// TestOptions refuses what cannot be.
func TestOptions(t *testing.T) {
	for name, o := range map[string]kubetest.Options{
		"two nodes of a name":   {Nodes: []kubetest.Node{{Name: "a"}, {Name: "a"}}},
		"a node as the control": {Nodes: []kubetest.Node{{Name: "control-plane"}}},
		"too many nodes":        {Nodes: make([]kubetest.Node, 40)},
	} {
		if c, err := kubetest.New(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
			c.Close()
		}
	}
}
