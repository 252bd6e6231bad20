package kubetest

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// schedulable waits until pods can be made and will run: every node is ready and
// without taints, and the default namespace has its service account.
func (c *Cluster) schedulable(ctx context.Context) error {
	return c.poll(ctx, "nodes that are ready for pods", func(ctx context.Context) (bool, string) {
		nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		if len(nodes.Items) < len(c.nodes) {
			return false, fmt.Sprintf("%d of %d nodes have registered", len(nodes.Items), len(c.nodes))
		}
		for _, n := range nodes.Items {
			if why := unready(n); why != "" {
				return false, n.Name + ": " + why
			}
		}
		_, err = c.client.CoreV1().ServiceAccounts(corev1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
}

// unready says why pods would not run on a node.
func unready(n corev1.Node) string {
	var why []string
	ready := false
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			ready = c.Status == corev1.ConditionTrue
			why = append(why, c.Message)
		}
	}
	for _, t := range n.Spec.Taints {
		why = append(why, "taint "+t.Key)
	}
	if ready && len(n.Spec.Taints) == 0 {
		return ""
	}
	return "not ready: " + strings.Join(why, "; ")
}
