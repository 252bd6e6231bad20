package provider

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
)

// subscriptionVersions are the api-versions of Microsoft.Subscription.
var subscriptionVersions = []string{"2021-10-01", "2020-09-01", "2019-10-01-preview", "2019-03-01-preview"}

// aliasProperties are the properties of an alias: of the request that made a
// subscription, or took one up.
type aliasProperties struct {
	SubscriptionID      string            `json:"subscriptionId"`
	DisplayName         string            `json:"displayName,omitempty"`
	Workload            string            `json:"workload,omitempty"`
	BillingScope        string            `json:"billingScope,omitempty"`
	ResellerID          string            `json:"resellerId,omitempty"`
	SubscriptionOwnerID string            `json:"subscriptionOwnerId,omitempty"`
	ManagementGroupID   string            `json:"managementGroupId,omitempty"`
	CreatedTime         string            `json:"createdTime,omitempty"`
	Tags                map[string]string `json:"tags,omitempty"`
	// Additional is what a request says beside; it is not kept in this form.
	Additional *aliasAdditional `json:"additionalProperties,omitempty"`
}

type aliasAdditional struct {
	ManagementGroupID    string            `json:"managementGroupId,omitempty"`
	SubscriptionOwnerID  string            `json:"subscriptionOwnerId,omitempty"`
	SubscriptionTenantID string            `json:"subscriptionTenantId,omitempty"`
	Tags                 map[string]string `json:"tags,omitempty"`
}

// subscriptionAliases is how subscriptions are made, as on Azure, but for the
// bill: whoever may write aliases at the tenant's root can make one without a
// billing scope, and becomes its Owner. Deleting an alias leaves the
// subscription.
func subscriptionAliases(cfg Config) arm.Type {
	return arm.Define(arm.Spec{
		Name: "Microsoft.Subscription/aliases", Versions: subscriptionVersions, In: arm.AtTenant,
		SystemData: true, ProvisioningState: true,
	}, arm.Hooks[aliasProperties]{
		NoPatch: true,
		Linked: func(_ context.Context, p *arm.Put[aliasProperties]) ([]arm.Linked, error) {
			taken := p.New.Properties.SubscriptionID
			if p.Old != nil || taken == "" {
				return nil, nil
			}
			if !azure.IsGUID(taken) {
				return nil, azure.Errorf(http.StatusBadRequest, "InvalidSubscriptionId",
					"The provided subscription identifier '%s' is malformed or invalid.", taken)
			}
			return []arm.Linked{{Action: "Microsoft.Subscription/aliases/write", Scope: azure.SubscriptionScope(taken)}}, nil
		},
		Put: func(_ context.Context, p *arm.Put[aliasProperties]) error { return putAlias(cfg, p) },
		Show: func(_ context.Context, res *arm.Resource[aliasProperties]) (any, error) {
			shown := res.Properties
			if sub, ok := cfg.Directory.Subscription(shown.SubscriptionID); ok {
				shown.DisplayName = sub.DisplayName // it may have been renamed
			}
			return shown, nil
		},
	})
}

// putAlias makes a subscription, or takes one up. An alias that exists stays as
// it is, so that its PUT can be repeated.
func putAlias(cfg Config, p *arm.Put[aliasProperties]) error {
	asked := p.New.Properties
	if p.Old != nil {
		if asked.SubscriptionID != "" && !azure.EqualFold(asked.SubscriptionID, p.Old.Properties.SubscriptionID) {
			return azure.Errorf(http.StatusConflict, "SubscriptionAliasConflict",
				"The alias '%s' is of the subscription '%s'.", p.Name, p.Old.Properties.SubscriptionID)
		}
		p.New.Properties = p.Old.Properties
		return nil
	}
	props, err := askedAlias(p, asked)
	if err != nil {
		return err
	}
	switch {
	case asked.SubscriptionID != "":
		sub, err := cfg.Directory.SubscriptionIn(p.Tx, asked.SubscriptionID)
		if err != nil {
			return err
		}
		if sub.TenantID != p.TenantID { // the linked check has refused it; the view may lag
			return errSubscriptionNotFound(asked.SubscriptionID)
		}
		props.SubscriptionID, props.DisplayName = sub.ID, sub.DisplayName
	default:
		if err := createSubscription(cfg, p.Request, &props); err != nil {
			return err
		}
	}
	p.New.Properties = props
	return nil
}

// askedAlias checks what a request asks for, beside the subscription itself.
func askedAlias(p *arm.Put[aliasProperties], asked aliasProperties) (aliasProperties, error) {
	props := aliasProperties{
		DisplayName: asked.DisplayName, Workload: "Production", BillingScope: asked.BillingScope, ResellerID: asked.ResellerID,
		CreatedTime: p.Now.UTC().Format("2006-01-02T15:04:05.0000000Z"),
	}
	if azure.EqualFold(asked.Workload, "DevTest") {
		props.Workload = "DevTest"
	} else if asked.Workload != "" && !azure.EqualFold(asked.Workload, "Production") {
		return props, azure.Errorf(http.StatusBadRequest, "InvalidWorkload",
			"The workload '%s' is not valid: it is Production or DevTest.", asked.Workload)
	}
	more := asked.Additional
	if more == nil {
		return props, nil
	}
	if t := more.SubscriptionTenantID; t != "" && !azure.EqualFold(t, p.TenantID) {
		return props, azure.Errorf(http.StatusBadRequest, "InvalidSubscriptionTenantId",
			"Subscription creation failed since the subscription would belong to the tenant '%s': a principal makes subscriptions of its own tenant '%s' only.",
			t, p.TenantID)
	}
	if group := more.ManagementGroupID; group != "" {
		name := group[strings.LastIndexByte(group, '/')+1:]
		if !azure.EqualFold(name, p.TenantID) { // the root group, in which every subscription is
			return props, azure.Errorf(http.StatusBadRequest, "InvalidManagementGroupId",
				"Subscription creation failed since provided management group id is not valid")
		}
		props.ManagementGroupID = group
	}
	props.SubscriptionOwnerID, props.Tags = more.SubscriptionOwnerID, more.Tags
	return props, nil
}

// createSubscription makes the subscription of a new alias, and its owner: the
// caller, unless the request names another principal.
func createSubscription(cfg Config, r *arm.Request, props *aliasProperties) error {
	if err := directory.CheckSubscriptionName(props.DisplayName); err != nil {
		return err
	}
	sub := directory.Subscription{ID: uuid.NewString(), TenantID: r.TenantID, DisplayName: props.DisplayName}
	if err := cfg.Directory.CreateSubscription(r.Tx, sub); err != nil {
		return err
	}
	props.SubscriptionID = sub.ID
	scope := azure.SubscriptionScope(sub.ID)
	if len(props.Tags) > 0 {
		if err := r.SetSubscriptionTags(scope, props.Tags); err != nil {
			return err
		}
	}
	owner := rbac.Assignment{
		Name: uuid.NewString(), TenantID: r.TenantID, Scope: scope, RoleDefinitionID: azure.RoleOwner,
		PrincipalID: r.Caller.ObjectID, PrincipalType: r.Caller.Type, UpdatedBy: r.Caller.ObjectID,
	}
	if props.SubscriptionOwnerID != "" {
		owner.PrincipalID, owner.PrincipalType = props.SubscriptionOwnerID, ""
	}
	_, _, err := cfg.Guard.PutAssignment(r.Tx, owner)
	return err
}
