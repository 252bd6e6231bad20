package arm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// putInput is a PUT or PATCH on its way to a hook: fresh is what the body says,
// its properties still JSON.
type putInput struct {
	request *Request
	old     *record
	fresh   *record
	patch   bool
	body    []byte
}

// Define makes a type whose resources the engine stores. P is the stored form
// of the properties; unless Hooks.Show says otherwise it is also the form on
// the wire. Unknown members of a body's properties are dropped, or kept where P
// is json.RawMessage or a map.
func Define[P any](spec Spec, hooks Hooks[P]) Type {
	s := &stored{noPatch: hooks.NoPatch, filter: hooks.Filter, actions: map[string]storedAction{}}
	s.put = func(ctx context.Context, in *putInput) (*record, error) {
		p, err := typedPut[P](in)
		if err != nil {
			return nil, err
		}
		if hooks.Put != nil {
			if err := hooks.Put(ctx, p); err != nil {
				return nil, err
			}
		}
		if err := untyped(p.New, in.fresh); err != nil {
			return nil, err
		}
		in.fresh.Identity = p.New.Identity
		return in.fresh, nil
	}
	if hooks.Linked != nil {
		s.linked = func(ctx context.Context, in *putInput) ([]Linked, error) {
			p, err := typedPut[P](in)
			if err != nil {
				return nil, err
			}
			return hooks.Linked(ctx, p)
		}
	}
	s.remove = func(ctx context.Context, r *Request, old *record) error {
		if hooks.Delete == nil {
			return nil
		}
		res, err := typed[P](old)
		if err != nil {
			return err
		}
		return hooks.Delete(ctx, r, res)
	}
	s.show = func(ctx context.Context, rec *record) (any, error) {
		if hooks.Show == nil {
			return rec.Properties, nil
		}
		res, err := typed[P](rec)
		if err != nil {
			return nil, err
		}
		return hooks.Show(ctx, res)
	}
	if hooks.Principal != nil {
		s.principal = func(rec *record) (string, string, error) {
			res, err := typed[P](rec)
			if err != nil {
				return "", "", err
			}
			principalID, clientID := hooks.Principal(&res.Properties)
			return principalID, clientID, nil
		}
	}
	s.asyncPut = eraseStep(hooks.AsyncPut)
	s.asyncDelete = eraseStep(hooks.AsyncDelete)
	for _, a := range hooks.Actions {
		s.actions[azure.Fold(a.Name)] = eraseAction(a)
	}
	return Type{spec: spec, stored: s}
}

// typedPut decodes the properties that the body gave. The error is the client's.
func typedPut[P any](in *putInput) (*Put[P], error) {
	old, err := typed[P](in.old)
	if err != nil {
		return nil, err
	}
	bare := *in.fresh
	bare.Properties = nil
	fresh, err := typed[P](&bare)
	if err != nil {
		return nil, err
	}
	if len(in.fresh.Properties) > 0 {
		if err := json.Unmarshal(in.fresh.Properties, &fresh.Properties); err != nil {
			return nil, invalidContent(in.body, "properties", err)
		}
	}
	return &Put[P]{Request: in.request, Old: old, New: fresh, Patch: in.patch, Body: in.body}, nil
}

// eraseStep closes over a step's type and stores what it changes.
func eraseStep[P any](f func(context.Context, *Step, *Resource[P]) (bool, error)) func(context.Context, *Step, *record) (bool, error) {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, step *Step, rec *record) (bool, error) {
		res, err := typed[P](rec)
		if err != nil {
			return false, err
		}
		done, err := f(ctx, step, res)
		if err != nil {
			return false, err
		}
		return done, untyped(res, rec)
	}
}

func eraseAction[P any](a Action[P]) storedAction {
	return storedAction{
		name:   a.Name,
		as:     cmp.Or(a.As, a.Name+"/action"),
		writes: a.Writes || a.Async != nil,
		run: func(ctx context.Context, r *Request, rec *record, body []byte) (int, any, error) {
			res, err := typed[P](rec)
			if err != nil {
				return 0, nil, err
			}
			status, result, err := a.Run(ctx, r, res, body)
			if err != nil {
				return 0, nil, err
			}
			return status, result, untyped(res, rec)
		},
		async: eraseStep(a.Async),
	}
}

// Parent gives the parent resource of r.ID (for a collection: the resource that
// holds it), as the engine has read it, in r's transaction where it has one.
// The parent's type must be made by Define[P].
func Parent[P any](r *Request) (*Resource[P], error) {
	if r.parent == nil {
		return nil, fmt.Errorf("%s has no stored parent", r.ID)
	}
	return typed[P](r.parent)
}
