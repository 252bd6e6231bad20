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
// trusts the webhook. say is told what is awaited, and once of each trouble that
// pods have: some do not go away. When ctx ends first, the error says what the pods
// say.
func (i *Installation) Ready(ctx context.Context, c *Cluster, say func(string)) error {
	for _, o := range i.objects {
		var awaited func() (string, error)
		switch o.GetKind() {
		case "Deployment":
			told := map[string]bool{}
			awaited = func() (string, error) {
				now, err := c.rollout(ctx, nameOf(o))
				if err == nil && now != "" {
					c.tellTroubles(ctx, nameOf(o), told, say)
				}
				return now, err
			}
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

// trouble is what a deployment or a pod says of itself that is not running.
type trouble struct{ who, reason, message string }

func (t trouble) String() string {
	return strings.TrimSpace(t.who + ": " + strings.TrimSuffix(t.reason+": "+strings.TrimSpace(t.message), ": "))
}

// tellTroubles says each kind of trouble that a deployment's pods have, once:
// replicas have the same. Pods that are being started have none.
func (c *Cluster) tellTroubles(ctx context.Context, name Object, told map[string]bool, say func(string)) {
	found, err := c.troubles(ctx, name)
	if err != nil {
		return // the wait goes on, and ends with what is wrong
	}
	for _, t := range found {
		if t.reason == "ContainerCreating" || t.reason == "PodInitializing" || told[t.reason] {
			continue
		}
		told[t.reason] = true
		say(t.String())
	}
}

// whyNotReady is an error with what a deployment and its pods say of themselves.
func (c *Cluster) whyNotReady(ctx context.Context, name Object) error {
	found, err := c.troubles(ctx, name)
	if err != nil || len(found) == 0 {
		return err
	}
	said := make([]string, len(found))
	for i, t := range found {
		said[i] = t.String()
	}
	return errors.New(strings.Join(said, "\n"))
}

// troubles are those of a deployment and its pods.
func (c *Cluster) troubles(ctx context.Context, name Object) ([]trouble, error) {
	o, err := c.live(ctx, name)
	if err != nil || o == nil {
		return nil, err
	}
	var found []trouble
	add := func(who, reason, message string) {
		if reason != "" || message != "" {
			found = append(found, trouble{who, reason, message})
		}
	}
	for _, condition := range objectsIn(o, "status", "conditions") {
		if text(condition, "type") == "ReplicaFailure" && text(condition, "status") == "True" {
			add(name.Name, text(condition, "reason"), text(condition, "message"))
		}
	}
	selector, _, err := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
	if err != nil {
		return nil, err
	}
	pods, err := c.list(ctx, podResource, name.Namespace, metav1.FormatLabelSelector(metav1.SetAsLabelSelector(selector)))
	if err != nil {
		return nil, err
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
	return found, nil
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
