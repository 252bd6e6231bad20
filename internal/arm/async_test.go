package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// slow is a type whose operations take three steps each, and wait where a test
// says so.
type slow struct {
	// before is called before each step with the operation's kind and the number
	// of the step, from 1.
	before func(kind string, step int) error
}

type job struct {
	Steps int    `json:"steps"`
	Note  string `json:"note,omitempty"`
}

func (s *slow) step(kind string, step *Step, res *Resource[job]) (bool, error) {
	n := 0
	if step.Data != nil {
		if err := json.Unmarshal(step.Data, &n); err != nil {
			return false, err
		}
	}
	n++
	if s.before != nil {
		if err := s.before(kind, n); err != nil {
			return false, err
		}
	}
	res.Properties.Steps, res.Properties.Note = n, kind
	step.Data = json.RawMessage(fmt.Sprint(n))
	if n == 3 && kind == "action" {
		step.Result = map[string]int{"steps": n}
	}
	return n == 3, nil
}

func (s *slow) types() []Type {
	hooks := Hooks[job]{
		AsyncPut: func(_ context.Context, step *Step, res *Resource[job]) (bool, error) { return s.step("put", step, res) },
		AsyncDelete: func(_ context.Context, step *Step, res *Resource[job]) (bool, error) {
			return s.step("delete", step, res)
		},
		Actions: []Action[job]{{
			Name: "work",
			Run: func(_ context.Context, _ *Request, _ *Resource[job], body json.RawMessage) (int, any, error) {
				if len(body) == 0 {
					return 0, nil, azure.Errorf(http.StatusBadRequest, "NothingToDo", "A body is needed.")
				}
				return 0, nil, nil
			},
			Async: func(_ context.Context, step *Step, res *Resource[job]) (bool, error) {
				return s.step("action", step, res)
			},
		}},
	}
	spec := Spec{Name: "Test.Slow/jobs", Versions: []string{"2021-04-01"}, In: AtResourceGroup, Tracked: true, ProvisioningState: true}
	virtual := Virtual(Spec{Name: "Test.Slow/ghosts", Versions: []string{"2021-04-01"}, In: AtSubscription}, VirtualHooks{
		Actions: map[string]VirtualAction{"haunt": {
			Run: func(context.Context, *Request, json.RawMessage) (int, any, error) { return 0, nil, nil },
			Async: func(_ context.Context, step *Step) (bool, error) {
				return s.step("haunt", step, &Resource[job]{})
			},
		}},
	})
	return []Type{Define(spec, hooks), virtual}
}

func jobPath(name string) string { return groupPath("rg") + "/providers/Test.Slow/jobs/" + name }

const jobBody = `{"location":"westeurope"}`

func TestAsyncPut(t *testing.T) {
	s, gate := heldAt("put", 3)
	defer gate.open()
	w := newWorld(t, s.types()...)
	w.group("rg")
	created := w.want(http.StatusCreated, http.MethodPut, jobPath("one")+version, jobBody)
	url := created.Header.Get("Azure-AsyncOperation")
	want := w.Azure.ResourceManager() + "/subscriptions/" + subID + "/providers/Test.Slow/locations/westeurope/operations/"
	if created.property("provisioningState") != Creating || !strings.HasPrefix(url, want) || created.Header.Get("Location") != "" || created.Header.Get("Retry-After") != "1" {
		t.Fatalf("created %s with %v", created.Body, created.Header)
	}
	if got := w.want(http.StatusOK, http.MethodGet, url, ""); got.doc["status"] != "InProgress" || got.Header.Get("Retry-After") == "" {
		t.Errorf("the operation is %s", got.Body)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		if got := w.owner(method, jobPath("one")+version, jobBody); got.Status != http.StatusConflict || got.ErrorCode() != "AnotherOperationInProgress" {
			t.Errorf("%s meanwhile: %d %s", method, got.Status, got.Body)
		}
	}
	gate.open()
	var done answer
	w.Eventually("the operation", func() bool {
		done = w.want(http.StatusOK, http.MethodGet, url, "")
		return done.doc["status"] != "InProgress"
	})
	if done.doc["status"] != Succeeded || done.doc["endTime"] == nil || done.doc["name"] != url[strings.LastIndexByte(url, '/')+1:strings.IndexByte(url, '?')] {
		t.Errorf("the operation is %s", done.Body)
	}
	got := w.want(http.StatusOK, http.MethodGet, jobPath("one")+version, "")
	if got.property("provisioningState") != Succeeded || got.property("steps") != 3.0 {
		t.Errorf("the resource is %s", got.Body)
	}
}

