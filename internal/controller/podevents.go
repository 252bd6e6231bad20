package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

var eventResource = schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}

// What the event of an unmutated pod says.
const (
	unmutatedReason = "WorkloadIdentityMissing"
	unmutatedNote   = "The pod asks for workload identity and runs without it: the webhook was not asked, or not there, when the pod was made. " +
		"It gets its token when it is made again. If it still has none then, the webhook configuration leaves its namespace out."
)

// maxEvents is how many events may wait to be written; those beyond it are only
// logged, counted and reported.
const maxEvents = 1000

// podEvents write an event on a pod. Its name follows from the pod, so that
// replicas write it once among them.
type podEvents struct {
	client   dynamic.Interface
	instance string // the replica that reports
	now      func() time.Time
	log      *slog.Logger
	waiting  chan unmutatedEvent
	failed   news
}

type unmutatedEvent struct {
	namespace, name string
	uid             types.UID
}

func newPodEvents(client dynamic.Interface, c WebhookConfig) *podEvents {
	return &podEvents{client: client, instance: c.Instance, now: c.Now, log: c.Log, waiting: make(chan unmutatedEvent, maxEvents)}
}

// tell has an event written soon.
func (e *podEvents) tell(namespace, name string, uid types.UID) {
	select {
	case e.waiting <- unmutatedEvent{namespace, name, uid}:
	default:
	}
}

// run writes events until ctx ends.
func (e *podEvents) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-e.waiting:
			if err := e.write(ctx, p); e.failed.is(err) && ctx.Err() == nil {
				e.log.WarnContext(ctx, "an event on a pod cannot be written", "namespace", p.namespace, "pod", p.name, "error", err)
			}
		}
	}
}

func (e *podEvents) write(ctx context.Context, p unmutatedEvent) error {
	sum := sha256.Sum256([]byte(string(p.uid) + "\x00" + unmutatedReason))
	_, err := e.client.Resource(eventResource).Namespace(p.namespace).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "events.k8s.io/v1", "kind": "Event",
		"metadata": map[string]any{
			"namespace": p.namespace, "name": p.name[:min(len(p.name), 230)] + "." + hex.EncodeToString(sum[:8]),
		},
		"eventTime":           e.now().UTC().Format(metav1.RFC3339Micro),
		"reportingController": "lanyard.dev/webhook",
		"reportingInstance":   e.instance,
		"action":              "Detect",
		"reason":              unmutatedReason,
		"type":                "Warning",
		"note":                unmutatedNote,
		"regarding":           map[string]any{"apiVersion": "v1", "kind": "Pod", "namespace": p.namespace, "name": p.name, "uid": string(p.uid)},
	}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
