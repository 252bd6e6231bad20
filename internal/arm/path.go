package arm

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// target is what a request's path names.
type target struct {
	typ *Type
	// id is the resource; of a collection, what holds it.
	id azure.ResourceID
	// name is the resource's own name, empty for a collection.
	name       string
	collection bool
	action     string // of a POST on a resource
	params     map[string]string
	operation  string // the ID of a long-running operation that is polled
	location   bool   // polled by Location rather than Azure-AsyncOperation
}

// router finds a path's target: first among the patterns that types bring
// along, then by the grammar of resource IDs.
type router struct {
	types      map[string]*Type  // by folded full name
	namespaces map[string]string // folded: canonical spelling
	spelling   map[string]string // folded full name, of types and their parents: canonical spelling
	patterns   []pattern
}

// pattern is a path pattern of Spec.Collections or Spec.Items.
type pattern struct {
	typ        *Type
	segments   []string
	collection bool
}

// resourceGroupType is the one stored type that the grammar itself names.
const resourceGroupType = "Microsoft.Resources/subscriptions/resourceGroups"

func newRouter(types []Type) (*router, error) {
	r := &router{types: map[string]*Type{}, namespaces: map[string]string{}, spelling: map[string]string{}}
	for i := range types {
		t := &types[i]
		name := t.spec.Name
		namespace, rest, ok := strings.Cut(name, "/")
		if !ok || namespace == "" || rest == "" {
			return nil, fmt.Errorf("arm: the type name %q is not of the form namespace/type", name)
		}
		if len(t.spec.Versions) == 0 {
			return nil, fmt.Errorf("arm: the type %s lists no api-version", name)
		}
		for _, v := range t.spec.Versions {
			if !versionPattern.MatchString(v) {
				return nil, fmt.Errorf("arm: the type %s lists %q, which is no api-version", name, v)
			}
		}
		if (t.stored == nil) == (t.virtual == nil) {
			return nil, fmt.Errorf("arm: the type %s was made neither by Define nor by Virtual", name)
		}
		if t.stored != nil && len(t.spec.Collections)+len(t.spec.Items) > 0 {
			return nil, fmt.Errorf("arm: the stored type %s cannot have path patterns", name)
		}
		key := azure.Fold(name)
		if _, twice := r.types[key]; twice {
			return nil, fmt.Errorf("arm: the type %s is listed twice", name)
		}
		r.types[key] = t
		r.namespaces[azure.Fold(namespace)] = namespace
		for at := len(namespace); at < len(name); {
			next := strings.IndexByte(name[at+1:], '/')
			if next < 0 {
				at = len(name)
			} else {
				at += 1 + next
			}
			r.spelling[azure.Fold(name[:at])] = name[:at]
		}
		for _, p := range t.spec.Collections {
			r.patterns = append(r.patterns, pattern{typ: t, segments: strings.Split(p[1:], "/"), collection: true})
		}
		for _, p := range t.spec.Items {
			r.patterns = append(r.patterns, pattern{typ: t, segments: strings.Split(p[1:], "/")})
		}
	}
	for _, t := range r.types {
		if err := r.checkInline(t); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// splitPath gives the decoded segments of an escaped path. Empty segments are
// dropped: clients double slashes where they join parts. A segment that holds
// an encoded slash is an error, since it would mean another resource to
// whoever decodes first.
func splitPath(escaped string) ([]string, error) {
	var segments []string
	for seg := range strings.SplitSeq(escaped, "/") {
		if seg == "" {
			continue
		}
		plain, err := url.PathUnescape(seg)
		if err != nil || strings.Contains(plain, "/") {
			return nil, azure.Errorf(http.StatusBadRequest, "InvalidRequestUri",
				"The request URI is not valid: the path segment '%s' cannot be decoded to one segment.", seg)
		}
		segments = append(segments, plain)
	}
	return segments, nil
}

// route finds what method on the escaped path means. Its errors are the
// client's; version is only for their text.
func (r *router) route(method, escaped, version string) (*target, error) {
	segments, err := splitPath(escaped)
	if err != nil {
		return nil, err
	}
	if t, err := r.match(method, segments); t != nil || err != nil {
		return t, err
	}
	if len(segments) == 0 {
		return nil, errNoSubscription()
	}
	return r.parse(method, segments, version)
}

// match tries the patterns.
func (r *router) match(method string, segments []string) (*target, error) {
	for _, p := range r.patterns {
		action, rest := "", segments
		if method == http.MethodPost && !p.collection && len(segments) == len(p.segments)+1 {
			action, rest = segments[len(segments)-1], segments[:len(segments)-1]
			if p.typ.virtual.hooks.actionName(action) == "" {
				continue
			}
		}
		params, ok := p.match(rest)
		if !ok {
			continue
		}
		id, err := scopeOf(params)
		if err != nil {
			return nil, err
		}
		return &target{typ: p.typ, id: id, name: params["name"], collection: p.collection, action: action, params: params}, nil
	}
	return nil, nil
}

func (p *pattern) match(segments []string) (map[string]string, bool) {
	if len(segments) != len(p.segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, want := range p.segments {
		if strings.HasPrefix(want, "{") {
			params[strings.Trim(want, "{}")] = segments[i]
		} else if !azure.EqualFold(want, segments[i]) {
			return nil, false
		}
	}
	return params, true
}

// scopeOf makes the scope of a pattern's parameters.
func scopeOf(params map[string]string) (azure.ResourceID, error) {
	sub, ok := params["subscriptionId"]
	if !ok {
		return azure.Root(), nil
	}
	if err := checkSubscriptionID(sub); err != nil {
		return azure.Root(), err
	}
	path := "/subscriptions/" + azure.Fold(sub)
	if rg, ok := params["resourceGroupName"]; ok {
		path += "/resourceGroups/" + rg
	}
	return parseID(path)
}

// parseID parses an ID whose faults are the client's.
func parseID(path string) (azure.ResourceID, error) {
	id, err := azure.ParseResourceID(path)
	if err != nil {
		return id, azure.Errorf(http.StatusBadRequest, "InvalidResourceId", "The resource identifier is not valid: %s.", err)
	}
	return id, nil
}

func checkSubscriptionID(id string) error {
	if !azure.IsGUID(id) {
		return azure.Errorf(http.StatusBadRequest, "InvalidSubscriptionId",
			"The provided subscription identifier '%s' is malformed or invalid.", id)
	}
	return nil
}

// parse reads a path by the grammar of resource IDs, and spells the keywords,
// namespaces and types in it as the table does.
func (r *router) parse(method string, segs []string, version string) (*target, error) {
	scope, rest, err := r.takeScope(method, segs, version)
	if err != nil {
		return nil, err
	}
	if t := r.scopeTarget(scope, rest, method); t != nil {
		return t, nil
	}
	for {
		if !azure.EqualFold(rest[0], "providers") {
			if scope.IsRoot() {
				return nil, errNoSubscription()
			}
			return nil, errNoType("Microsoft.Resources", version)
		}
		if len(rest) < 2 {
			return nil, errNoSubscription()
		}
		namespace := r.namespaceOf(rest[1])
		end := levelEnd(rest)
		level := rest[2:end]
		if end == len(rest) {
			return r.lastLevel(method, scope, namespace, level, version)
		}
		if len(level) == 0 || len(level)%2 != 0 {
			return nil, errNoType(namespace, version)
		}
		if scope, err = r.extend(scope, namespace, level); err != nil {
			return nil, err
		}
		rest = rest[end:]
	}
}

// takeScope takes the subscription and resource group off the path.
func (r *router) takeScope(method string, segs []string, version string) (azure.ResourceID, []string, error) {
	root := azure.Root()
	if !azure.EqualFold(segs[0], "subscriptions") {
		return root, segs, nil
	}
	if len(segs) < 2 {
		return root, nil, errNoSubscription()
	}
	if err := checkSubscriptionID(segs[1]); err != nil {
		return root, nil, err
	}
	path, rest := "/subscriptions/"+azure.Fold(segs[1]), segs[2:]
	if len(rest) >= 2 && azure.EqualFold(rest[0], "resourceGroups") {
		path, rest = path+"/resourceGroups/"+rest[1], rest[2:]
	}
	id, err := parseID(path)
	return id, rest, err
}

// scopeTarget recognizes resource groups themselves.
func (r *router) scopeTarget(scope azure.ResourceID, rest []string, method string) *target {
	groups := r.types[azure.Fold(resourceGroupType)]
	switch {
	case groups == nil:
		return nil
	case scope.ResourceGroup() != "" && len(rest) == 0:
		return &target{typ: groups, id: scope, name: scope.Name()}
	case scope.ResourceGroup() != "" && len(rest) == 1 && method == http.MethodPost:
		return &target{typ: groups, id: scope, name: scope.Name(), action: rest[0]}
	case scope.ResourceGroup() == "" && len(rest) == 2 && azure.EqualFold(rest[0], "operationresults"):
		return &target{id: scope, operation: rest[1], location: true}
	case scope.ResourceGroup() == "" && len(rest) == 1 && azure.EqualFold(rest[0], "resourceGroups"):
		return &target{typ: groups, id: scope, collection: true}
	}
	return nil
}

// levelEnd gives the index after the provider level that rest starts with: the
// next "providers" in the place of a type.
func levelEnd(rest []string) int {
	for i := 2; i < len(rest); i += 2 {
		if azure.EqualFold(rest[i], "providers") {
			return i
		}
	}
	return len(rest)
}

// namespaceOf spells a namespace as the table does, if it has it.
func (r *router) namespaceOf(seg string) string {
	if known, ok := r.namespaces[azure.Fold(seg)]; ok {
		return known
	}
	return seg
}

// extend appends a provider level to a scope, in canonical spelling.
func (r *router) extend(scope azure.ResourceID, namespace string, level []string) (azure.ResourceID, error) {
	var path strings.Builder
	path.WriteString(strings.TrimSuffix(scope.String(), "/"))
	path.WriteString("/providers/" + namespace)
	full := namespace
	for i, seg := range level {
		if i%2 == 0 {
			full += "/" + seg
			if known, ok := r.spelling[azure.Fold(full)]; ok {
				full, seg = known, known[strings.LastIndexByte(known, '/')+1:]
			}
		}
		path.WriteString("/" + seg)
	}
	return parseID(path.String())
}

// lastLevel reads the provider level that the request is about.
func (r *router) lastLevel(method string, scope azure.ResourceID, namespace string, level []string, version string) (*target, error) {
	if t, err := r.operationTarget(scope, level); t != nil || err != nil {
		return t, err
	}
	if _, ok := r.namespaces[azure.Fold(namespace)]; !ok {
		return nil, azure.Errorf(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", namespace)
	}
	if len(level) == 0 {
		return nil, errNoType(namespace, version)
	}
	t := &target{}
	items := level
	if len(level)%2 != 0 {
		t.collection, items = true, level[:len(level)-1]
		t.typ = r.typeOf(namespace, level)
		if method == http.MethodPost && len(items) > 0 && (t.typ == nil || !t.typ.hasPost()) {
			t.collection, t.action = false, level[len(level)-1]
		}
	}
	if !t.collection {
		t.typ = r.typeOf(namespace, items)
	}
	if t.typ == nil {
		return nil, errNoType(namespace, version)
	}
	id := scope
	if len(items) > 0 {
		var err error
		if id, err = r.extend(scope, namespace, items); err != nil {
			return nil, err
		}
	}
	t.id = id
	if !t.collection {
		t.name = id.Name()
	}
	if !t.typ.spec.lies(scope, t.collection && len(items) == 0) {
		return nil, errNoType(namespace, version)
	}
	return t, nil
}

// typeOf finds the type whose name the level spells, names of resources left out.
func (r *router) typeOf(namespace string, level []string) *Type {
	full := namespace
	for i := 0; i < len(level); i += 2 {
		full += "/" + level[i]
	}
	return r.types[azure.Fold(full)]
}

// operationTarget recognizes the addresses of long-running operations, which
// every provider has under its locations.
func (r *router) operationTarget(scope azure.ResourceID, level []string) (*target, error) {
	if !scope.Equal(azure.Root()) && !scope.Equal(azure.SubscriptionScope(scope.SubscriptionID())) || len(level) != 4 || !azure.EqualFold(level[0], "locations") {
		return nil, nil
	}
	async := azure.EqualFold(level[2], "operations")
	if !async && !azure.EqualFold(level[2], "operationresults") {
		return nil, nil
	}
	return &target{id: scope, operation: level[3], location: !async}, nil
}

// lies reports whether resources of the type may lie in the scope; all says
// that the question is about listing all of them below it.
func (s *Spec) lies(scope azure.ResourceID, all bool) bool {
	switch {
	case s.In&AtAnyScope != 0:
		return true
	case scope.IsRoot():
		return s.In&AtTenant != 0
	case scope.Equal(azure.SubscriptionScope(scope.SubscriptionID())):
		return s.In&AtSubscription != 0 || all && s.In&AtResourceGroup != 0
	case scope.Equal(azure.ResourceGroupScope(scope.SubscriptionID(), scope.ResourceGroup())):
		return s.In&AtResourceGroup != 0
	default:
		return false
	}
}

func (t *Type) hasPost() bool { return t.virtual != nil && t.virtual.hooks.Post != nil }

// actionName spells a virtual type's action as its hooks do; empty if there is
// none.
func (h *VirtualHooks) actionName(name string) string {
	for known := range h.Actions {
		if azure.EqualFold(known, name) {
			return known
		}
	}
	return ""
}

func errNoSubscription() error {
	return azure.Errorf(http.StatusNotFound, "MissingSubscription",
		"The request did not have a subscription or a valid tenant level resource provider.")
}

func errNoType(namespace, version string) error {
	return azure.Errorf(http.StatusNotFound, "InvalidResourceType",
		"The resource type could not be found in the namespace '%s' for api version '%s'.", namespace, version)
}