func TestAsyncFailure(t *testing.T) {
	s := &slow{before: func(_ string, step int) error {
		if step == 2 {
			return azure.Errorf(http.StatusConflict, "NoMoreRoom", "The job does not fit.")
		}
		return nil
	}}
	w := newWorld(t, s.types()...)
	w.group("rg")
	url := w.want(http.StatusCreated, http.MethodPut, jobPath("one")+version, jobBody).Header.Get("Azure-AsyncOperation")
	var failed answer
	w.Eventually("the failure", func() bool {
		failed = w.want(http.StatusOK, http.MethodGet, url, "")
		return failed.doc["status"] != "InProgress"
	})
	if failed.doc["status"] != Failed || failed.ErrorCode() != "NoMoreRoom" {
		t.Errorf("the operation is %s", failed.Body)
	}
	got := w.want(http.StatusOK, http.MethodGet, jobPath("one")+version, "")
	if got.property("provisioningState") != Failed || got.property("steps") != 1.0 {
		t.Errorf("the resource is %s", got.Body)
	}
	s.before = nil
	w.want(http.StatusOK, http.MethodPut, jobPath("one")+version, jobBody)
	w.Eventually("the second attempt", w.succeeded("one"))
}

// heldAt gives a type that waits in a step of an operation of the kind until the
// gate opens.
func heldAt(kind string, step int) (*slow, *gate) {
	gate := newGate()
	return &slow{before: func(k string, at int) error {
		if k == kind && at == step {
			gate.wait()
		}
		return nil
	}}, gate
}

// job makes a job in the group rg, and waits until it is there.
func (w *world) job(name string) {
	w.TB.Helper()
	w.group("rg")
	w.want(http.StatusCreated, http.MethodPut, jobPath(name)+version, jobBody)
	w.Eventually("the job", w.succeeded(name))
}

// succeeded tells whether the job is there.
func (w *world) succeeded(name string) func() bool {
	return func() bool {
		return w.want(http.StatusOK, http.MethodGet, jobPath(name)+version, "").property("provisioningState") == Succeeded
	}
}

// What isn't the operation's own fault is tried again.
func TestAsyncRetries(t *testing.T) {
	var failures atomic.Int32
	s := &slow{before: func(_ string, step int) error {
		if step == 2 && failures.Add(1) <= 3 {
			return errors.New("the weather is bad")
		}
		return nil
	}}
	w := newWorld(t, s.types()...)
	w.job("one")
}

func TestAsyncDelete(t *testing.T) {
	s, gate := heldAt("delete", 2)
	defer gate.open()
	w := newWorld(t, s.types()...)
	w.job("one")
	first := w.want(http.StatusAccepted, http.MethodDelete, jobPath("one")+version, "")
	again := w.want(http.StatusAccepted, http.MethodDelete, jobPath("one")+version, "")
	location := first.Header.Get("Location")
	if location == "" || location != again.Header.Get("Location") || !strings.Contains(location, "/operationresults/") {
		t.Errorf("the locations are %q and %q", location, again.Header.Get("Location"))
	}
	if got := w.owner(http.MethodPut, jobPath("one")+version, jobBody); got.Status != http.StatusConflict || got.ErrorCode() != "ResourceBeingDeleted" {
		t.Errorf("a PUT meanwhile: %d %s", got.Status, got.Body)
	}
	if got := w.want(http.StatusOK, http.MethodGet, jobPath("one")+version, ""); got.property("provisioningState") != Deleting {
		t.Errorf("the resource is %s", got.Body)
	}
	if got := w.want(http.StatusAccepted, http.MethodGet, location, ""); got.Header.Get("Location") != location || got.Body != "" {
		t.Errorf("polling answered %v %s", got.Header, got.Body)
	}
	gate.open()
	if got := w.poll(location); got.Status != http.StatusNoContent {
		t.Errorf("the end is %d %s", got.Status, got.Body)
	}
	w.want(http.StatusNotFound, http.MethodGet, jobPath("one")+version, "")
	w.want(http.StatusNoContent, http.MethodDelete, jobPath("one")+version, "")
}

// Deleting takes a resource from the operation that is making it.
func TestDeleteAbandonsPut(t *testing.T) {
	s, gate := heldAt("put", 2)
	defer gate.open()
	w := newWorld(t, s.types()...)
	w.group("rg")
	put := w.want(http.StatusCreated, http.MethodPut, jobPath("one")+version, jobBody).Header.Get("Azure-AsyncOperation")
	location := w.want(http.StatusAccepted, http.MethodDelete, jobPath("one")+version, "").Header.Get("Location")
	gate.open()
	if got := w.poll(location); got.Status != http.StatusNoContent {
		t.Errorf("the deletion ended with %d %s", got.Status, got.Body)
	}
	if got := w.want(http.StatusOK, http.MethodGet, put, ""); got.doc["status"] != Canceled {
		t.Errorf("the creation is %s", got.Body)
	}
	w.want(http.StatusNotFound, http.MethodGet, jobPath("one")+version, "")
}

func TestAsyncAction(t *testing.T) {
	s := &slow{}
	w := newWorld(t, s.types()...)
	w.job("one")
	if got := w.owner(http.MethodPost, jobPath("one")+"/work"+version, ""); got.Status != http.StatusBadRequest || got.ErrorCode() != "NothingToDo" {
		t.Errorf("refused with %d %s", got.Status, got.Body)
	}
	accepted := w.want(http.StatusAccepted, http.MethodPost, jobPath("one")+"/work"+version, `{}`)
	if got := w.poll(accepted.Header.Get("Location")); got.Status != http.StatusOK || got.doc["steps"] != 3.0 {
		t.Errorf("the result is %d %s", got.Status, got.Body)
	}
	ghost := "/subscriptions/" + subID + "/providers/Test.Slow/ghosts/g/haunt" + version
	haunted := w.want(http.StatusAccepted, http.MethodPost, ghost, `{}`)
	if got := w.poll(haunted.Header.Get("Location")); got.Status != http.StatusNoContent {
		t.Errorf("the haunting ended with %d %s", got.Status, got.Body)
	}
}

