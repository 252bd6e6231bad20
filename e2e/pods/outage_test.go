package pods

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lanyard-id/lanyard/e2e/cloudhost"
	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const webhookDeployment = "azure-wi-webhook-controller-manager"

// TestOutage: while the webhook's replicas are replaced one after the other, every
// pod that asks for it is mutated; while there is none, such pods are refused; and
// at no time is another pod held up, or one let in as it is.
func TestOutage(t *testing.T) {
	n, s := newApp(t)

	rolling := makePods(t, n, s)
	replacePods(t, n, webhookDeployment)
	if made := rolling.end(); made.mutated < 10 || made.refused > 0 {
		t.Errorf("while the replicas were replaced: %+v; want many mutated, none refused", made)
	}

	scaleWebhook(t, n, 0)
	defer scaleWebhook(t, n, 2)
	down := makePods(t, n, s)
	n.Eventually("pods to be refused while there is no webhook", func(context.Context) (bool, string) {
		now := down.now()
		return now.refused >= 5 && now.others >= 5, fmt.Sprintf("%+v", now)
	})
	before := down.now().mutated // by the last replica, while it ended
	scaleWebhook(t, n, 2)
	n.Eventually("pods to be mutated again", func(context.Context) (bool, string) {
		now := down.now()
		return now.mutated > before, fmt.Sprintf("%+v", now)
	})
	down.end()
}

// scaleWebhook sets the number of the webhook's replicas, and waits for it.
func scaleWebhook(t *testing.T, n *kubetest.Namespace, replicas int32) {
	t.Helper()
	if _, err := n.Cluster.Client().AppsV1().Deployments(cloudhost.Namespace).UpdateScale(t.Context(), webhookDeployment, &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: webhookDeployment, Namespace: cloudhost.Namespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: replicas},
	}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	replicasReady(t, n, webhookDeployment, replicas)
}

// replacePods has a deployment of the agent replace its pods, and waits for it.
func replacePods(t *testing.T, n *kubetest.Namespace, deployment string) {
	t.Helper()
	restart := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"restarted":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	d, err := n.Cluster.Client().AppsV1().Deployments(cloudhost.Namespace).Patch(t.Context(), deployment,
		types.StrategicMergePatchType, []byte(restart), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	replicasReady(t, n, deployment, *d.Spec.Replicas)
}

// replicasReady waits until so many replicas are ready, all of the latest kind, and
// no other is left.
func replicasReady(t *testing.T, n *kubetest.Namespace, deployment string, replicas int32) {
	t.Helper()
	n.Eventually(fmt.Sprintf("%d replicas of %s", replicas, deployment), func(ctx context.Context) (bool, string) {
		d, err := n.Cluster.Client().AppsV1().Deployments(cloudhost.Namespace).Get(ctx, deployment, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		is := d.Status
		return is.ObservedGeneration == d.Generation && is.Replicas == replicas && is.UpdatedReplicas == replicas && is.ReadyReplicas == replicas,
			fmt.Sprintf("%+v", is)
	})
}

// madePods counts pods by what became of them.
type madePods struct{ mutated, refused, others int }

// podMaker makes pods, one of each kind after the other, until it is ended.
type podMaker struct {
	t      *testing.T
	n      *kubetest.Namespace
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	made madePods
}

func (m *podMaker) now() madePods {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.made
}

func (m *podMaker) end() madePods {
	m.cancel()
	m.done.Wait()
	return m.now()
}

// makePods makes pods that no node takes: what counts is whether they are let in.
func makePods(t *testing.T, n *kubetest.Namespace, s site) *podMaker {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &podMaker{t: t, n: n, cancel: cancel}
	t.Cleanup(func() { m.end() })
	var of corev1.PodSpec
	of.ServiceAccountName, of.NodeSelector = "app", map[string]string{"no": "node"}
	of.Containers = []corev1.Container{{Name: "main", Image: readerImage, Args: []string{s.vault, "greeting"}}}
	m.done.Go(func() {
		for ctx.Err() == nil {
			m.makeTwo(ctx, of)
		}
	})
	return m
}

func (m *podMaker) makeTwo(ctx context.Context, of corev1.PodSpec) {
	nonRoot, no := true, false
	of.Containers[0].SecurityContext = &corev1.SecurityContext{
		RunAsNonRoot: &nonRoot, AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	pods := m.n.Cluster.Client().CoreV1().Pods(m.n.Name)
	asks := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "asks-", Labels: map[string]string{"azure.workload.identity/use": "true"}}, Spec: of}
	made, err := pods.Create(ctx, asks, metav1.CreateOptions{})
	if ctx.Err() != nil {
		return
	}
	other := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "other-"}, Spec: of}
	_, otherErr := pods.Create(ctx, other, metav1.CreateOptions{})
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err != nil:
		m.made.refused++
	case len(made.Spec.Containers[0].Env) == 0 || !hasTokenMount(made.Spec.Containers[0]):
		m.t.Errorf("pod %s was let in without what the webhook adds", made.Name)
	default:
		m.made.mutated++
	}
	if otherErr != nil {
		m.t.Errorf("a pod that does not ask for the webhook was held up: %v", otherErr)
	} else {
		m.made.others++
	}
}
