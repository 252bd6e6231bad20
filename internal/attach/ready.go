package attach

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// pollEvery is how often the cluster is asked while something is awaited.
const pollEvery = 250 * time.Millisecond

// eventually asks until there is nothing left to wait for. say is told what is
// awaited whenever that changes. When ctx ends first, the error names it.
func eventually(ctx context.Context, say func(string), awaited func() (string, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := ""
	for {
		now, err := awaited()
		switch {
		case ctx.Err() != nil && last != "":
			return fmt.Errorf("%s: %w", last, context.Cause(ctx))
		case err != nil:
			return err
		case now == "":
			return nil
		case now != last:
			last = now
			say(now)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", last, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Ready waits until every replica of the agent is ready and the API server
// trusts the webhook. say is told what is awaited. When ctx ends first, the error
// says what the pods say.
func (i *Installation) Ready(ctx context.Context, c *Cluster, say func(string)) error {
	for _, o := range i.objects {
		var awaited func() (string, error)
		switch o.GetKind() {
		case "Deployment":
			awaited = func() (string, error) { return c.rollout(ctx, nameOf(o)) }
		case "MutatingWebhookConfiguration":
			awaited = func() (string, error) { return c.trusted(ctx, nameOf(o)) }
		default:
			continue
		}
		if err := eventually(ctx, say, awaited); err != nil {
			if ctx.Err() == nil || o.GetKind() != "Deployment" {
				return err
			}
			// ctx has ended: the last questions have a little time of their own.
			asking, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer done()
			return errors.Join(err, c.whyNotReady(asking, nameOf(o)))
		}
	}
	return nil
}

// number reads a number of an object, 0 where it is not there.
func number(o *unstructured.Unstructured, path ...string) int64 {
	n, _, err := unstructured.NestedInt64(o.Object, path...)
	if err != nil {
		return 0
	}
	return n
}

// rollout says what of a deployment's replicas is awaited.
func (c *Cluster) rollout(ctx context.Context, name Object) (string, error) {
	o, err := c.live(ctx, name)
	if err != nil || o == nil {
		return "waiting for " + name.String(), err
	}
	want, ready := number(o, "spec", "replicas"), number(o, "status", "readyReplicas")
	updated, available, all := number(o, "status", "updatedReplicas"), number(o, "status", "availableReplicas"), number(o, "status", "replicas")
	if number(o, "status", "observedGeneration") < o.GetGeneration() {
		return "waiting for the controller of " + name.String(), nil
	}
	if updated == want && available == want && all == want {
		return "", nil
	}
	return fmt.Sprintf("%s: %d of %d replicas are new, %d are ready", name, updated, want, ready), nil
}

// trusted says whether the API server knows the webhook's authority.
func (c *Cluster) trusted(ctx context.Context, name Object) (string, error) {
	waiting := "waiting for " + name.String() + " to name the webhook's authority"
	o, err := c.live(ctx, name)
	if err != nil || o == nil {
		return waiting, err
	}
	hooks, _, err := unstructured.NestedSlice(o.Object, "webhooks")
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	for _, hook := range hooks {
		m, ok := hook.(map[string]any)
		if !ok {
			continue
		}
		if bundle, _, err := unstructured.NestedString(m, "clientConfig", "caBundle"); err != nil || bundle == "" {
			return waiting, nil //nolint:nilerr // what is no text is no bundle
		}
	}
	return "", nil
}

var podResource = kind{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "Pod", true}

// whyNotReady is an error with what a deployment and its pods say of themselves.
func (c *Cluster) whyNotReady(ctx context.Context, name Object) error {
	o, err := c.live(ctx, name)
	if err != nil || o == nil {
		return err
	}
	var said []string
	add := func(who, reason, message string) {
		if reason != "" || message != "" {
			said = append(said, strings.TrimSpace(who+": "+strings.TrimSuffix(reason+": "+strings.TrimSpace(message), ": ")))
		}
	}
	for _, condition := range objectsIn(o, "status", "conditions") {
		if text(condition, "type") == "ReplicaFailure" && text(condition, "status") == "True" {
			add(name.Name, text(condition, "reason"), text(condition, "message"))
		}
	}
	selector, _, err := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
	if err != nil {
		return err
	}
	pods, err := c.list(ctx, podResource, name.Namespace, metav1.FormatLabelSelector(metav1.SetAsLabelSelector(selector)))
	if err != nil {
		return err
	}
	for _, pod := range pods {
		for _, condition := range objectsIn(&pod, "status", "conditions") {
			if text(condition, "type") == "PodScheduled" && text(condition, "status") == "False" {
				add("pod "+pod.GetName(), text(condition, "reason"), text(condition, "message"))
			}
		}
		for _, container := range objectsIn(&pod, "status", "containerStatuses") {
			waiting := inner(container, "state", "waiting")
			add("pod "+pod.GetName(), text(waiting, "reason"), text(waiting, "message"))
			ended := inner(container, "lastState", "terminated")
			add("pod "+pod.GetName()+" ended", text(ended, "reason"), text(ended, "message"))
		}
	}
	if len(said) == 0 {
		return nil
	}
	return errors.New(strings.Join(said, "\n"))
}

// objectsIn reads a list of objects inside an object, none where there is none.
func objectsIn(o *unstructured.Unstructured, path ...string) []map[string]any {
	list, _, err := unstructured.NestedSlice(o.Object, path...)
	if err != nil {
		return nil
	}
	var all []map[string]any
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// inner reads an object inside an object, and text a text: empty where it is not
// there.
func inner(m map[string]any, path ...string) map[string]any {
	found, _, err := unstructured.NestedMap(m, path...)
	if err != nil {
		return nil
	}
	return found
}

func text(m map[string]any, field string) string {
	s, _ := m[field].(string)
	return s
}
