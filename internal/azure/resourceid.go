package azure

import (
	"fmt"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ResourceID is the parsed form of an Azure Resource Manager resource ID, which
// is also a scope. The zero value is the tenant root, "/".
//
// The grammar is the one of the Resource Manager RPC and of azcore's
// arm.ResourceID:
//
//	/
//	/providers/Microsoft.Management/managementGroups/{name}
//	/subscriptions/{id}
//	/subscriptions/{id}/resourceGroups/{name}
//	{scope}/providers/{namespace}/{type}/{name}[/{type}/{name}...]
//
// where the last form repeats: an extension resource (a role assignment, a
// lock) hangs off any other resource. A ResourceID keeps the spelling that it
// was given; [ResourceID.Key] is the form for comparing and storing.
type ResourceID struct {
	// segments holds the path without its leading slash, two or four entries a
	// level; it is never changed after parsing, so that values may share it.
	segments []string
}

// maxIDLength is far above any valid ID (names are at most 260 characters) and
// keeps what a stranger sends from becoming a key of any size.
const maxIDLength = 4096

// Root is the tenant root scope, "/".
func Root() ResourceID { return ResourceID{} }

// SubscriptionScope is the ID of the subscription with the given identifier.
func SubscriptionScope(subscriptionID string) ResourceID {
	return ResourceID{segments: []string{"subscriptions", subscriptionID}}
}

// ResourceGroupScope is the ID of a resource group.
func ResourceGroupScope(subscriptionID, name string) ResourceID {
	return ResourceID{segments: []string{"subscriptions", subscriptionID, "resourceGroups", name}}
}

// ParseResourceID parses s, which must begin with a slash. A trailing slash is
// tolerated, as Azure Resource Manager does; empty and dot segments, text that
// is not UTF-8, characters that do not print or that have a meaning in URLs, and
// odd numbers of segments are errors. Percent-encoding must be decoded before.
// The error says what is wrong in words fit for the client.
func ParseResourceID(s string) (ResourceID, error) {
	if len(s) > maxIDLength {
		return ResourceID{}, fmt.Errorf("the resource ID is longer than %d characters", maxIDLength)
	}
	if !strings.HasPrefix(s, "/") {
		return ResourceID{}, fmt.Errorf("the resource ID %q must start with '/'", s)
	}
	if s == "/" {
		return ResourceID{}, nil
	}
	segments := strings.Split(strings.TrimSuffix(s[1:], "/"), "/")
	for _, seg := range segments {
		if err := checkSegment(seg); err != nil {
			return ResourceID{}, fmt.Errorf("the resource ID %q is not valid: %w", s, err)
		}
	}
	id := ResourceID{segments: segments}
	if err := id.checkGrammar(); err != nil {
		return ResourceID{}, fmt.Errorf("the resource ID %q is not valid: %w", s, err)
	}
	return id, nil
}

func checkSegment(seg string) error {
	switch seg {
	case "":
		return fmt.Errorf("it has an empty segment")
	case ".", "..":
		return fmt.Errorf("a segment may not be %q", seg)
	}
	// Bytes that are not UTF-8 would all become U+FFFD in JSON, so that two keys
	// would come back as one ID.
	if !utf8.ValidString(seg) {
		return fmt.Errorf("the segment %q is not valid UTF-8", seg)
	}
	for _, r := range seg {
		if !unicode.IsPrint(r) || strings.ContainsRune(`\?#%`, r) {
			return fmt.Errorf("the segment %q has the character %q, which is not allowed", seg, r)
		}
	}
	return nil
}

func (id ResourceID) checkGrammar() error {
	segs := id.segments
	i := 0
	if EqualFold(segs[0], "subscriptions") {
		if len(segs) < 2 {
			return fmt.Errorf("the subscription is missing")
		}
		i = 2
		if len(segs) > 2 && EqualFold(segs[2], "resourceGroups") {
			if len(segs) < 4 {
				return fmt.Errorf("the resource group is missing")
			}
			i = 4
		}
	}
	for i < len(segs) {
		if !EqualFold(segs[i], "providers") {
			return fmt.Errorf("'providers' is expected in place of %q", segs[i])
		}
		end := id.levelEnd(i)
		if n := end - i; n < 4 || n%2 != 0 {
			return fmt.Errorf("after 'providers' a namespace and pairs of type and name are expected")
		}
		i = end
	}
	return nil
}

// levelEnd gives the index after the provider level which starts at segment i.
// The next level starts where "providers" stands in the place of a type.
func (id ResourceID) levelEnd(i int) int {
	for j := i + 2; j < len(id.segments); j += 2 {
		if EqualFold(id.segments[j], "providers") {
			return j
		}
	}
	return len(id.segments)
}

// lastLevel gives the index of the last "providers" segment, or -1.
func (id ResourceID) lastLevel() int {
	i, last := 0, -1
	if n := len(id.segments); n > 0 && EqualFold(id.segments[0], "subscriptions") {
		i = 2
		if n > 2 && EqualFold(id.segments[2], "resourceGroups") {
			i = 4
		}
	}
	for i < len(id.segments) {
		last = i
		i = id.levelEnd(i)
	}
	return last
}

// String gives the ID as it was spelled, without a trailing slash.
func (id ResourceID) String() string {
	return "/" + strings.Join(id.segments, "/")
}

// Key gives the folded ID: equal for IDs that name the same resource. The key
// of a scope followed by a slash is a prefix of the keys of all that is below.
// Every decision makes a key, so that it is built in one piece.
func (id ResourceID) Key() string {
	if len(id.segments) == 0 {
		return "/"
	}
	n := 0
	for _, seg := range id.segments {
		n += 1 + len(seg)
	}
	var b strings.Builder
	b.Grow(n)
	for _, seg := range id.segments {
		b.WriteByte('/')
		writeFolded(&b, seg)
	}
	return b.String()
}

// IsRoot reports whether id is the tenant root.
func (id ResourceID) IsRoot() bool { return len(id.segments) == 0 }

// Equal reports whether both IDs name the same resource.
func (id ResourceID) Equal(other ResourceID) bool {
	return len(id.segments) == len(other.segments) && id.Contains(other)
}

// Contains reports whether other is id itself or lies below it. It compares
// whole segments, so that a grant on resource group "rg1" says nothing of
// "rg10".
func (id ResourceID) Contains(other ResourceID) bool {
	if len(id.segments) > len(other.segments) {
		return false
	}
	for i, seg := range id.segments {
		if !EqualFold(seg, other.segments[i]) {
			return false
		}
	}
	return true
}

// Type gives the full resource type, such as
// "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials".
// Scopes have types too: "Microsoft.Resources/tenants" for the root,
// "Microsoft.Resources/subscriptions" and
// "Microsoft.Resources/subscriptions/resourceGroups". The spelling is the one
// of the ID; compare with [EqualFold].
func (id ResourceID) Type() string {
	last := id.lastLevel()
	if last < 0 {
		switch len(id.segments) {
		case 0:
			return "Microsoft.Resources/tenants"
		case 2:
			return "Microsoft.Resources/subscriptions"
		default:
			return "Microsoft.Resources/subscriptions/resourceGroups"
		}
	}
	var b strings.Builder
	b.WriteString(id.segments[last+1])
	for j := last + 2; j < len(id.segments); j += 2 {
		b.WriteByte('/')
		b.WriteString(id.segments[j])
	}
	return b.String()
}

// Namespace gives the resource provider's namespace, the first part of
// [ResourceID.Type].
func (id ResourceID) Namespace() string {
	ns, _, _ := strings.Cut(id.Type(), "/")
	return ns
}

// Name gives the last segment: the resource's own name. The root's is empty.
func (id ResourceID) Name() string {
	if id.IsRoot() {
		return ""
	}
	return id.segments[len(id.segments)-1]
}

// SubscriptionID gives the subscription's identifier, or "" outside of one.
func (id ResourceID) SubscriptionID() string {
	if len(id.segments) >= 2 && EqualFold(id.segments[0], "subscriptions") {
		return id.segments[1]
	}
	return ""
}

// ResourceGroup gives the resource group's name, or "" outside of one.
func (id ResourceID) ResourceGroup() string {
	if id.SubscriptionID() != "" && len(id.segments) >= 4 && EqualFold(id.segments[2], "resourceGroups") {
		return id.segments[3]
	}
	return ""
}

// Parent gives the resource or scope that directly holds id: the parent
// resource of a child, the extended resource of an extension, the resource
// group of a top-level resource, and so on up to the root, whose parent is the
// root.
func (id ResourceID) Parent() ResourceID {
	n := len(id.segments)
	if n == 0 {
		return id
	}
	last := id.lastLevel()
	switch {
	case last < 0:
		return ResourceID{segments: id.segments[:n-2]}
	case n-last > 4:
		return ResourceID{segments: id.segments[:n-2]}
	default:
		return ResourceID{segments: id.segments[:last]}
	}
}

// Scope gives what the last provider level hangs off: the resource group of a
// resource (of its children too), the extended resource of an extension. For
// an ID without a provider level it is the parent.
func (id ResourceID) Scope() ResourceID {
	if last := id.lastLevel(); last >= 0 {
		return ResourceID{segments: id.segments[:last]}
	}
	return id.Parent()
}

// Ancestors yields id and then every scope above it, the root last: the scopes
// at which a role assignment reaches id.
func (id ResourceID) Ancestors() iter.Seq[ResourceID] {
	return func(yield func(ResourceID) bool) {
		for {
			if !yield(id) || id.IsRoot() {
				return
			}
			id = id.Parent()
		}
	}
}

// Child gives the child resource of the given type (its last part) and name.
// Like [ResourceID.Resource] it is for code that builds IDs from checked parts:
// each argument is one segment as [ParseResourceID] accepts it, and a type is
// never called "providers".
func (id ResourceID) Child(typeName, name string) ResourceID {
	return id.append(typeName, name)
}

// Resource gives the resource or extension resource of type namespace/typeName
// directly under id.
func (id ResourceID) Resource(namespace, typeName, name string) ResourceID {
	return id.append("providers", namespace, typeName, name)
}

func (id ResourceID) append(more ...string) ResourceID {
	segs := make([]string, 0, len(id.segments)+len(more))
	return ResourceID{segments: append(append(segs, id.segments...), more...)}
}

// MarshalText writes the ID as [ResourceID.String] does.
func (id ResourceID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText parses the ID as [ParseResourceID] does.
func (id *ResourceID) UnmarshalText(text []byte) error {
	parsed, err := ParseResourceID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
