// Command clusterdemo shows Lanyard's main job on a real Kubernetes: it starts a
// cluster (see package kubetest) and a cloud beside it, attaches one to the other
// with "lanyard attach", has Azure's SDK make identities and a vault, and runs three
// applications in pods that have a service account and nothing else. One reads the
// secret, one has no role for it, and one is not whom the identity trusts.
//
// It is run from the directory e2e, as root, after "make kube", and takes away what
// it has made.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lanyard-id/lanyard/e2e/cloudhost"
	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const (
	agentImage    = "kubetest.invalid/lanyard-agent:1"
	workloadImage = "kubetest.invalid/workload:1"
	namespace     = cloudhost.QuickstartNamespace
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "clusterdemo:", err)
		os.Exit(1)
	}
}

// workload is one application in a pod.
type workload struct {
	name, identity string
	reads          bool
}

var workloads = []workload{{"reader", "reader", true}, {"stranger", "stranger", false}, {"intruder", "reader", false}}

func run(ctx context.Context) (err error) {
	begun := time.Now()
	step := func(format string, args ...any) {
		fmt.Printf("%5.1f s  "+format+"\n", append([]any{time.Since(begun).Seconds()}, args...)...)
	}
	step("A Kubernetes cluster starts.")
	k, err := kubetest.New(ctx, kubetest.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	step("A cloud starts beside it: lanyard up.")
	cloud, err := cloudhost.Start(ctx, k, "..")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cloud.Stop()) }()
	if err := cloud.LoadProgram(ctx, k, agentImage, "..", "./cmd/lanyard-agent"); err != nil {
		return err
	}
	if err := cloud.LoadProgram(ctx, k, workloadImage, "../examples", "./quickstart/workload"); err != nil {
		return err
	}
	step("The cluster is attached: lanyard attach.")
	issuer, err := cloud.Attach(ctx, k, "demo", "clusters", agentImage)
	if err != nil {
		return err
	}
	step("Its issuer is %s", issuer)
	step("The platform team makes identities, trust, a vault and a role, with Azure's SDK.")
	made, err := cloud.Quickstart(ctx, "../examples", issuer)
	if err != nil {
		return err
	}
	step("Three pods start, each with a service account and nothing else.")
	if err := k.Apply(ctx, "", manifests(made)); err != nil {
		return err
	}
	for _, w := range workloads {
		if err := w.check(ctx, k, step); err != nil {
			return err
		}
	}
	step("Done; everything is stopped and removed.")
	return nil
}

// manifests are a namespace, and a service account and a pod for each workload.
func manifests(made cloudhost.Quickstart) string {
	var out strings.Builder
	fmt.Fprintf(&out, "{apiVersion: v1, kind: Namespace, metadata: {name: %s}}\n", namespace)
	for _, w := range workloads {
		fmt.Fprintf(&out, `---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s, namespace: %[2]s, annotations: {azure.workload.identity/client-id: %[3]s}}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, labels: {azure.workload.identity/use: "true"}}
spec:
  serviceAccountName: %[1]s
  restartPolicy: Never
  containers: [{name: main, image: %[4]s, imagePullPolicy: Never, args: [%[5]q, %[6]q]}]
`, w.name, namespace, made.ClientIDs[w.identity], workloadImage, made.VaultURL, made.Secret)
	}
	return out.String()
}

// check waits for a workload's end, and compares it with what its rights say.
func (w workload) check(ctx context.Context, k *kubetest.Cluster, step func(string, ...any)) error {
	pods := k.Client().CoreV1().Pods(namespace)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		pod, err := pods.Get(ctx, w.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("pod %s has not ended: %s", w.name, pod.Status.Phase)
		}
	}
	said, err := k.Kubectl(ctx, "logs", "--namespace="+namespace, w.name)
	if err != nil {
		return err
	}
	pod, err := pods.Get(ctx, w.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	read := pod.Status.Phase == corev1.PodSucceeded
	if read != w.reads {
		return fmt.Errorf("pod %s: read %v, which is not what its rights say:\n%s", w.name, read, said)
	}
	step("  %s: %s", w.name, summary(said))
	return nil
}

// summary is what an answer says of whether the secret was read, in a line.
func summary(said string) string {
	if refused := regexp.MustCompile(`AADSTS[0-9]+: [^.]*`).FindString(said); refused != "" {
		return "refused: " + refused
	}
	if strings.Contains(said, "ForbiddenByRbac") {
		return "refused: 403 ForbiddenByRbac: no role lets its identity read the secret"
	}
	first, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	return fmt.Sprintf("reads %q", first)
}
