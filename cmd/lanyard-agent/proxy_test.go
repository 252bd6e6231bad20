package main

import (
	"bufio"
	"context"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/command"
)

// TestProxyStartsAndStops: the role, its own probe, and the end in order.
func TestProxyStartsAndStops(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AZURE_TENANT_ID", "2f0b4a5e-1d5d-4f3a-9f59-0a8f6c2b7e22")
	t.Setenv("AZURE_AUTHORITY_HOST", "https://login.example/")
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
	ctx, stop := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	exit := make(chan int, 1)
	go func() {
		exit <- run(ctx, stdout, "proxy", "--proxy-port", "0")
		stdout.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(strings.TrimSpace(strings.TrimPrefix(line, "proxy ")))
	if err != nil || address.Hostname() != "127.0.0.1" {
		t.Fatalf("%q, %v", line, err)
	}
	if code := run(t.Context(), io.Discard, "proxy", "--probe", "--proxy-port", address.Port()); code != command.ExitOK {
		t.Errorf("the probe: exit code %d", code)
	}
	stop()
	if code := <-exit; code != command.ExitOK {
		t.Errorf("exit code %d", code)
	}
}
