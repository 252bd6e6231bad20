package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lanyard-id/lanyard/internal/server"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lanyard": main})
}

// TestScript runs testdata/script/*.txtar: the command as a user has it, its
// daemons as processes of their own.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_DATA_HOME", filepath.Join(e.WorkDir, "xdg"))
			e.Values[kubernetesKey{}] = &kubernetesAPI{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"account":     account,
			"certificate": certificate,
			"eventually":  eventually,
			"field":       field,
			"freeport":    freeport,
			"group":       group,
			"hold":        hold,
			"keyfile":     keyfile,
			"kubernetes":  kubernetes,
			"listening":   listening,
			"mode":        mode,
			"objects":     objects,
			"readonly":    readonly,
			"ready":       ready,
			"term":        term,
		},
		RequireExplicitExec: true,
	})
}

// ready ENVFILE waits until the cloud of an environment file says that it is
// ready.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready ENVFILE")
	}
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		env, err := server.LoadEnvironment(ts.MkAbs(args[0]))
		if err == nil && answersReady(env) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("the cloud of %s is not ready: %v", args[0], err)
		}
	}
}

func answersReady(env server.Environment) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := env.Client()
	if err != nil {
		return false
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+env.Domain+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// field FILE NAME... sets, for each dotted name in a JSON file, the variable of
// that name, with underscores in the place of dots.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: field FILE NAME...")
	}
	for _, name := range args[1:] {
		var v any
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
		for part := range strings.SplitSeq(name, ".") {
			m, ok := v.(map[string]any)
			if !ok {
				ts.Fatalf("%s has no field %s", args[0], name)
			}
			v = m[part]
		}
		s, ok := v.(string)
		if !ok || s == "" {
			ts.Fatalf("%s: field %s is %v, not text", args[0], name, v)
		}
		ts.Setenv(strings.ReplaceAll(name, ".", "_"), s)
	}
}

// hold ADDRESS listens there until the script ends, so that nobody else can.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold ADDRESS")
	}
	l, err := net.Listen("tcp", args[0])
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv("HELD", l.Addr().String())
}

// term sends SIGTERM to every command in the background, as service managers do.
func term(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: term")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

// mode PERM FILE... checks files' permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode PERM FILE...")
	}
	for _, file := range args[1:] {
		fi, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := fi.Mode().Perm().String(); got != args[0] {
			ts.Fatalf("%s has mode %s, not %s", file, got, args[0])
		}
	}
}

// TestCloudClientTrustsItsAuthorityAlone: another server that sits on the
// cloud's address gets no secret.
func TestCloudClientTrustsItsAuthorityAlone(t *testing.T) {
	dir := t.TempDir()
	s, err := server.New(t.Context(), server.UpDefaults(dir))
	if err != nil {
		t.Fatal(err)
	}
	env := s.Env()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := server.New(t.Context(), server.UpDefaults(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- other.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	env.Listen = other.Addr()
	_, err = getToken(t.Context(), env, tokenRequest{tenant: env.TenantID, clientID: "c", secret: "hush", scope: "x/.default"})
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a token of another cloud: %v; want a refused certificate", err)
	}
}
