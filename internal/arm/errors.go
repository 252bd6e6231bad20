package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// errorBody is the error object of the Resource Manager. It is the whole
// document of Microsoft.ContainerService, which prints the members that are
// null there, and the member "error" of everyone else's.
type errorBody struct {
	Code    string      `json:"code"`
	Message string      `json:"message"`
	Target  string      `json:"target,omitempty"`
	Details []errorBody `json:"details,omitempty"`
}

func bodyOf(e *azure.Error) errorBody {
	b := errorBody{Code: e.Code, Message: e.Message, Target: e.Target}
	for i := range e.Details {
		b.Details = append(b.Details, bodyOf(&e.Details[i]))
	}
	return b
}

// unwrapped encodes the form of Microsoft.ContainerService.
func unwrapped(e *azure.Error) any {
	b := struct {
		Code    string      `json:"code"`
		Details []errorBody `json:"details"`
		Message string      `json:"message"`
		Subcode string      `json:"subcode"`
		Target  string      `json:"target,omitempty"`
	}{Code: e.Code, Message: e.Message, Subcode: e.InnerCode, Target: e.Target}
	for i := range e.Details {
		b.Details = append(b.Details, bodyOf(&e.Details[i]))
	}
	return b
}

// clientError turns any error into what the client may see of it. What isn't
// meant for clients is logged, once, and becomes a 500 that says nothing.
func (e *Engine) clientError(ctx context.Context, err error) *azure.Error {
	if known, ok := errors.AsType[*azure.Error](err); ok {
		if known.Status >= 500 && known.Err != nil {
			e.log.ErrorContext(ctx, "request failed", "code", known.Code, "error", known.Err,
				"correlationId", azure.RequestFrom(ctx).CorrelationID)
		}
		return known
	}
	level := slog.LevelError
	if ctx.Err() != nil {
		level = slog.LevelDebug // the client has gone
	}
	e.log.Log(ctx, level, "request failed", "error", err, "correlationId", azure.RequestFrom(ctx).CorrelationID)
	switch {
	case errors.Is(err, store.ErrConflict):
		return azure.Errorf(http.StatusServiceUnavailable, "ServerBusy",
			"The resource is being changed by too many requests at once. Please try again.")
	case errors.Is(err, store.ErrStale):
		return errUnavailable(nil)
	case errors.Is(err, store.ErrTooLarge):
		return azure.Errorf(http.StatusRequestEntityTooLarge, "RequestContentTooLarge",
			"The request writes more than one transaction can hold. Write it in smaller parts.")
	default:
		return azure.Errorf(http.StatusInternalServerError, "InternalServerError",
			"The server encountered an internal error. Please try again; if the error persists, give the operator the correlation ID '%s'.",
			azure.RequestFrom(ctx).CorrelationID)
	}
}

// errUnavailable is the answer where no decision can be made or kept.
func errUnavailable(cause error) *azure.Error {
	err := azure.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable",
		"The service cannot decide requests at the moment. Please try again.")
	err.Err = cause
	return err
}

// writeError ends a request with err's document.
func (x *exchange) writeError(err error) {
	e := x.engine.clientError(x.ctx, err)
	h := x.w.Header()
	h.Set("x-ms-error-code", e.Code)
	cause := "gateway"
	if x.reached && !x.target.typ.spec.Core {
		cause = "service"
	}
	h.Set("x-ms-failure-cause", cause)
	if e.Status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	if e.Status == http.StatusMethodNotAllowed && x.target != nil && x.target.typ != nil {
		h.Set("Allow", strings.Join(x.target.methods(), ", "))
	}
	var doc any = struct {
		Error errorBody `json:"error"`
	}{bodyOf(e)}
	if x.target != nil && x.target.typ != nil && x.target.typ.spec.Unwrapped && x.reached && e.Status < 500 {
		doc = unwrapped(e)
	}
	x.writeJSON(e.Status, doc)
}

