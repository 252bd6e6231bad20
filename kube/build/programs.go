package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is one file that is built.
type program struct {
	name   string   // the file; its directory, too, where it has one
	module string   // the directory of the module that holds its versions
	pkg    string   // the package
	from   string   // the module whose version is the program's; none for our own
	tags   string   // build tags
	cgo    bool     // with libseccomp, linked statically
	links  []string // the other names by which it is called
	// linked are the variables that hold the version: of v1.36.3, {version} is all,
	// {bare} what follows the v, {major} 1 and {minor} 36.
	linked []string
}

// programs are all that the cluster consists of, the long builds first.
func programs() []program {
	const containerdTags = "no_btrfs no_zfs no_devmapper no_tracing urfave_cli_no_docs netgo osusergo static_build"
	containerdVersion := []string{"github.com/containerd/containerd/v2/version.Version={version}"}
	plugin := func(name, path string) program {
		return program{name: "cni/" + name, module: "node", pkg: "github.com/containernetworking/plugins/plugins/" + path,
			from: "github.com/containernetworking/plugins"}
	}
	return []program{
		{
			name: "kubernetes", module: "kubernetes", pkg: ".", from: "k8s.io/kubernetes",
			links: []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"},
			linked: []string{
				"k8s.io/component-base/version.gitVersion={version}", "k8s.io/client-go/pkg/version.gitVersion={version}",
				"k8s.io/component-base/version.gitMajor={major}", "k8s.io/component-base/version.gitMinor={minor}",
				"k8s.io/component-base/version.gitTreeState=clean",
			},
		},
		{name: "containerd", module: "node", pkg: "./containerd", from: "github.com/containerd/containerd/v2",
			tags: containerdTags, links: []string{"ctr"}, linked: containerdVersion},
		// A program of its own: its plugins would register with containerd's.
		{name: "containerd-shim-runc-v2", module: "node", pkg: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			from: "github.com/containerd/containerd/v2", tags: containerdTags, linked: containerdVersion},
		{name: "runc", module: "node", pkg: "github.com/opencontainers/runc", from: "github.com/opencontainers/runc",
			tags: "seccomp urfave_cli_no_docs netgo osusergo", cgo: true, linked: []string{"main.version={bare}"}},
		plugin("bridge", "main/bridge"),
		plugin("host-local", "ipam/host-local"),
		plugin("portmap", "meta/portmap"),
		{name: "coredns", module: "dns", pkg: ".", from: "github.com/coredns/coredns"},
		{name: "pause", module: "node", pkg: "./pause"},
		{name: "machine", module: "node", pkg: "./machine"},
	}
}

// resolve is the version that the module's go.mod names; none for our own.
func (p program) resolve() (string, error) {
	if p.from == "" {
		return "", nil
	}
	return output(p.module, "go", "list", "-mod=readonly", "-m", "-f", "{{.Version}}", p.from)
}

// exists says whether the file and its other names are there.
func (p program) exists(directory string) bool {
	for _, name := range append([]string{p.name}, p.links...) {
		if _, err := os.Stat(filepath.Join(directory, name)); err != nil {
			return false
		}
	}
	return true
}

func (p program) build(directory, version string) error {
	flags := []string{"-s", "-w"}
	bare := strings.TrimPrefix(version, "v")
	major, rest, _ := strings.Cut(bare, ".")
	minor, _, _ := strings.Cut(rest, ".")
	fill := strings.NewReplacer("{version}", version, "{bare}", bare, "{major}", major, "{minor}", minor)
	for _, variable := range p.linked {
		flags = append(flags, "-X", fill.Replace(variable))
	}
	cgo := "CGO_ENABLED=0"
	if p.cgo {
		cgo = "CGO_ENABLED=1"
		flags = append(flags, "-extldflags=-static")
	}
	target := filepath.Join(directory, p.name)
	cmd := exec.Command("go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-tags", p.tags,
		"-ldflags", strings.Join(flags, " "), "-o", target, p.pkg)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.module, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), cgo, "GOWORK=off")
	if err := cmd.Run(); err != nil {
		return err
	}
	for _, name := range p.links {
		link := filepath.Join(directory, name)
		if err := os.RemoveAll(link); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Base(p.name), link); err != nil {
			return err
		}
	}
	return nil
}
