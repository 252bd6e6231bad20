package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// MutatePath is where the API server sends pods.
const MutatePath = "/mutate-v1-pod"

// maxReview bounds a review, in bytes: twice the largest object that the API
// server takes, and room for the rest.
const maxReview = 7 << 20

// buffers of a body, and then of its answer, are kept for the next request unless
// they are large. Nothing decoded refers to them.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, smallReview); return &b }}

// keptBuffer is the largest that is kept.
const keptBuffer = 256 << 10

// mutate answers a pod's AdmissionReview. Every answer is a review, as the
// protocol has it: a failure is a denial in it.
func (w *Webhook) mutate(rw http.ResponseWriter, req *http.Request) {
	w.metrics.inFlight.Inc()
	defer w.metrics.inFlight.Dec()
	if req.Method != http.MethodPost {
		rw.Header().Set("Allow", http.MethodPost)
		http.Error(rw, "an AdmissionReview is POSTed", http.StatusMethodNotAllowed)
		return
	}
	size := int(min(req.ContentLength, maxReview))
	if size < 0 { // it does not say
		size = maxReview
	}
	release, refused := w.bodies.take(req.RemoteAddr, size)
	if refused == nil {
		defer release()
	}
	buffer := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buffer) <= keptBuffer {
			buffers.Put(buffer)
		}
	}()
	*buffer = w.answer(rw, req, (*buffer)[:0], refused)
	// With its length the answer is sent in fewer pieces.
	rw.Header()["Content-Type"], rw.Header()["Content-Length"] = jsonContent, []string{strconv.Itoa(len(*buffer))}
	if _, err := rw.Write(*buffer); err != nil {
		w.log.DebugContext(req.Context(), "the API server has gone", "error", err)
	}
}

var jsonContent = []string{"application/json"}

// answer reads one review into a buffer, unless it is refused unread, decides, and
// gives the answer, in the same buffer or a larger one. A panic in it is a mistake in
// the agent: it is logged and costs that one pod.
func (w *Webhook) answer(rw http.ResponseWriter, req *http.Request, buffer []byte, refused error) (answer []byte) {
	start, namespace := time.Now(), ""
	var review *workloadidentity.Review
	defer func() {
		if p := recover(); p != nil {
			w.metrics.panics.Inc()
			w.metrics.bad.Inc()
			w.log.ErrorContext(req.Context(), "panic in an admission", "panic", p, "stack", string(debug.Stack()))
			answer = review.AppendAnswer(nil, workloadidentity.Mutation{}, &workloadidentity.DenialError{
				Code: http.StatusInternalServerError, Message: "the webhook failed; its log says why",
			})
			return
		}
		w.metrics.ok.Inc()
		w.metrics.observe(namespace, time.Since(start))
	}()
	var m workloadidentity.Mutation
	body, err := buffer, refused
	if err == nil {
		body, err = readReview(rw, req, buffer)
	}
	if err == nil {
		review, err = workloadidentity.ParseReview(body)
	}
	if err == nil {
		m, err = w.decide(req.Context(), review.Request)
		// Anybody could name any namespace: it is there where the account was found.
		if m.Volume != "" || w.accounts.inNamespace(review.Request.Namespace) {
			namespace = review.Request.Namespace
		}
	}
	return review.AppendAnswer(body[:0], m, err)
}

// readReview reads a request's body into a buffer, which may grow.
func readReview(rw http.ResponseWriter, req *http.Request, buffer []byte) ([]byte, error) {
	if kind := req.Header.Get("Content-Type"); kind != "application/json" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return nil, fmt.Errorf("contentType=%s, expected application/json", kind)
		}
	}
	if req.ContentLength > maxReview {
		return nil, errTooLarge
	}
	if n := int(req.ContentLength); n > cap(buffer) {
		buffer = make([]byte, 0, n+1)
	}
	body := http.MaxBytesReader(rw, req.Body, maxReview)
	for {
		if len(buffer) == cap(buffer) {
			buffer = append(buffer, 0)[:len(buffer)]
		}
		n, err := body.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return buffer, nil
		default:
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return nil, errTooLarge
			}
			return nil, fmt.Errorf("reading the AdmissionReview: %w", err)
		}
	}
}

var errTooLarge = &workloadidentity.DenialError{
	Code: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("request entity is too large; limit is %d bytes", maxReview),
}

// decide says what a request's pod gets.
func (w *Webhook) decide(ctx context.Context, r *workloadidentity.ReviewRequest) (workloadidentity.Mutation, error) {
	var none workloadidentity.Mutation
	if !r.Creates() {
		return none, nil
	}
	// The agent's own pods never need the agent: not even if someone has them ask
	// for it, and it is the one that cannot answer.
	if r.Namespace == w.namespace && r.Object.System() {
		none.Warnings = []string{"the webhook leaves its own pods alone: remove the label " + workloadidentity.UseLabel}
		return none, nil
	}
	if r.Object.Mirror() {
		none.Warnings = []string{"a static pod has no service account, and so no workload identity"}
		return none, nil
	}
	settings := w.settings.Load()
	if settings == nil {
		return none, &workloadidentity.DenialError{Code: http.StatusServiceUnavailable, Message: "the webhook is starting: it does not know the cluster's version yet"}
	}
	sa, err := w.accounts.get(ctx, r.Namespace, r.Object.ServiceAccountName())
	if err != nil {
		return none, w.lookupFailed(ctx, err)
	}
	m, err := workloadidentity.Decide(r.Object, sa, settings, w.link.federation())
	if err == nil {
		err = w.lead(ctx, r, m)
	}
	if err != nil {
		w.log.WarnContext(ctx, "pod denied", "namespace", r.Namespace, "serviceAccount", sa.Name, "why", err)
		return none, err
	}
	if w.log.Enabled(ctx, slog.LevelDebug) {
		w.log.DebugContext(ctx, "pod decided", "namespace", r.Namespace, "pod", r.Object.DisplayName(), "serviceAccount", sa.Name,
			"clientId", m.Identity, "volume", m.Volume, "containers", m.Containers, "proxy", m.Proxy, "warnings", m.Warnings)
	}
	return m, nil
}

// lookupFailed tells a service account that does not exist, which is the pod's
// mistake, from an API server that does not answer, which is not.
func (w *Webhook) lookupFailed(ctx context.Context, err error) error {
	if denial, ok := errors.AsType[*workloadidentity.DenialError](err); ok {
		w.log.WarnContext(ctx, "pod denied", "why", err)
		return denial
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if ok && apierrors.IsNotFound(status) {
		w.log.WarnContext(ctx, "pod denied", "why", err)
		return &workloadidentity.DenialError{Code: http.StatusBadRequest, Message: status.Error()}
	}
	w.log.ErrorContext(ctx, "a service account cannot be read", "error", err)
	return &workloadidentity.DenialError{Code: http.StatusInternalServerError, Message: "the service account could not be read; the webhook's log says why"}
}
