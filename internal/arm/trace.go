package arm

import (
	"errors"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// step runs a step of the pipeline, which is a span where the request is traced.
func (x *exchange) step(name string, do func() error) error {
	outer := x.ctx
	ctx, span := x.engine.cfg.Tracer.Start(outer, name)
	defer span.End()
	x.ctx = ctx
	defer func() { x.ctx = outer }()
	err := do()
	if err != nil && span.Recording() {
		code := "InternalServerError"
		if known, ok := errors.AsType[*azure.Error](err); ok {
			code = known.Code
		}
		span.Fail(code)
	}
	return err
}

// describe tells the request's span what it is for.
func (x *exchange) describe() {
	span := x.engine.cfg.Tracer.Current(x.ctx)
	if !span.Recording() {
		return
	}
	route := "/{scope}/providers/" + x.target.typ.spec.Name
	if !x.target.collection {
		route += "/{name}"
	}
	span.Route(x.r.Method, route)
	span.Set("lanyard.resource_type", x.target.typ.spec.Name)
	span.Set("lanyard.scope", x.target.id.String())
	span.Set("lanyard.api_version", x.request.APIVersion)
}
