package kubetest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Restricted are the labels of a namespace that holds pods to Kubernetes'
// restricted security standard.
func Restricted() map[string]string {
	return map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
}

// Namespace is a namespace of one test. Its methods fail the test by themselves,
// and must be called from the test's goroutine.
type Namespace struct {
	// Name is the namespace's, new for every test.
	Name    string
	Cluster *Cluster
	t       testing.TB
}

// Namespace makes a namespace, which goes when the test ends; where the test has
// failed, what its pods said and its events are kept first.
func (c *Cluster) Namespace(t testing.TB, labels map[string]string) *Namespace {
	t.Helper()
	return c.namespace(t, metav1.ObjectMeta{GenerateName: "test-", Labels: maps.Clone(labels)})
}

// NamespaceNamed is Namespace where something outside knows the name, which one
// test of a cluster at most may have.
func (c *Cluster) NamespaceNamed(t testing.TB, name string, labels map[string]string) *Namespace {
	t.Helper()
	return c.namespace(t, metav1.ObjectMeta{Name: name, Labels: maps.Clone(labels)})
}

func (c *Cluster) namespace(t testing.TB, of metav1.ObjectMeta) *Namespace {
	t.Helper()
	made, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: of}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := &Namespace{Name: made.Name, Cluster: c, t: t}
	t.Cleanup(n.end)
	// Pods are refused until the namespace has its service account.
	n.Eventually("the namespace's service account", func(ctx context.Context) (bool, string) {
		_, err := c.client.CoreV1().ServiceAccounts(n.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	return n
}

// end removes the namespace without waiting for it: the next test has another.
func (n *Namespace) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // the test's has ended
	defer cancel()
	if n.t.Failed() {
		n.t.Log(n.saveLogs(ctx))
	}
	if err := n.Cluster.client.CoreV1().Namespaces().Delete(ctx, n.Name, metav1.DeleteOptions{}); err != nil {
		n.t.Errorf("removing namespace %s: %v", n.Name, err)
	}
}

// Apply applies manifests to the namespace.
func (n *Namespace) Apply(manifests string) {
	n.t.Helper()
	if err := n.Cluster.Apply(n.t.Context(), n.Name, manifests); err != nil {
		n.t.Fatal(err)
	}
}

// Eventually asks until the answer is yes. It fails the test when it was not
// after two minutes, with what was seen last.
func (n *Namespace) Eventually(what string, ask func(context.Context) (yes bool, seen string)) {
	n.t.Helper()
	if err := n.Cluster.poll(n.t.Context(), what, ask); err != nil {
		n.t.Fatal(err)
	}
}

// WaitForPod watches a pod, which need not be there yet, until it is as wanted,
// and gives it as it then was.
func (n *Namespace) WaitForPod(name, what string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), pollTimeout)
	defer cancel()
	pods := n.Cluster.client.CoreV1().Pods(n.Name)
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return pods.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return pods.Watch(ctx, o)
		},
	}
	var last *corev1.Pod
	_, err := watchtools.UntilWithSync(ctx, lw, &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
		pod, is := e.Object.(*corev1.Pod)
		if !is || e.Type == watch.Deleted {
			return false, nil
		}
		last = pod
		return wanted(pod), nil
	})
	if err != nil {
		n.t.Fatalf("waiting for pod %s %s: %v; last seen: %s", name, what, err, describe(last))
	}
	return last
}

// WaitReady waits until the pod is ready.
func (n *Namespace) WaitReady(name string) *corev1.Pod {
	n.t.Helper()
	return n.WaitForPod(name, "to be ready", func(p *corev1.Pod) bool {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady {
				return c.Status == corev1.ConditionTrue
			}
		}
		return false
	})
}

// WaitEnd waits until the pod's containers have ended, and gives how: see
// Status.Phase.
func (n *Namespace) WaitEnd(name string) *corev1.Pod {
	n.t.Helper()
	return n.WaitForPod(name, "to end", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
}

// WaitForService waits until a service is reached from every node: its pods are
// ready, and every kube-proxy knows.
func (n *Namespace) WaitForService(name string) {
	n.t.Helper()
	n.Eventually("service "+name, func(ctx context.Context) (bool, string) {
		service, err := n.Cluster.client.CoreV1().Services(n.Name).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		address := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(service.Spec.Ports[0].Port)))
		for _, node := range n.Cluster.Nodes() {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			conn, err := n.Cluster.DialNode(ctx, node, "tcp", address)
			cancel()
			if err != nil {
				return false, fmt.Sprintf("from %s: %v", node, err)
			}
			conn.Close()
		}
		return true, ""
	})
}

// Logs are what a container said, by "kubectl logs".
func (n *Namespace) Logs(pod, container string) string {
	n.t.Helper()
	out, err := n.Cluster.Kubectl(n.t.Context(), "logs", "--namespace="+n.Name, pod, "--container="+container)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// Exec runs a program in a container, by "kubectl exec", and gives what it
// printed; the error has what it complained of.
func (n *Namespace) Exec(pod, container string, command ...string) (string, error) {
	n.t.Helper()
	return n.Cluster.Kubectl(n.t.Context(), append([]string{"exec", "--namespace=" + n.Name, pod, "--container=" + container, "--"}, command...)...)
}

// describe is a pod's state, in a line for messages.
func describe(p *corev1.Pod) string {
	if p == nil {
		return "no such pod"
	}
	said := []string{"phase " + string(p.Status.Phase)}
	for _, c := range p.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			said = append(said, fmt.Sprintf("not %s: %s %s", c.Type, c.Reason, c.Message))
		}
	}
	for _, s := range append(append([]corev1.ContainerStatus(nil), p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		switch {
		case s.State.Waiting != nil:
			said = append(said, fmt.Sprintf("%s waits: %s %s", s.Name, s.State.Waiting.Reason, s.State.Waiting.Message))
		case s.State.Terminated != nil:
			said = append(said, fmt.Sprintf("%s ended with %d: %s %s", s.Name, s.State.Terminated.ExitCode, s.State.Terminated.Reason, s.State.Terminated.Message))
		}
	}
	return strings.Join(said, "; ")
}
