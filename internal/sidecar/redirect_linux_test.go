package sidecar

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// askMetadata makes the test binary a client: it prints what answers at an
// address, as the user that it was started as.
const askMetadata = "LANYARD_TEST_ASK"

func TestMain(m *testing.M) {
	if address := os.Getenv(askMetadata); address != "" {
		client := &http.Client{Timeout: 10 * time.Second}
		response, err := client.Get("http://" + address)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		body, err := io.ReadAll(response.Body)
		fmt.Print(string(body), err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inNamespace runs f in a network namespace of its own, in which the loopback
// device is up and has the metadata service's address too: so there is somebody
// to be kept from. The thread is not used again.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have root, for a network namespace")
		}
		t.Skip("NOT TESTED: a network namespace takes root")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = errorsOf(address("lo", "127.0.0.1"), address("lo:1", "169.254.169.254"))
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func errorsOf(errs ...error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

// address gives a device an address and brings it up.
func address(device, ip string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	if err := request.SetInet4Addr(net.ParseIP(ip).To4()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request); err != nil {
		return fmt.Errorf("SIOCSIFADDR %s: %w", device, err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("SIOCSIFFLAGS %s: %w", device, err)
	}
	return nil
}

// answering answers every request on an address with a word.
func answering(t *testing.T, address, word string) {
	t.Helper()
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Error(err)
		return
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, word) })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

// ask says what a user gets at an address.
func ask(t *testing.T, uid uint32, address string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Error(err)
		return ""
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3")
	binary, err := os.Open(self) // the user may not reach the file by its path
	if err != nil {
		t.Error(err)
		return ""
	}
	defer binary.Close()
	cmd.ExtraFiles, cmd.Env = []*os.File{binary}, []string{askMetadata + "=" + address}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprint(err, " ", string(out))
	}
	return strings.TrimSuffix(string(out), "<nil>")
}

func TestRedirect(t *testing.T) {
	inNamespace(t, func() {
		answering(t, "169.254.169.254:80", "the node's")
		answering(t, "169.254.169.254:8080", "another port")
		answering(t, "127.0.0.1:80", "another address")
		answering(t, "127.0.0.1:8000", "the proxy")
		answering(t, "127.0.0.1:8001", "the proxy elsewhere")
		if got := ask(t, 1000, "169.254.169.254:80"); got != "the node's" {
			t.Errorf("before the redirect: %q", got)
		}
		// Someone else's table, which must stay as it is.
		conn, err := nftables.New()
		if err != nil {
			t.Error(err)
			return
		}
		conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "others"})
		if err := conn.Flush(); err != nil {
			t.Errorf("nf_tables: %v", err)
			return
		}
		metadata := netip.MustParseAddrPort("169.254.169.254:80")
		for _, step := range []struct {
			redirect Redirect
			proxy    string
		}{
			{Redirect{metadata, 8000, 1501}, "the proxy"},
			{Redirect{metadata, 8000, 1501}, "the proxy"},
			{Redirect{metadata, 8001, 1501}, "the proxy elsewhere"},
		} {
			if err := step.redirect.Install(); err != nil {
				t.Error(err)
				return
			}
			for _, c := range []struct {
				uid           uint32
				address, want string
			}{
				{1000, "169.254.169.254:80", step.proxy}, {0, "169.254.169.254:80", step.proxy}, {65534, "169.254.169.254:80", step.proxy},
				{1501, "169.254.169.254:80", "the node's"},
				{1000, "169.254.169.254:8080", "another port"}, {1000, "127.0.0.1:80", "another address"},
			} {
				if got := ask(t, c.uid, c.address); got != c.want {
					t.Errorf("%+v: user %d at %s got %q, want %q", step.redirect, c.uid, c.address, got, c.want)
				}
			}
		}
		tables, err := conn.ListTables()
		if err != nil {
			t.Error(err)
		}
		var names []string
		for _, table := range tables {
			names = append(names, table.Name)
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{tableName, "others"}) {
			t.Errorf("tables %v", names)
		}
		table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
		rules, err := conn.GetRules(table, &nftables.Chain{Table: table, Name: "output"})
		if err != nil || len(rules) != 2 {
			t.Errorf("%d rules, %v", len(rules), err)
		}
	})
}

// TestRedirectNeedsCapability: without NET_ADMIN there is no redirect, and the
// error says what is missing.
func TestRedirectNeedsCapability(t *testing.T) {
	inNamespace(t, func() {
		// The thread's capabilities alone: it is not used again.
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Error(err)
			return
		}
		err := Redirect{netip.MustParseAddrPort("169.254.169.254:80"), 8000, 1501}.Install()
		if err == nil || !strings.Contains(err.Error(), "NET_ADMIN is missing") {
			t.Errorf("got %v", err)
		}
	})
}
