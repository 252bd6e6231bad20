package provider

import (
	"context"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// permissions is Microsoft.Authorization/permissions: what the caller may do at
// a scope, an entry for each of its roles.
func permissions(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:     "Microsoft.Authorization/permissions",
		Versions: []string{"2022-05-01-preview", "2022-04-01", "2018-07-01", "2018-01-01-preview", "2016-07-01", "2015-07-01", "2015-06-01"},
		In:       arm.AtAnyScope,
	}, arm.VirtualHooks{
		List: func(_ context.Context, r *arm.Request) ([]any, error) {
			items := []any{}
			for _, p := range showPermissions(cfg.Guard.Permissions(r.Caller, r.ID)) {
				items = append(items, p)
			}
			return items, nil
		},
	})
}

// denyAssignments is Microsoft.Authorization/denyAssignments. On Azure only the
// platform makes them, for managed applications and the like, of which Lanyard
// has none: there are never any, and the filters have nothing to leave out.
func denyAssignments(Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:     "Microsoft.Authorization/denyAssignments",
		Versions: []string{"2022-04-01", "2018-07-01-preview"},
		In:       arm.AtAnyScope,
	}, arm.VirtualHooks{
		Get: func(_ context.Context, r *arm.Request) (any, error) {
			return nil, azure.Errorf(http.StatusNotFound, "DenyAssignmentNotFound", "The deny assignment '%s' is not found.", r.Name)
		},
		List: func(context.Context, *arm.Request) ([]any, error) { return []any{}, nil },
	})
}
