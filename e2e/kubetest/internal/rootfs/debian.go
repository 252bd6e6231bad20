package rootfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNotInstalled says that a package is not installed on this machine.
var ErrNotInstalled = errors.New("not installed")

// Packages are installed Debian packages, with what they need to run.
type Packages struct {
	found []debianPackage
	// Keep says whether a file of a package belongs in the image; nil keeps all.
	Keep func(pkg, file string) bool
}

// debianPackage is what dpkg knows of a package.
type debianPackage struct {
	name    string // with the architecture where dpkg wants it
	version string
	needs   []string // clauses, such as "a (>= 1) | b"
	itself  []string // its name and those that it provides
}

// Installed finds packages and all that they depend on, directly or not. Without
// are those that only installing needs, such as dpkg; they are left out, and what
// only they need.
func Installed(names, without []string) (*Packages, error) {
	all, err := installed()
	if err != nil {
		return nil, err
	}
	taken, wanted := map[string]debianPackage{}, slices.Clone(names)
	for len(wanted) > 0 {
		clause := wanted[0]
		wanted = wanted[1:]
		p, err := choose(all, clause)
		if err != nil {
			return nil, err
		}
		if _, seen := taken[p.name]; !seen && !slices.Contains(without, p.itself[0]) {
			taken[p.name] = p
			wanted = append(wanted, p.needs...)
		}
	}
	var found []debianPackage
	for _, p := range taken {
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b debianPackage) int { return strings.Compare(a.name, b.name) })
	return &Packages{found: found}, nil
}

// installed asks dpkg for every package, by each name that it goes by.
func installed() (map[string]debianPackage, error) {
	out, err := exec.Command("dpkg-query", "--show", "--showformat", //nolint:noctx // a local database
		"${db:Status-Status}\t${Package}\t${binary:Package}\t${Version}\t${Pre-Depends}\t${Depends}\t${Provides}\n").Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-query, which says what is installed: %w", errors.Join(ErrNotInstalled, err))
	}
	all := map[string]debianPackage{}
	var provided []debianPackage
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 7 || f[0] != "installed" {
			continue
		}
		p := debianPackage{name: f[2], version: f[3], needs: append(clauses(f[4]), clauses(f[5])...), itself: []string{f[1]}}
		for _, name := range clauses(f[6]) {
			p.itself = append(p.itself, bare(name))
		}
		all[f[1]] = p
		provided = append(provided, p)
	}
	for _, p := range provided { // after the real ones, which come first
		for _, name := range p.itself {
			if _, taken := all[name]; !taken {
				all[name] = p
			}
		}
	}
	return all, nil
}

// choose is the installed package that meets a clause.
func choose(all map[string]debianPackage, clause string) (debianPackage, error) {
	for alternative := range strings.SplitSeq(clause, "|") {
		if p, is := all[bare(alternative)]; is {
			return p, nil
		}
	}
	return debianPackage{}, fmt.Errorf("the Debian package %s: %w", clause, ErrNotInstalled)
}

func clauses(field string) (all []string) {
	for c := range strings.SplitSeq(field, ",") {
		if c = strings.TrimSpace(c); c != "" {
			all = append(all, c)
		}
	}
	return all
}

// bare is a package's name in a clause: without version and architecture.
func bare(alternative string) string {
	name, _, _ := strings.Cut(strings.TrimSpace(alternative), " ")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// Version is a hash that differs when any of the packages does.
func (p *Packages) Version() string {
	sum := sha256.New()
	for _, d := range p.found {
		fmt.Fprintf(sum, "%s %s\n", d.name, d.version)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// unread are the parts of packages that programs do not read.
var unread = []string{
	"/usr/share/doc/", "/usr/share/man/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/lintian/", "/usr/share/bug/",
	"/usr/share/gir-1.0/", "/usr/include/", "/usr/lib/node_modules/npm/", "/usr/share/nodejs/npm/", "/var/", "/etc/init.d/",
}

// AddPackages writes the packages' files, where they really are: what Debian has
// links for, such as /lib, is a link in the image too.
func (a *Archive) AddPackages(p *Packages) error {
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		if target, err := os.Readlink("/" + link); err == nil {
			if err := a.Link("/"+link, target); err != nil {
				return err
			}
		}
	}
	if err := a.Dir("/tmp", fs.ModeSticky|0o777); err != nil {
		return err
	}
	for _, d := range p.found {
		out, err := exec.Command("dpkg-query", "--listfiles", d.name).Output() //nolint:noctx // a local database
		if err != nil {
			return fmt.Errorf("dpkg-query --listfiles %s: %w", d.name, err)
		}
		for file := range bytes.Lines(out) {
			if err := a.packaged(p, d, strings.TrimSuffix(string(file), "\n")); err != nil {
				return fmt.Errorf("package %s: %w", d.name, err)
			}
		}
	}
	return nil
}

// packaged writes a file of a package.
func (a *Archive) packaged(p *Packages, d debianPackage, file string) error {
	skip := slices.ContainsFunc(unread, func(prefix string) bool { return strings.HasPrefix(file, prefix) })
	if skip || !filepath.IsAbs(file) || (p.Keep != nil && !p.Keep(d.itself[0], file)) {
		return nil
	}
	info, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // diverted, or left out when the package was installed
	}
	if err != nil || info.IsDir() {
		return err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(file))
	if err != nil {
		return err
	}
	base := filepath.Base(file)
	if err := a.copy(filepath.Join(dir, base), file, fs.FileInfoToDirEntry(info)); err != nil {
		return err
	}
	source, is := strings.CutSuffix(base, ".py")
	if !is {
		return nil
	}
	// Debian compiles when it installs; an image cannot, and would at every start.
	compiled, err := filepath.Glob(filepath.Join(dir, "__pycache__", source+".cpython-*.pyc"))
	if err != nil {
		return err
	}
	for _, c := range compiled {
		if err := a.File(c, c); err != nil {
			return err
		}
	}
	return nil
}
