package main

import (
	"context"

	"github.com/lanyard-id/lanyard/internal/server"
)

// manage sends one request to the cloud's Resource Manager as the operator, with
// a JSON body unless that is nil, and decodes the answer. The Resource Manager's
// refusal is an *azure.Error.
func manage(ctx context.Context, env server.Environment, method, pathAndQuery string, body, into any) error {
	c, err := newARMClient(ctx, env)
	if err != nil {
		return err
	}
	defer c.close()
	return c.do(ctx, method, pathAndQuery, body, into)
}
