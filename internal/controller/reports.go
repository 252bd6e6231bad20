package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/lanyard-id/lanyard/internal/channel"
)

// lookEvery is how often the webhook looks whether there is something to report.
// The API server publishes a new key of its own to no one: it is asked.
const lookEvery = 10 * time.Second

// component is what the webhook reports as.
const component = "webhook"

var nodeResource = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}

// reporter tells the cloud what the cluster is like: when it changes, when the
// cloud was away, and now and then.
type reporter struct {
	link     *link
	api      *apiServer
	metadata metadata.Interface
	version  func() string // of Kubernetes, "" while it is not known
	detector *detector     // nil without one
	release  string        // of the agent
	every    time.Duration // lookEvery
	pause    time.Duration // channel.ReportPauseSeconds
	log      *slog.Logger

	sent   channel.Report // the last one that was taken
	at     time.Time      // when the last one was sent
	stream uint64         // in which stream it was taken
	// What went wrong last, so that it is logged once.
	refused, unread news
}

// news are failures, of which one that repeats itself is no news.
type news struct{ last string }

// is tells whether a failure is another than the last one.
func (n *news) is(err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	former := n.last
	n.last = text
	return text != "" && text != former
}

// run reports until ctx ends.
func (r *reporter) run(ctx context.Context) {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		client := r.link.client.Load()
		changed := client.State().Changed()
		r.look(ctx, client)
		select {
		case <-ctx.Done():
			return
		case <-changed: // a cloud that has just come back is not let wait
		case <-tick.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(r.at.Add(r.pause))):
		}
	}
}

// look reports if there is something new, if the cloud was away, or if it is time.
func (r *reporter) look(ctx context.Context, client *channel.Client) {
	stream, live := client.State().Stream()
	if !live { // nobody would take it
		return
	}
	report := r.gather(ctx)
	if stream == r.stream && time.Since(r.at) < channel.ReportSeconds*time.Second && reflect.DeepEqual(report, r.sent) {
		return
	}
	r.at = time.Now() // a refused one counts for the cloud's limit too
	err := client.Report(ctx, report)
	if err == nil {
		r.sent, r.stream = report, stream
	}
	if r.refused.is(err) && ctx.Err() == nil {
		r.log.WarnContext(ctx, "the cloud did not take the report", "error", err)
	}
}

// gather looks at the cluster. What cannot be read is left out.
func (r *reporter) gather(ctx context.Context) channel.Report {
	report := channel.Report{Component: component, AgentVersion: r.release, KubernetesVersion: r.version(), NodeCount: r.sent.NodeCount}
	issuer, keys, err := r.api.issuer(ctx)
	if r.unread.is(err) && ctx.Err() == nil {
		r.log.WarnContext(ctx, "the API server's issuer and keys cannot be read", "error", err)
	}
	report.Issuer, report.Keys = issuer, keys
	if n, err := r.nodes(ctx); err == nil {
		report.NodeCount = n
	} else if !apierrors.IsForbidden(err) { // the right to count them is optional
		r.log.DebugContext(ctx, "the nodes cannot be counted", "error", err)
	}
	if r.detector != nil {
		if pods, ok := r.detector.unmutated(); ok {
			report.Unmutated = &pods
		}
	}
	return report
}

// nodes counts the cluster's nodes without reading them.
func (r *reporter) nodes(ctx context.Context) (int, error) {
	list, err := r.metadata.Resource(nodeResource).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, err
	}
	n := len(list.Items)
	if more := list.RemainingItemCount; more != nil {
		n += int(*more)
	}
	return n, nil
}

// issuer asks the API server for its discovery document and its keys.
func (a *apiServer) issuer(ctx context.Context) (issuer string, keys json.RawMessage, err error) {
	var doc struct {
		Issuer string `json:"issuer"`
	}
	if err := a.get(ctx, "/.well-known/openid-configuration", &doc); err != nil {
		return "", nil, err
	}
	if doc.Issuer == "" {
		return "", nil, errors.New("its discovery document names no issuer")
	}
	if err := a.get(ctx, "/openid/v1/jwks", &keys); err != nil {
		return "", nil, err
	}
	var compact bytes.Buffer // the same keys are the same report
	if err := json.Compact(&compact, keys); err != nil {
		return "", nil, fmt.Errorf("/openid/v1/jwks: %w", err)
	}
	return doc.Issuer, compact.Bytes(), nil
}
