// Command build makes what the cluster under test is made of, from the Go module
// proxy: etcd, Kubernetes, containerd, runc, the CNI plugins, CoreDNS, and what
// this repository has of its own for it. It runs in kube/, and writes to the
// directory that it is given.
//
// What was built from the same sources and versions, by the same Go, is left.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: build DIRECTORY")
		os.Exit(2)
	}
	if err := build(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "kube:", err)
		os.Exit(1)
	}
}

func build(directory string) error {
	directory, err := filepath.Abs(directory)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(directory, "cni"), 0o755); err != nil {
		return err
	}
	toolchain, err := output(".", "go", "env", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return err
	}
	done, err := readStamps(directory)
	if err != nil {
		return err
	}
	begin, built := time.Now(), 0
	for _, p := range programs() {
		version, err := p.resolve()
		if err != nil {
			return err
		}
		stamp, err := p.stamp(toolchain, version)
		if err != nil {
			return err
		}
		if done[p.name] == stamp && p.exists(directory) {
			continue
		}
		if p.cgo {
			if err := needC(); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		fmt.Printf("kube: building %s %s\n", p.name, version)
		start := time.Now()
		if err := p.build(directory, version); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		built++
		done[p.name] = stamp
		if err := writeStamps(directory, done); err != nil {
			return err
		}
		fmt.Printf("kube: built %s in %s\n", p.name, time.Since(start).Round(time.Second))
	}
	if built > 0 {
		fmt.Printf("kube: %d programs built in %s\n", built, time.Since(begin).Round(time.Second))
	}
	return nil
}

// needC says what a machine lacks for the one program that is not Go alone: runc,
// whose filter of system calls is libseccomp's.
func needC() error {
	var missing []string
	if _, err := exec.LookPath("gcc"); err != nil {
		missing = append(missing, "gcc", "libc6-dev")
	}
	if _, err := exec.LookPath("pkg-config"); err != nil {
		missing = append(missing, "pkg-config")
	} else if exec.Command("pkg-config", "--exists", "libseccomp").Run() != nil {
		missing = append(missing, "libseccomp-dev")
	}
	if len(missing) > 0 {
		return errors.New("this machine lacks what it is built with: apt-get install " + strings.Join(missing, " "))
	}
	return nil
}

func output(directory, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var complaints bytes.Buffer
	cmd.Dir, cmd.Stderr = directory, &complaints
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, complaints.String())
	}
	return strings.TrimSpace(string(out)), nil
}
