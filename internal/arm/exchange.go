package arm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// exchange is one request on its way through the pipeline.
type exchange struct {
	engine  *Engine
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context
	now     time.Time
	query   url.Values
	target  *target
	request *Request
	group   *record // the resource group, once checkScope has found it
	body    []byte
	read    bool // the body has been read
	reached bool // past the gateway: what fails now is the type's failure
}

// serve is the pipeline. Its order is an invariant: see DESIGN.md.
func (x *exchange) serve() error {
	version := queryVersion(x.query)
	t, err := x.engine.router.route(x.r.Method, x.r.URL.EscapedPath(), version)
	if err != nil {
		return err
	}
	x.target = t
	if t.operation != "" {
		return x.servePoll(version)
	}
	spec := &t.typ.spec
	if err := x.engine.checkVersion(spec, version); err != nil {
		return err
	}
	x.request = &Request{
		Type: spec.Name, ID: t.id, Name: t.name, Params: t.params, APIVersion: version,
		Query: x.query, Header: x.r.Header, BaseURL: x.baseURL(), Now: x.now, engine: x.engine,
	}
	x.describe()
	if !spec.Anonymous {
		if err := x.step("authenticate", x.identify); err != nil {
			return err
		}
	}
	operation, err := x.operation()
	if err != nil {
		return err
	}
	x.engine.cfg.Tracer.Current(x.ctx).Set("lanyard.operation", operation)
	listed := listing{}
	if !spec.Anonymous {
		err := x.step("authorize", func() (err error) {
			listed, err = x.authorize(operation)
			return err
		})
		if err != nil {
			return err
		}
	}
	x.reached = true
	if !spec.Anonymous {
		if err := x.typeAllowance(); err != nil {
			return err
		}
	}
	return x.step("hook", func() error {
		if t.typ.stored != nil {
			return x.serveStored(listed)
		}
		return x.serveVirtual()
	})
}

// identify authenticates, finds the tenant of the scope and takes the request
// off the caller's allowance.
func (x *exchange) identify() error {
	caller, err := x.authenticate()
	if err != nil {
		return err
	}
	x.request.Caller = caller
	if span := x.engine.cfg.Tracer.Current(x.ctx); span.Recording() {
		span.Set("lanyard.tenant_id", caller.TenantID)
		span.Set("lanyard.app_id", caller.AppID)
		span.Set("lanyard.object_id", caller.ObjectID)
	}
	if x.request.TenantID, err = x.tenant(caller); err != nil {
		return err
	}
	return x.allowance()
}

// operation names what the request does: "read", "write", "delete" or
// "{action}/action"; a method that the type doesn't have is an error.
func (x *exchange) operation() (string, error) {
	t := x.target
	refused := errMethod(x.r.Method)
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
		if v := t.typ.virtual; v != nil && (t.collection && v.hooks.List == nil || !t.collection && v.hooks.Get == nil) {
			return "", refused
		}
		return "read", nil
	case http.MethodPut, http.MethodPatch, http.MethodDelete:
		return x.writeOperation(refused)
	case http.MethodPost:
		return x.actionOperation(refused)
	default:
		return "", refused
	}
}

func (x *exchange) writeOperation(refused error) (string, error) {
	t, method := x.target, x.r.Method
	if t.collection {
		return "", refused
	}
	var has bool
	if v := t.typ.virtual; v != nil {
		has = method == http.MethodPut && v.hooks.Put != nil ||
			method == http.MethodPatch && v.hooks.Patch != nil ||
			method == http.MethodDelete && v.hooks.Delete != nil
	} else {
		has = method != http.MethodPatch || !t.typ.stored.noPatch
	}
	if !has {
		return "", refused
	}
	if method == http.MethodDelete {
		return "delete", nil
	}
	return "write", nil
}

func (x *exchange) actionOperation(refused error) (string, error) {
	t := x.target
	if t.collection && t.typ.hasPost() {
		return "action", nil
	}
	if t.action == "" {
		return "", refused
	}
	var known, as string
	if t.typ.stored != nil {
		a := t.typ.stored.actions[azure.Fold(t.action)]
		known, as = a.name, a.as
	} else {
		known = t.typ.virtual.hooks.actionName(t.action)
		as = known + "/action"
	}
	if known == "" {
		return "", errNoType(t.id.Namespace(), x.request.APIVersion)
	}
	t.action = known
	return as, nil
}

// baseURL is the host by which the client came. The server has checked that it
// is one of the cloud's names; all of them are served by HTTPS only.
func (x *exchange) baseURL() string { return "https://" + x.r.Host }

// commonHeaders are those of every answer.
func (x *exchange) commonHeaders() {
	h := x.w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	ids := azure.RequestFrom(x.ctx)
	if ids.RequestID != "" {
		h.Set("x-ms-request-id", ids.RequestID)
	}
	if ids.CorrelationID != "" {
		h.Set("x-ms-correlation-request-id", ids.CorrelationID)
	}
	if id := x.r.Header.Get("x-ms-client-request-id"); id != "" && azure.EqualFold(x.r.Header.Get("x-ms-return-client-request-id"), "true") {
		h.Set("x-ms-client-request-id", id)
	}
}

