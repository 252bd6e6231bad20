package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// shared are the sysctls of the whole machine beneath that kubelet sets when they
// differ from what it wants. A file that already says so lies over each, so that
// nothing outside the namespaces changes.
var shared = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// networking are sysctls of the machine's own network namespace: it routes, pods
// that share a bridge are seen by nftables, a redirect to 127.0.0.1 arrives (what
// the metadata service's interceptors rest on), and no host is told of shorter ways.
var networking = map[string]string{
	"net/ipv4/ip_forward":                  "1",
	"net/ipv4/conf/all/route_localnet":     "1",
	"net/ipv4/conf/all/send_redirects":     "0",
	"net/ipv4/conf/default/send_redirects": "0",
	"net/bridge/bridge-nf-call-iptables":   "1",
}

// own are the directories that a machine has its own of: it sees what is there,
// and what it writes stays with it. Container runtimes and kubelets write to all
// of them, whatever they are told.
var own = []string{"etc", "opt", "var"}

// initialize is the first process of a machine, in new mount, network, pid and
// UTS namespaces: it makes them look like a machine's, says "ready", and reaps
// what others left behind until its standard input ends.
//
// files is where what it writes to its own directories is kept; files/etc, for
// one, may hold files for its /etc already.
func initialize(name, files string) error {
	if os.Getpid() != 1 {
		return errors.New("init must be the first process of a pid namespace")
	}
	dead := make(chan os.Signal, 16)
	signal.Notify(dead, unix.SIGCHLD)
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("host name %s: %w", name, err)
	}
	if err := mounts(files); err != nil {
		return err
	}
	for key, value := range networking {
		err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644)
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(key, "net/bridge/")) {
			return fmt.Errorf("sysctl: %w", err)
		}
	}
	fmt.Println("ready")
	end := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		end <- err
	}()
	for {
		select {
		case err := <-end:
			return err // and with the first process all others end
		case <-dead:
			for pid := 1; pid > 0; {
				pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil)
			}
		}
	}
}

// mounts gives the machine its own /proc, /run and names. What is mounted here
// is seen nowhere else; what is mounted in a container is seen here, as kubelet
// wants it.
func mounts(files string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("mounts that containers share: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("/run: %w", err)
	}
	for _, dir := range []string{"/run/lock", "/run/netns", "/run/sysctl"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for key, value := range shared {
		cover := filepath.Join("/run/sysctl", strings.ReplaceAll(key, "/", "."))
		if err := os.WriteFile(cover, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		err := unix.Mount(cover, filepath.Join("/proc/sys", key), "", unix.MS_BIND, "")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("a cover for the sysctl %s: %w", key, err)
		}
	}
	for _, dir := range own {
		if err := layer(dir, files); err != nil {
			return err
		}
	}
	return nil
}

// layer has a directory written to in files, where upper may hold some already.
func layer(dir, files string) error {
	upper, work := filepath.Join(files, dir), filepath.Join(files, "work", dir)
	for _, made := range []string{upper, work} {
		if err := os.MkdirAll(made, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=/%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", "/"+dir, "overlay", 0, options); err != nil {
		return fmt.Errorf("an overlay over /%s, written to in %s: %w", dir, upper, err)
	}
	return nil
}