// Who started an operation may poll it, whatever has become of their role;
// others need to be able to read the resource.
func TestWhoMayPoll(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	const guest = "33333333-3333-3333-3333-333333333335"
	w.Assign(guest, azure.RoleContributor, mustID(t, groupPath("rg")))
	location := w.do(guest, http.MethodDelete, groupPath("rg")+version, "").Header.Get("Location")
	w.poll(location)
	if got := w.do(guest, http.MethodGet, groupPath("rg")+version, ""); got.Status != http.StatusForbidden {
		t.Errorf("the guest's role outlived the group: %d", got.Status)
	}
	for principal, status := range map[string]int{guest: http.StatusOK, readerID: http.StatusOK, nobodyID: http.StatusForbidden} {
		if got := w.do(principal, http.MethodGet, location, ""); got.Status != status {
			t.Errorf("%s got %d %s, want %d", principal, got.Status, got.Body, status)
		}
	}
	if got := w.do(guest, http.MethodDelete, location, ""); got.Status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE on an operation: %d", got.Status)
	}
	if got := w.do(guest, http.MethodGet, strings.Replace(location, version, "", 1), ""); got.ErrorCode() != "MissingApiVersionParameter" {
		t.Errorf("without a version: %s", got.Body)
	}
}

// An operation goes on after its process has died, from the step that it had
// reached.
func TestResumeAfterCrash(t *testing.T) {
	var reached atomic.Int32
	crash := newGate()
	defer crash.open()
	s := &slow{before: func(_ string, step int) error {
		reached.Store(int32(step))
		if step == 2 {
			crash.wait()
			return errors.New("the power is gone")
		}
		return nil
	}}
	w := newWorld(t, s.types()...)
	w.group("rg")
	url := w.want(http.StatusCreated, http.MethodPut, jobPath("one")+version, jobBody).Header.Get("Azure-AsyncOperation")
	w.Eventually("the second step", func() bool { return reached.Load() == 2 })
	w.stop()
	crash.open()
	var again []int
	w.restart(func() {
		s.before = func(_ string, step int) error { again = append(again, step); return nil }
	})
	w.Eventually("the operation", func() bool { return w.want(http.StatusOK, http.MethodGet, url, "").doc["status"] == Succeeded })
	if fmt.Sprint(again) != "[2 3]" {
		t.Errorf("went on with steps %v", again)
	}
}

// One replica works; when it stops, another one goes on.
func TestOneWorkerAtATime(t *testing.T) {
	var running, most, total atomic.Int32
	s := &slow{before: func(string, int) error {
		most.Store(max(most.Load(), running.Add(1)))
		total.Add(1)
		running.Add(-1)
		return nil
	}}
	w := newWorld(t, s.types()...)
	w.group("rg")
	second, err := New(w.engine.cfg)
	cloudtest.Must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- second.Run(ctx) }()
	defer func() {
		stop()
		cloudtest.Must(t, <-stopped)
	}()
	w.want(http.StatusCreated, http.MethodPut, jobPath("one")+version, jobBody)
	w.Eventually("the first job", w.succeeded("one"))
	w.stop()
	<-w.ended
	w.want(http.StatusCreated, http.MethodPut, jobPath("two")+version, jobBody)
	w.Eventually("the second job", w.succeeded("two"))
	if most.Load() != 1 || total.Load() != 6 {
		t.Errorf("%d steps, at most %d at once; want 6 and 1", total.Load(), most.Load())
	}
}

// Who stops the engine while it begins hears of no failure.
func TestRunThatEndsAtOnce(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := w.engine.Run(ctx); err != nil {
		t.Errorf("%v; want an orderly end", err)
	}
}

// Ended operations can be polled for a day.
func TestOperationsAreForgotten(t *testing.T) {
	w := newWorld(t)
	w.group("rg")
	location := w.want(http.StatusAccepted, http.MethodDelete, groupPath("rg")+version, "").Header.Get("Location")
	w.poll(location)
	w.Clock.Advance(23 * time.Hour)
	cloudtest.Must(t, w.engine.forgetOperations(t.Context()))
	w.want(http.StatusOK, http.MethodGet, location, "")
	w.Clock.Advance(2 * time.Hour)
	cloudtest.Must(t, w.engine.forgetOperations(t.Context()))
	if got := w.owner(http.MethodGet, location, ""); got.Status != http.StatusNotFound || got.ErrorCode() != "OperationNotFound" {
		t.Errorf("after a day: %d %s", got.Status, got.Body)
	}
	if n := w.left("operations/"); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}