// answer writes a hook's status and result.
func (x *exchange) answer(status int, result any) error {
	if stream, ok := result.(*Stream); ok {
		return x.answerStream(status, stream)
	}
	if result == nil || x.r.Method == http.MethodHead {
		x.w.Header().Set("Content-Length", "0")
		x.w.WriteHeader(status)
		return nil
	}
	text, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encoding the answer to %s %s: %w", x.r.Method, x.target.id, err)
	}
	x.writeText(status, text)
	return nil
}

// writeJSON writes a document that is known to encode.
func (x *exchange) writeJSON(status int, doc any) {
	text, err := json.Marshal(doc)
	if err != nil {
		x.engine.log.ErrorContext(x.ctx, "encoding an error document", "error", err)
	}
	x.writeText(status, text)
}

func (x *exchange) writeText(status int, text []byte) {
	h := x.w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead {
		return
	}
	// A failed write means that the client has gone; there is no one to tell.
	_, _ = x.w.Write(text)
}

// serveVirtual runs a virtual type's hook.
func (x *exchange) serveVirtual() error {
	hooks, r, t := &x.target.typ.virtual.hooks, x.request, x.target
	switch {
	case x.r.Method == http.MethodGet || x.r.Method == http.MethodHead:
		if err := x.checkScope(false); err != nil {
			return err
		}
		if t.collection {
			return x.virtualList(hooks)
		}
		result, err := hooks.Get(x.ctx, r)
		if err != nil {
			return err
		}
		if x.r.Method == http.MethodHead {
			return x.answer(http.StatusNoContent, nil)
		}
		return x.answer(http.StatusOK, result)
	case t.collection:
		if err := x.checkScope(false); err != nil {
			return err
		}
		body, err := x.readJSON()
		if err != nil {
			return err
		}
		return x.answered(hooks.Post(x.ctx, r, body))
	case x.r.Method == http.MethodDelete:
		if err := x.virtualLinked(hooks, "delete", nil); err != nil {
			return err
		}
		if hooks.AsyncDelete != nil {
			return x.startVirtualDelete(hooks)
		}
		return x.inTransaction(func(ctx context.Context) (int, any, error) { return hooks.Delete(ctx, r) })
	}
	body, err := x.readJSON()
	if err != nil {
		return err
	}
	if x.r.Method == http.MethodPost {
		return x.virtualAction(hooks, body)
	}
	hook := hooks.Patch
	if x.r.Method == http.MethodPut {
		hook = hooks.Put
		if err := x.checkName(); err != nil {
			return err
		}
	}
	if err := x.virtualLinked(hooks, "write", body); err != nil {
		return err
	}
	return x.inTransaction(func(ctx context.Context) (int, any, error) { return hook(ctx, r, body) })
}

// virtualLinked makes a virtual type's linked-scope checks.
func (x *exchange) virtualLinked(hooks *VirtualHooks, operation string, body json.RawMessage) error {
	if hooks.Linked == nil {
		return nil
	}
	linked, err := hooks.Linked(x.ctx, x.request, operation, body)
	if err != nil {
		return err
	}
	return x.checkLinked(linked, operation, map[string]bool{})
}

func (x *exchange) virtualAction(hooks *VirtualHooks, body json.RawMessage) error {
	action := hooks.Actions[x.target.action]
	switch {
	case action.Async != nil:
		return x.startOperation(opAction, func(ctx context.Context) error {
			_, _, err := action.Run(ctx, x.request, body)
			return err
		})
	case action.Writes:
		return x.inTransaction(func(ctx context.Context) (int, any, error) { return action.Run(ctx, x.request, body) })
	default:
		if err := x.checkScope(false); err != nil {
			return err
		}
		return x.answered(action.Run(x.ctx, x.request, body))
	}
}

// answered writes what a hook returned.
func (x *exchange) answered(status int, result any, err error) error {
	if err != nil {
		return err
	}
	return x.answer(status, result)
}

// checkName applies the type's rule for names, or the general one.
func (x *exchange) checkName() error {
	return x.target.typ.spec.checkName(x.target.name)
}

func (s *Spec) checkName(name string) error {
	if s.CheckName != nil {
		return s.CheckName(name)
	}
	if n := len([]rune(name)); n == 0 || n > 260 || strings.ContainsAny(name, `<>%&:\?/`) || strings.ContainsFunc(name, isControl) {
		return azure.Errorf(http.StatusBadRequest, "InvalidResourceName",
			"Resource name '%s' is invalid. A name has 1 to 260 characters and none of '<,>,%%,&,:,\\,?,/' or control characters.", name)
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || 0x7f <= r && r < 0xa0 }
