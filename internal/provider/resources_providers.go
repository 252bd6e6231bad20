package provider

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// subscriptionProviders are the resource providers as a subscription sees them,
// with their registration, made from the table of types.
func subscriptionProviders(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:        "Microsoft.Resources/subscriptions/providers",
		Versions:    resourcesVersions,
		Core:        true,
		Collections: []string{"/subscriptions/{subscriptionId}/providers"},
		Items:       []string{"/subscriptions/{subscriptionId}/providers/{name}"},
	}, arm.VirtualHooks{
		List: func(ctx context.Context, r *arm.Request) ([]any, error) { return listProviders(ctx, cfg, r) },
		Get:  func(ctx context.Context, r *arm.Request) (any, error) { return getProvider(ctx, cfg, r) },
		Action: func(r *arm.Request, operation string) string {
			if strings.HasSuffix(operation, "/action") {
				return r.Name + "/" + operation // Microsoft.KeyVault/register/action
			}
			return ""
		},
		Actions: map[string]arm.VirtualAction{
			"register":   {Writes: true, Run: func(ctx context.Context, r *arm.Request, _ rawJSON) (int, any, error) { return register(ctx, cfg, r) }},
			"unregister": {Writes: true, Run: func(ctx context.Context, r *arm.Request, _ rawJSON) (int, any, error) { return unregister(ctx, cfg, r) }},
		},
	})
}

// tenantProviders are the resource providers without a subscription. Anyone
// with a token may list them.
func tenantProviders(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:        "Microsoft.Resources/providers",
		Versions:    resourcesVersions,
		Core:        true,
		Collections: []string{"/providers"},
		Items:       []string{"/providers/{name}"},
	}, arm.VirtualHooks{
		NoCheck: map[string]bool{"read": true},
		List:    func(ctx context.Context, r *arm.Request) ([]any, error) { return listProviders(ctx, cfg, r) },
		Get:     func(ctx context.Context, r *arm.Request) (any, error) { return getProvider(ctx, cfg, r) },
	})
}

type resourceProvider struct {
	ID                 string         `json:"id"`
	Namespace          string         `json:"namespace"`
	RegistrationPolicy string         `json:"registrationPolicy,omitempty"`
	RegistrationState  string         `json:"registrationState,omitempty"`
	ResourceTypes      []resourceType `json:"resourceTypes"`
}

type resourceType struct {
	ResourceType      string   `json:"resourceType"`
	Locations         []string `json:"locations"`
	APIVersions       []string `json:"apiVersions"`
	DefaultAPIVersion string   `json:"defaultApiVersion"`
	Capabilities      string   `json:"capabilities"`
}

// namespaces gives the namespaces of the table in order.
func namespaces(types []arm.Type) []string {
	var names []string
	for _, t := range types {
		namespace, _, _ := strings.Cut(t.Spec().Name, "/")
		names = append(names, namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func listProviders(ctx context.Context, cfg Config, r *arm.Request) ([]any, error) {
	items := []any{}
	for _, namespace := range namespaces(r.Types()) {
		p, err := showProvider(ctx, cfg, r, namespace)
		if err != nil {
			return nil, err
		}
		items = append(items, p)
	}
	return items, nil
}

func getProvider(ctx context.Context, cfg Config, r *arm.Request) (any, error) {
	namespace, err := knownNamespace(r)
	if err != nil {
		return nil, err
	}
	return showProvider(ctx, cfg, r, namespace)
}

// knownNamespace spells the namespace in the path as the table does.
func knownNamespace(r *arm.Request) (string, error) {
	for _, known := range namespaces(r.Types()) {
		if azure.EqualFold(known, r.Name) {
			return known, nil
		}
	}
	return "", azure.Errorf(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", r.Name)
}

func showProvider(ctx context.Context, cfg Config, r *arm.Request, namespace string) (*resourceProvider, error) {
	p := &resourceProvider{ID: strings.TrimSuffix(r.ID.String(), "/") + "/providers/" + namespace, Namespace: namespace}
	if r.ID.SubscriptionID() != "" {
		state, err := r.Registration(ctx, namespace)
		if err != nil {
			return nil, err
		}
		p.RegistrationPolicy, p.RegistrationState = "RegistrationRequired", state
		if isCore(namespace) {
			p.RegistrationPolicy = "RegistrationFree"
		}
	}
	display := map[string]string{}
	for _, l := range cfg.Locations {
		display[l.Name] = l.DisplayName
	}
	for _, t := range r.Types() {
		spec := t.Spec()
		ns, name, _ := strings.Cut(spec.Name, "/")
		if ns != namespace || spec.ListedOnly {
			continue
		}
		rt := resourceType{
			ResourceType: name, Locations: []string{}, APIVersions: spec.Versions,
			DefaultAPIVersion: newestStable(spec.Versions), Capabilities: "None",
		}
		for _, l := range r.SupportedLocations(t) {
			rt.Locations = append(rt.Locations, display[l])
		}
		if spec.Tracked {
			rt.Capabilities = "SupportsTags, SupportsLocation"
		}
		if slices.Contains(spec.Members, "identity") {
			rt.Capabilities = "SystemAssignedResourceIdentity, " + rt.Capabilities
		}
		if strings.HasPrefix(name, "subscriptions/resourceGroups") {
			rt.ResourceType = strings.TrimPrefix(name, "subscriptions/") // as Azure lists them
		}
		p.ResourceTypes = append(p.ResourceTypes, rt)
	}
	return p, nil
}

// isCore reports whether a namespace is the Resource Manager's own, which needs
// no registration.
func isCore(namespace string) bool {
	return slices.Contains([]string{"Microsoft.Resources", "Microsoft.Authorization", "Microsoft.Features"}, namespace)
}

// newestStable gives the newest api-version that isn't a preview, or else the
// newest.
func newestStable(versions []string) string {
	for _, v := range versions {
		if len(v) == len("2006-01-02") {
			return v
		}
	}
	return versions[0]
}

func register(ctx context.Context, cfg Config, r *arm.Request) (int, any, error) {
	namespace, err := knownNamespace(r)
	if err != nil {
		return 0, nil, err
	}
	r.Register(namespace)
	p, err := showProvider(ctx, cfg, r, namespace)
	return http.StatusOK, p, err
}

// unregister refuses while the subscription has resources of the namespace, as
// Azure does.
func unregister(ctx context.Context, cfg Config, r *arm.Request) (int, any, error) {
	namespace, err := knownNamespace(r)
	if err != nil {
		return 0, nil, err
	}
	if isCore(namespace) {
		return 0, nil, azure.Errorf(http.StatusBadRequest, "CannotUnregisterNamespace",
			"The resource provider '%s' needs no registration and cannot be unregistered.", namespace)
	}
	all, err := r.Resources(ctx, r.ID)
	if err != nil {
		return 0, nil, err
	}
	for _, env := range all {
		if strings.HasPrefix(env.Type, namespace+"/") {
			return 0, nil, azure.Errorf(http.StatusConflict, "CannotUnregisterNamespace",
				"The subscription cannot be unregistered from the namespace '%s', because it has resources of it, such as '%s'. Delete them first.",
				namespace, env.ID)
		}
	}
	r.Unregister(namespace)
	p, err := showProvider(ctx, cfg, r, namespace)
	return http.StatusOK, p, err
}
