package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/command"
)

// TestWebhookStartsAndStops: the role without its cluster: alive, not ready, and
// gone in order when it is asked to.
func TestWebhookStartsAndStops(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	const nowhere = `{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:1"}}],
		"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{}}]}`
	if err := os.WriteFile(kubeconfig, []byte(nowhere), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	t.Setenv("AZURE_TENANT_ID", "2f0b4a5e-1d5d-4f3a-9f59-0a8f6c2b7e22")
	ctx, stop := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	exit := make(chan int, 1)
	go func() {
		exit <- run(ctx, stdout, "webhook", "--webhook-addr", "127.0.0.1:0", "--health-addr", "127.0.0.1:0", "--metrics-addr", "0")
		stdout.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(line) // webhook URL health ADDRESS metrics ADDRESS
	if len(fields) != 6 || !strings.HasSuffix(fields[1], "/mutate-v1-pod") || fields[5] != "none" {
		t.Fatalf("%q", line)
	}
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		resp, err := http.Get("http://" + fields[3] + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if code := <-exit; code != command.ExitOK {
		t.Errorf("exit code %d", code)
	}
}
