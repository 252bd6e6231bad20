package rbac

import (
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Match reports whether an action pattern of a role covers an action. The
// whole action must match, ASCII case aside. A "*" stands for any run of
// characters, slashes and nothing at all included. "/*/" also stands for a
// single "/": Managed Identity Operator holds
// "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action", and Azure
// grants it ".../userAssignedIdentities/assign/action".
func Match(pattern, action string) bool {
	p := compilePattern(pattern)
	return p.match(azure.Fold(action))
}

// pattern is a compiled action pattern: a literal, then gaps, each followed by
// a literal of its own. Matching takes the leftmost place for every literal but
// the last, which is anchored at the end; leftmost is always right since a
// gap's rule looks only at where it ends. So time is linear in the action,
// whatever a custom role's author wrote.
type pattern struct {
	text   string // as the role has it, for explanations
	prefix string
	gaps   []gap
}

type gap struct {
	// segments: the gap is empty or ends with a slash, after a slash: "/*/".
	segments bool
	// lit follows the gap.
	lit string
	// slashed is "/" + lit, which is what to look for where segments is set: the
	// byte before a segments gap is always a slash, and so is its last byte.
	slashed string
}

func compilePattern(text string) pattern {
	p := pattern{text: text}
	// Two built-in roles have a pattern with a blank at its end.
	s := azure.Fold(strings.TrimSpace(text))
	start := 0 // of the literal under way
	flush := func(end int) {
		if len(p.gaps) == 0 {
			p.prefix = s[start:end]
			return
		}
		g := &p.gaps[len(p.gaps)-1]
		g.lit = s[start:end]
		if g.segments {
			g.slashed = "/" + g.lit
		}
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '*' {
			continue
		}
		flush(i)
		segments := i > 0 && s[i-1] == '/' && i+1 < len(s) && s[i+1] == '/'
		p.gaps = append(p.gaps, gap{segments: segments})
		if segments {
			i++ // the second slash belongs to the gap
		}
		start = i + 1
	}
	flush(len(s))
	return p
}

// match reports whether the pattern covers an action that is folded already.
func (p *pattern) match(action string) bool {
	if len(p.gaps) == 0 {
		return action == p.prefix
	}
	if !strings.HasPrefix(action, p.prefix) {
		return false
	}
	pos := len(p.prefix)
	last := len(p.gaps) - 1
	for i := range p.gaps[:last] {
		g := &p.gaps[i]
		from, lit := pos, g.lit
		if g.segments {
			from, lit = pos-1, g.slashed
		}
		at := strings.Index(action[from:], lit)
		if at < 0 {
			return false
		}
		pos = from + at + len(lit)
	}
	g := &p.gaps[last]
	start := len(action) - len(g.lit)
	if start < pos || action[start:] != g.lit {
		return false
	}
	return !g.segments || action[start-1] == '/'
}

func compilePatterns(texts []string) []pattern {
	if len(texts) == 0 {
		return nil
	}
	patterns := make([]pattern, len(texts))
	for i, text := range texts {
		patterns[i] = compilePattern(text)
	}
	return patterns
}

// matchAny gives the first pattern that covers the folded action, or nil.
func matchAny(patterns []pattern, action string) *pattern {
	for i := range patterns {
		if patterns[i].match(action) {
			return &patterns[i]
		}
	}
	return nil
}

// maxActionLength is far above any action of Azure's.
const maxActionLength = 512

// validAction reports whether a pattern may stand in a custom role: "*", or
// segments of the characters that actions have, with at most one "*" in all
// ("You can have only one wildcard in an action string"). The built-in roles
// pass, some of which have an empty last segment, a colon or braces, so that
// each can be copied into a custom one.
func validAction(text string) bool {
	if text == "*" {
		return true
	}
	first, rest, ok := strings.Cut(text, "/")
	if !ok || first == "" || len(text) > maxActionLength || strings.Count(text, "*") > 1 {
		return false
	}
	if strings.HasPrefix(rest, "/") || strings.Contains(rest, "//") {
		return false
	}
	for i := 0; i < len(text); i++ {
		if c := text[i]; !isWordByte(c) && strings.IndexByte("*/{}", c) < 0 {
			return false
		}
	}
	return true
}
