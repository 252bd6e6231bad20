package provider

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// associatedResources is the list of the resources that a user-assigned identity
// is attached to, of those that the caller may read. Only two preview versions
// of the API have it. It is a POST; the pages that follow are GETs of their
// nextLink, as Azure's SDKs send them.
func associatedResources(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:       "Microsoft.ManagedIdentity/userAssignedIdentities/listAssociatedResources",
		Versions:   []string{"2022-01-31-preview", "2021-09-30-preview"},
		ListedOnly: true,
		In:         arm.AtResourceGroup,
		ParentMissing: func(identity azure.ResourceID) error {
			return azure.Errorf(http.StatusNotFound, "ResourceNotFound",
				"The Resource 'Microsoft.ManagedIdentity/userAssignedIdentities/%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
				identity.Name(), identity.ResourceGroup())
		},
	}, arm.VirtualHooks{
		Action: func(*arm.Request, string) string {
			return "Microsoft.ManagedIdentity/userAssignedIdentities/listAssociatedResources/action"
		},
		Post: func(ctx context.Context, r *arm.Request, _ rawJSON) (int, any, error) {
			page, err := associatedPage(ctx, cfg, r)
			if err != nil {
				return 0, nil, err
			}
			return http.StatusOK, page, nil
		},
		List: func(ctx context.Context, r *arm.Request) ([]any, error) {
			page, err := associatedPage(ctx, cfg, r)
			if err != nil {
				return nil, err
			}
			items := make([]any, len(page.Value))
			for i, item := range page.Value {
				items[i] = item
			}
			return items, nil
		},
		ListExtra: func(ctx context.Context, r *arm.Request, _ []any) (map[string]any, error) {
			page, err := associatedPage(ctx, cfg, r)
			if err != nil {
				return nil, err
			}
			extra := map[string]any{"totalCount": page.TotalCount}
			if page.NextLink != "" {
				extra["nextLink"] = page.NextLink
			}
			return extra, nil
		},
	})
}

type associatedResource struct {
	ID                      string `json:"id"`
	Type                    string `json:"type"`
	ResourceGroup           string `json:"resourceGroup"`
	SubscriptionID          string `json:"subscriptionId"`
	SubscriptionDisplayName string `json:"subscriptionDisplayName"`
	Name                    string `json:"name"`
}

type associatedResourcePage struct {
	TotalCount int                  `json:"totalCount"`
	Value      []associatedResource `json:"value"`
	NextLink   string               `json:"nextLink,omitempty"`
}

// associatedFields are what $filter and $orderby may name.
var associatedFields = []string{"id", "type", "name", "resourceGroup", "subscriptionId"}

// associatedPageSize is how many resources an answer has at most.
const associatedPageSize = 1000

// associatedPage makes one page of the list: what $filter matches, in the order
// of $orderby, from $skip on, at most $top.
func associatedPage(ctx context.Context, cfg Config, r *arm.Request) (*associatedResourcePage, error) {
	matches := func(arm.Envelope) bool { return true }
	if text := r.Query.Get("$filter"); text != "" {
		var err error
		if matches, err = parseResourceFilter(text, associatedFields); err != nil {
			return nil, err
		}
	}
	less, err := associatedOrder(r.Query.Get("$orderby"))
	if err != nil {
		return nil, err
	}
	skip, err := wholeNumber(r.Query, "$skip", 0, 0)
	if err != nil {
		return nil, err
	}
	top, err := wholeNumber(r.Query, "$top", 1, associatedPageSize)
	if err != nil {
		return nil, err
	}
	all, err := associated(ctx, cfg, r)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(env arm.Envelope) bool { return !matches(env) })
	slices.SortStableFunc(all, less)
	page := &associatedResourcePage{TotalCount: len(all), Value: []associatedResource{}}
	rest := all[min(skip, len(all)):]
	for _, env := range rest[:min(top, associatedPageSize, len(rest))] {
		item, err := showAssociated(cfg, env)
		if err != nil {
			return nil, err
		}
		page.Value = append(page.Value, item)
	}
	if next := skip + len(page.Value); next < len(all) {
		query := url.Values{}
		for name, values := range r.Query {
			query[name] = values
		}
		query.Set("$skip", strconv.Itoa(next))
		page.NextLink = r.BaseURL + r.ID.String() + "/listAssociatedResources?" + query.Encode()
	}
	return page, nil
}

// associated gives the resources that have the identity and that the caller may
// read.
func associated(ctx context.Context, cfg Config, r *arm.Request) ([]arm.Envelope, error) {
	identity, err := arm.Parent[identityProperties](r)
	if err != nil {
		return nil, err
	}
	var subscriptions []string
	for _, s := range cfg.Directory.Subscriptions(r.TenantID) {
		subscriptions = append(subscriptions, s.ID)
	}
	all, err := r.Attached(ctx, identity.Properties.PrincipalID, subscriptions)
	if err != nil {
		return nil, err
	}
	return readable(ctx, cfg, r.Caller, all)
}

func showAssociated(cfg Config, env arm.Envelope) (associatedResource, error) {
	id, err := azure.ParseResourceID(env.ID)
	if err != nil {
		return associatedResource{}, err
	}
	item := associatedResource{
		ID: env.ID, Type: azure.Fold(env.Type), ResourceGroup: id.ResourceGroup(), SubscriptionID: id.SubscriptionID(), Name: env.Name,
	}
	if s, ok := cfg.Directory.Subscription(item.SubscriptionID); ok {
		item.SubscriptionDisplayName = s.DisplayName
	}
	return item, nil
}

// associatedOrder reads $orderby: a property, and "asc" or "desc".
func associatedOrder(text string) (func(a, b arm.Envelope) int, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		words = []string{"id"}
	}
	at := slices.IndexFunc(associatedFields, func(known string) bool { return azure.EqualFold(known, words[0]) })
	descending := len(words) == 2 && azure.EqualFold(words[1], "desc")
	if at < 0 || len(words) > 2 || len(words) == 2 && !descending && !azure.EqualFold(words[1], "asc") {
		return nil, azure.Errorf(http.StatusBadRequest, "InvalidOrderByInQueryString",
			"Invalid $orderby '%s' specified in the query string: it is one of %s, followed by 'asc' or 'desc'.", text, strings.Join(associatedFields, ", "))
	}
	field := associatedFields[at]
	return func(a, b arm.Envelope) int {
		order := strings.Compare(azure.Fold(fieldOf(field, filtered{env: &a})), azure.Fold(fieldOf(field, filtered{env: &b})))
		if descending {
			return -order
		}
		return order
	}, nil
}

// wholeNumber reads a query parameter that is a number from least on.
func wholeNumber(query url.Values, name string, least, otherwise int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least {
		return 0, azure.Errorf(http.StatusBadRequest, "InvalidQueryParameterValue",
			"The value '%s' of the query parameter '%s' is not a whole number from %d on.", text, name, least)
	}
	return n, nil
}