// errMethod is the answer to a method that the target doesn't have.
func errMethod(method string) error {
	return azure.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed",
		"The requested resource does not support http method '%s'.", method)
}

func errGroupNotFound(name string) error {
	return azure.Errorf(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
}

// errNotFound is ResourceNotFound, or the resource group's own form of it.
func errNotFound(spec *Spec, id azure.ResourceID) error {
	if azure.EqualFold(spec.Name, resourceGroupType) {
		return errGroupNotFound(id.Name())
	}
	namespace, types, _ := strings.Cut(spec.Name, "/")
	segments := strings.Split(id.String(), "/")
	parts := strings.Split(types, "/")
	path := namespace
	for i, part := range parts {
		name := ""
		if at := len(segments) - 2*(len(parts)-i) + 1; at > 0 {
			name = segments[at]
		}
		path += "/" + part + "/" + name
	}
	if rg := id.ResourceGroup(); rg != "" {
		return azure.Errorf(http.StatusNotFound, "ResourceNotFound",
			"The Resource '%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", path, rg)
	}
	return azure.Errorf(http.StatusNotFound, "ResourceNotFound",
		"The Resource '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", path)
}

// errParentMissing is the answer where the parent resource doesn't exist.
func errParentMissing(spec *Spec, parent azure.ResourceID, writing bool) error {
	if spec.ParentMissing != nil {
		return spec.ParentMissing(parent)
	}
	if writing {
		_, short, _ := strings.Cut(spec.Name, "/")
		return azure.Errorf(http.StatusNotFound, "ParentResourceNotFound",
			"Failed to perform 'write' on resource(s) of type '%s', because the parent resource '%s' could not be found.", short, parent)
	}
	return azure.Errorf(http.StatusNotFound, "ParentResourceNotFound",
		"Can not perform requested operation on nested resource. Parent resource '%s' not found.", parent.Name())
}

// errDeleting refuses writes to what is being deleted.
func errDeleting(id azure.ResourceID) error {
	if id.Equal(azure.ResourceGroupScope(id.SubscriptionID(), id.ResourceGroup())) {
		return azure.Errorf(http.StatusConflict, "ResourceGroupBeingDeleted",
			"The resource group '%s' is in deprovisioning state and cannot perform this operation.", id.Name())
	}
	return azure.Errorf(http.StatusConflict, "ResourceBeingDeleted",
		"The resource '%s' is being deleted and cannot perform this operation.", id)
}

func errBusy(id azure.ResourceID) error {
	return azure.Errorf(http.StatusConflict, "AnotherOperationInProgress",
		"Another operation on the resource '%s' is in progress. Please retry later.", id)
}

// InvalidContent is the client's error for a body that doesn't decode: err is
// of encoding/json, body the whole text. It says where the fault is.
func InvalidContent(body json.RawMessage, err error) error { return invalidContent(body, "", err) }

// invalidContent says where a JSON body is wrong: err is of encoding/json, path
// is the member that was decoded ("properties") and body the whole text.
func invalidContent(body []byte, path string, err error) error {
	detail, offset := "", int64(-1)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		detail, offset = "The text is not valid JSON: "+syntax.Error(), syntax.Offset
	} else if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		detail = fmt.Sprintf("A JSON %s was found where a value of another type is expected", kind.Value)
		if kind.Field != "" {
			path = strings.TrimPrefix(path+"."+kind.Field, ".")
		}
		if path == kind.Field {
			offset = kind.Offset
		}
	} else {
		detail = err.Error()
	}
	where := fmt.Sprintf("Path '%s'", path)
	if offset >= 0 && offset <= int64(len(body)) {
		before := string(body[:offset])
		line := strings.Count(before, "\n") + 1
		where += fmt.Sprintf(", line %d, position %d", line, int(offset)-strings.LastIndexByte(before, '\n')-1)
	}
	return azure.Errorf(http.StatusBadRequest, "InvalidRequestContent",
		"The request content was invalid and could not be deserialized: '%s. %s.'.", detail, where)
}
