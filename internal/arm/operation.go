package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
)

// The keys of operations: records, and one marker for each that isn't ended,
// which is what the worker follows.
const (
	operationPrefix = "operations/record/"
	pendingPrefix   = "operations/pending/"
)

// The kinds of operations.
const (
	opPut    = "put"
	opDelete = "delete"
	opAction = "action"
)

const inProgress = "InProgress"

// operation is a long-running operation as it is stored.
type operation struct {
	ID       string           `json:"id"`
	Kind     string           `json:"kind"`
	Action   string           `json:"action,omitempty"`
	Type     string           `json:"type"`
	TenantID string           `json:"tenantId"`
	Resource azure.ResourceID `json:"resource"`
	Location string           `json:"location"` // of the poll address
	Caller   azure.Caller     `json:"caller"`
	Status   string           `json:"status"`
	Start    time.Time        `json:"start"`
	End      time.Time        `json:"end,omitzero"`
	Failure  *failure         `json:"failure,omitempty"`
	Result   json.RawMessage  `json:"result,omitempty"`
	// Data are the steps' notes, by the key of the resource that they are of.
	Data map[string]json.RawMessage `json:"data,omitempty"`

	revision int64
}

// failure is how an operation failed.
type failure struct {
	HTTP    int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (op *operation) ended() bool { return op.Status != inProgress }

// pollScope is the scope in whose address the operation is polled: the
// resource's subscription, unless that is what goes away.
func (op *operation) pollScope() azure.ResourceID {
	scope := azure.SubscriptionScope(op.Resource.SubscriptionID())
	if op.Resource.SubscriptionID() == "" || op.Kind == opDelete && op.Resource.Equal(scope) {
		return azure.Root()
	}
	return scope
}

func (op *operation) end(tx *store.Tx, status string, now time.Time) error {
	op.Status, op.End, op.Data = status, now, nil
	tx.Delete(pendingPrefix + op.ID)
	return store.PutJSON(tx, operationPrefix+op.ID, op)
}

// loadOperation reads an operation; nil when there is none.
func loadOperation(read reader, id string) (*operation, error) {
	entry, err := read(operationPrefix + id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading operation %s: %w", id, err)
	}
	var op operation
	if err := json.Unmarshal(entry.Value, &op); err != nil {
		return nil, fmt.Errorf("decoding operation %s: %w", id, err)
	}
	op.revision = entry.Revision
	return &op, nil
}

// begin persists a new operation in the transaction that it belongs to. rec is
// nil for virtual types.
func (x *exchange) begin(tx *store.Tx, kind string, rec *record) (*operation, error) {
	op := &operation{
		ID: uuid.NewString(), Kind: kind, Action: azure.Fold(x.target.action), Type: x.target.typ.spec.Name,
		TenantID: x.request.TenantID, Resource: x.target.id, Location: "global",
		Caller: x.request.Caller, Status: inProgress, Start: x.now,
	}
	if rec != nil {
		rec.Operation = op.ID
		op.Resource = rec.ID
		if rec.Location != "" {
			op.Location = rec.Location
		}
	}
	tx.Put(pendingPrefix+op.ID, nil)
	return op, store.PutJSON(tx, operationPrefix+op.ID, op)
}

// abandon ends the operation that another one takes the resource from.
func abandon(tx *store.Tx, id string, now time.Time) error {
	op, err := loadOperation(tx.Get, id)
	if err != nil || op == nil || op.ended() {
		return err
	}
	return op.end(tx, Canceled, now)
}

// errNothingToDo is what a check of startOperation gives where no operation is
// needed.
var errNothingToDo = errors.New("there is nothing to do")

// startVirtualDelete accepts the long-running deletion of what a virtual type
// keeps.
func (x *exchange) startVirtualDelete(hooks *VirtualHooks) error {
	err := x.startOperation(opDelete, func(ctx context.Context) error {
		status, _, err := hooks.Delete(ctx, x.request)
		if err == nil && status == http.StatusNoContent {
			return errNothingToDo
		}
		return err
	})
	if errors.Is(err, errNothingToDo) {
		return x.answerDeleted(false)
	}
	return err
}

// startOperation accepts a long-running action, or a virtual type's deletion:
// check runs in the transaction that persists the operation.
func (x *exchange) startOperation(kind string, check func(ctx context.Context) error) error {
	var op *operation
	_, err := x.engine.cfg.Store.Update(x.ctx, func(tx *store.Tx) error {
		r := x.request
		r.Tx = tx
		defer func() { r.Tx = nil }()
		if err := x.checkScope(true); err != nil {
			return err
		}
		var rec *record
		var err error
		if x.target.typ.stored != nil {
			if rec, err = x.find(); err != nil {
				return err
			}
			if err := x.admissible(rec); err != nil {
				return err
			}
		}
		if err := check(x.ctx); err != nil {
			return err
		}
		if op, err = x.begin(tx, kind, rec); err != nil || rec == nil {
			return err
		}
		rec.ProvisioningState = Updating
		return store.PutJSON(tx, x.key(), rec)
	})
	if err != nil {
		return err
	}
	x.operationHeaders(op, true, x.request.APIVersion)
	return x.answer(http.StatusAccepted, nil)
}

// operationHeaders tells the client where to poll and how often. Azure's own
// pace is seconds; unless strict, clients that understand it are told to ask at
// once.
func (x *exchange) operationHeaders(op *operation, async bool, version string) {
	h := x.w.Header()
	base, query := x.baseURL(), "?api-version="+version
	if azure.EqualFold(op.Type, resourceGroupType) {
		h.Set("Location", base+azure.SubscriptionScope(op.Resource.SubscriptionID()).String()+"/operationresults/"+op.ID+query)
	} else {
		namespace, _, _ := strings.Cut(op.Type, "/")
		scope := strings.TrimSuffix(op.pollScope().String(), "/")
		root := base + scope + "/providers/" + namespace + "/locations/" + op.Location
		if async {
			h.Set("Azure-AsyncOperation", root+"/operations/"+op.ID+query)
		}
		if op.Kind != opPut {
			h.Set("Location", root+"/operationresults/"+op.ID+query)
		}
	}
	x.pollingPace()
}

func (x *exchange) pollingPace() {
	h := x.w.Header()
	if x.engine.cfg.Strict {
		h.Set("Retry-After", "15")
		return
	}
	h.Set("Retry-After", "1")
	h.Set("Retry-After-Ms", "50")
	h.Set("X-Go-Azure-Sdk-Skip-Polling-Delay", "true")
}

// servePoll answers for a long-running operation.
func (x *exchange) servePoll(version string) error {
	if !versionPattern.MatchString(azure.Fold(version)) {
		return x.engine.checkVersion(&Spec{Name: "Microsoft.Resources/operations", Core: true, Versions: []string{"2014-04-01"}}, version)
	}
	x.request = &Request{ID: x.target.id, APIVersion: version, Now: x.now, engine: x.engine}
	if err := x.identify(); err != nil {
		return err
	}
	if x.r.Method != http.MethodGet {
		return errMethod(x.r.Method)
	}
	op, err := loadOperation(x.request.reader(x.ctx), azure.Fold(x.target.operation))
	if err != nil {
		return err
	}
	if err := x.mayPoll(op); err != nil {
		return err
	}
	if op.ended() {
		// Who hears that it has ended may rely on it: the directory and the guard
		// of this replica must have heard of it too.
		if err := x.engine.cfg.Store.Wait(x.ctx, op.revision); err != nil {
			return err
		}
	}
	if x.target.location {
		return x.answerLocation(op)
	}
	return x.answerAsync(op)
}

// mayPoll lets the operation's own starter poll, and whoever may read its
// resource. The starter's role may have gone with the resource.
func (x *exchange) mayPoll(op *operation) error {
	caller := x.request.Caller
	if op == nil || op.TenantID != x.request.TenantID || !op.pollScope().Equal(x.target.id) {
		return azure.Errorf(http.StatusNotFound, "OperationNotFound", "The operation '%s' could not be found.", x.target.operation)
	}
	if op.Caller.ObjectID == caller.ObjectID {
		return nil
	}
	action := op.Type + "/read"
	if t, ok := x.engine.router.types[azure.Fold(op.Type)]; ok {
		action = t.spec.action() + "/read"
	}
	decision, err := x.engine.cfg.Guard.Check(x.ctx, rbac.Request{Caller: caller, Action: action, Scope: op.Resource})
	if err != nil {
		return errUnavailable(err)
	}
	if !decision.Allowed {
		return errForbidden(caller, action, op.Resource)
	}
	return nil
}

// answerAsync is the form of Azure-AsyncOperation: always 200, with a status.
func (x *exchange) answerAsync(op *operation) error {
	doc := struct {
		ID              string          `json:"id"`
		Name            string          `json:"name"`
		Status          string          `json:"status"`
		StartTime       time.Time       `json:"startTime"`
		EndTime         time.Time       `json:"endTime,omitzero"`
		PercentComplete *float64        `json:"percentComplete,omitempty"`
		Properties      json.RawMessage `json:"properties,omitempty"`
		Error           *errorBody      `json:"error,omitempty"`
	}{ID: x.r.URL.Path, Name: op.ID, Status: op.Status, StartTime: op.Start, EndTime: op.End, Properties: op.Result}
	switch {
	case !op.ended():
		x.pollingPace()
	case op.Status == Succeeded:
		all := 100.0
		doc.PercentComplete = &all
	}
	if op.Failure != nil {
		doc.Error = &errorBody{Code: op.Failure.Code, Message: op.Failure.Message}
	}
	return x.answer(http.StatusOK, doc)
}

// answerLocation is the form of Location: 202 until the operation has ended,
// then what the request itself would have answered.
func (x *exchange) answerLocation(op *operation) error {
	switch {
	case !op.ended():
		x.operationHeaders(op, false, x.request.APIVersion)
		return x.answer(http.StatusAccepted, nil)
	case op.Failure != nil:
		return azure.Errorf(op.Failure.HTTP, op.Failure.Code, "%s", op.Failure.Message)
	case op.Status == Canceled:
		return azure.Errorf(http.StatusConflict, "OperationCanceled", "The operation '%s' was canceled by another one on the same resource.", op.ID)
	case op.Result != nil:
		return x.answer(http.StatusOK, op.Result)
	case op.Kind == opDelete && azure.EqualFold(op.Type, resourceGroupType):
		return x.answer(http.StatusOK, nil)
	default:
		return x.answer(http.StatusNoContent, nil)
	}
}
