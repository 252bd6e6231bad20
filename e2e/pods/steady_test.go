package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

// tally is what the program steady says.
type tally struct {
	Reads    int    `json:"reads"`
	Failures int    `json:"failures"`
	Error    string `json:"error"`
	Ended    bool   `json:"ended"`
	Token    string `json:"token"`
}

// tallies reads a container's lines.
func tallies(t testing.TB, n *kubetest.Namespace, pod, container string) []tally {
	t.Helper()
	var all []tally
	var said string
	// While a kubelet starts again, it gives no logs.
	n.Eventually("the logs of pod "+pod, func(ctx context.Context) (_ bool, seen string) {
		var err error
		said, err = n.Cluster.Kubectl(ctx, "logs", "--namespace="+n.Name, pod, "--container="+container)
		return err == nil, fmt.Sprint(err)
	})
	for line := range strings.Lines(said) {
		var one tally
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("pod %s says %q: %v", pod, line, err)
		}
		all = append(all, one)
	}
	return all
}

func lastTally(t testing.TB, n *kubetest.Namespace, pod, container string) tally {
	t.Helper()
	if all := tallies(t, n, pod, container); len(all) > 0 {
		return all[len(all)-1]
	}
	return tally{}
}

// waitReads waits until a pod is ready and a container of it has read so many times
// more, and wants no failure.
func waitReads(t testing.TB, n *kubetest.Namespace, pod, container string, more int) {
	t.Helper()
	n.WaitReady(pod)
	start := -1
	n.Eventually(fmt.Sprintf("%d more readings by pod %s", more, pod), func(context.Context) (bool, string) {
		now := lastTally(t, n, pod, container)
		if start < 0 {
			start = now.Reads
		}
		if now.Failures > 0 {
			t.Fatalf("pod %s failed to read: %+v", pod, firstFailure(tallies(t, n, pod, container)))
		}
		return now.Reads >= start+more, fmt.Sprintf("%+v", now)
	})
}

func firstFailure(all []tally) tally {
	for _, one := range all {
		if one.Error != "" {
			return one
		}
	}
	return tally{}
}

// waitForNewToken waits until a pod reads by another service account token than
// that which it had, and wants no failure.
func waitForNewToken(t testing.TB, n *kubetest.Namespace, pod, container, old string) {
	t.Helper()
	n.Eventually("pod "+pod+" to have a new token", func(context.Context) (bool, string) {
		now := lastTally(t, n, pod, container)
		return now.Token != old, now.Token
	})
	waitReads(t, n, pod, container, 10)
}
