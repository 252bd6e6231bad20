package kubetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// excerpt is how many of the last lines of a pod's log are shown with the test's
// own output; all are in the file.
const excerpt = 20

// logDirectory is where the logs of a failed test stay, below bin/logs.
func logDirectory(test string) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "bin", "logs", filepath.FromSlash(test))
	return dir, os.MkdirAll(dir, 0o750)
}

// saveComponentLogs copies what the components said to where it stays, and says
// where.
func (c *Cluster) saveComponentLogs(test string) string {
	dir, err := logDirectory(test)
	if err != nil {
		return "the logs of the cluster were not kept: " + err.Error()
	}
	dir = filepath.Join(dir, "cluster")
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(c.logs))); err != nil {
		return "the logs of the cluster were not all kept: " + err.Error()
	}
	return "the logs of the cluster are in " + dir
}

// keepLogs keeps them where the test fails, however often it is called for it.
func (c *Cluster) keepLogs(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept[t.Name()] {
		return
	}
	c.kept[t.Name()] = true
	t.Cleanup(func() {
		c.mu.Lock()
		delete(c.kept, t.Name()) // it may run again
		c.mu.Unlock()
		if t.Failed() {
			t.Log(c.saveComponentLogs(t.Name()))
		}
	})
}

// saveLogs writes what the namespace's containers said, its pods and its events
// to where the logs of failed tests stay, and gives an excerpt.
func (n *Namespace) saveLogs(ctx context.Context) string {
	dir, err := logDirectory(n.t.Name())
	if err != nil {
		return "the logs of the pods were not kept: " + err.Error()
	}
	var said strings.Builder
	keep := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			fmt.Fprintf(&said, "%v\n", err)
		}
	}
	for name, args := range map[string][]string{
		"objects.yaml": {"get", "pods,serviceaccounts,services,deployments,jobs", "--output=yaml"},
		"events.txt":   {"get", "events", "--sort-by=.metadata.creationTimestamp"},
	} {
		out, err := n.Cluster.Kubectl(ctx, append(args, "--namespace="+n.Name)...)
		if err != nil {
			out += err.Error()
		}
		keep(name, out)
	}
	pods, err := n.Cluster.client.CoreV1().Pods(n.Name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, p := range pods.Items {
		fmt.Fprintf(&said, "pod %s: %s\n", p.Name, describe(&p))
		for _, container := range append(append([]corev1.Container(nil), p.Spec.InitContainers...), p.Spec.Containers...) {
			raw, err := n.Cluster.client.CoreV1().Pods(n.Name).GetLogs(p.Name, &corev1.PodLogOptions{Container: container.Name}).DoRaw(ctx)
			if err != nil {
				fmt.Fprintf(&said, "%s: %v\n", container.Name, err)
				continue
			}
			keep(p.Name+"."+container.Name+".log", string(raw))
			lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
			fmt.Fprintf(&said, "%s said last:\n\t%s\n", container.Name, strings.Join(lines[max(0, len(lines)-excerpt):], "\n\t"))
		}
	}
	fmt.Fprintf(&said, "all of it is in %s", dir)
	return said.String()
}
