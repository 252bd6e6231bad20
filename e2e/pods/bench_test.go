package pods

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// BenchmarkPodToSecret is the time from a pod's creation, in a warm cluster, until
// it has a token, has read a secret with it, and has said so; and beside it that of
// a pod of the same image that says at once how it is used, for lack of arguments:
// what the cluster takes for any pod.
func BenchmarkPodToSecret(b *testing.B) {
	n, s := newApp(b)
	next := 0
	run := func(b *testing.B, says string, args ...string) {
		b.Helper()
		logs := n.Cluster.Client().CoreV1().Pods(n.Name)
		for b.Loop() {
			next++
			name := fmt.Sprintf("pod-%d", next)
			n.Apply(pod(name, podSpec{account: "app", containers: []string{container("main", readerImage, args...)}}))
			n.Eventually("pod "+name+" to say "+says, func(ctx context.Context) (bool, string) {
				said, err := logs.GetLogs(name, &corev1.PodLogOptions{}).DoRaw(ctx)
				return bytes.Contains(said, []byte(says)), fmt.Sprintf("%q %v", said, err)
			})
		}
	}
	b.Run("secret", func(b *testing.B) { run(b, s.greeting(), s.vault, "greeting", "workload") })
	b.Run("bare", func(b *testing.B) { run(b, "usage") })
}
