package cloudtest

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// Names stand in golden files, in braces, for what differs from run to run. The
// zero Names has none. It is safe for concurrent use.
type Names struct {
	// Literal says of which GUIDs golden files have as they are, besides those
	// that are Set. Default: of none.
	Literal func(guid string) bool

	mu      sync.Mutex
	values  map[string]string // by name
	unknown []string          // GUIDs that no name was set for, as Show met them
}

// Set gives a value a name. An empty value has none.
func (n *Names) Set(name, value string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.set(name, value)
}

func (n *Names) set(name, value string) {
	if n.values == nil {
		n.values = map[string]string{}
	}
	if value == "" {
		delete(n.values, name)
		return
	}
	n.values[name] = value
}

// ID gives the value of a name, and a GUID made of the name if none was set.
func (n *Names) ID(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id(name)
}

func (n *Names) id(name string) string {
	if _, ok := n.values[name]; !ok {
		n.set(name, uuid.NewSHA1(uuid.NameSpaceURL, []byte(name)).String())
	}
	return n.values[name]
}

// All gives the names that are set, and their values.
func (n *Names) All() map[string]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.values)
}

var (
	inBraces    = regexp.MustCompile(`\{[A-Za-z][A-Za-z0-9.-]*\}`)
	guidPattern = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	barePattern = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
)

// Fill puts values in the place of "{name}": those that were set, "{id1}",
// "{id2}" and so on as Show numbered them, and for "{who.oid}" and "{who.appid}"
// of an unknown who GUIDs that are made of it. Other text stays.
func (n *Names) Fill(text string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return inBraces.ReplaceAllStringFunc(text, func(match string) string {
		name := match[1 : len(match)-1]
		if value, ok := n.values[name]; ok {
			return value
		}
		var number int
		if _, err := fmt.Sscanf(name, "id%d", &number); err == nil && number >= 1 && number <= len(n.unknown) {
			return n.unknown[number-1]
		}
		if strings.HasSuffix(name, ".oid") || strings.HasSuffix(name, ".appid") {
			return n.id(name)
		}
		return match
	})
}

// Show is the opposite of Fill: it puts "{name}" in the place of values, and
// numbers the GUIDs that have no name. A GUID that has one is known without its
// dashes too, as some errors print it.
func (n *Names) Show(text string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	longestFirst := func(a, b string) int {
		return cmp.Or(cmp.Compare(len(n.values[b]), len(n.values[a])), cmp.Compare(a, b))
	}
	named := map[string]string{} // by value
	for _, name := range slices.SortedFunc(maps.Keys(n.values), longestFirst) {
		named[n.values[name]] = name
		text = strings.ReplaceAll(text, n.values[name], "{"+name+"}")
	}
	text = guidPattern.ReplaceAllStringFunc(text, func(guid string) string {
		if n.Literal != nil && n.Literal(guid) {
			return guid
		}
		if !slices.Contains(n.unknown, guid) {
			n.unknown = append(n.unknown, guid)
		}
		return fmt.Sprintf("{id%d}", slices.Index(n.unknown, guid)+1)
	})
	return barePattern.ReplaceAllStringFunc(text, func(bare string) string {
		guid := bare[:8] + "-" + bare[8:12] + "-" + bare[12:16] + "-" + bare[16:20] + "-" + bare[20:]
		if name, ok := named[guid]; ok {
			return "{" + name + " without dashes}"
		}
		if at := slices.Index(n.unknown, guid); at >= 0 {
			return fmt.Sprintf("{id%d without dashes}", at+1)
		}
		return bare
	})
}
