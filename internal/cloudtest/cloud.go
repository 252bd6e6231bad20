package cloudtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// Config is what tests choose of a [Cloud].
type Config struct {
	// Azure names the cloud's endpoints. Default: lanyard.test, port 8443.
	Azure azure.Cloud
	// Service is the application ID of the service that is tested, for which
	// tokens are: one of azure.ServiceResourceManager and the others. Empty where
	// a test makes its tokens otherwise.
	Service string
	// Strict opens the directory and the guard in strict mode.
	Strict bool
	// Start is when the clock begins. Default: [standin.Start].
	Start time.Time
}

// Cloud is the parts that planes share, over a store of the test's own. It is
// safe for concurrent use, but for Open and Close.
type Cloud struct {
	// TB is the test to which failures are told.
	TB     testing.TB
	Azure  azure.Cloud
	Clock  *standin.Clock
	Log    *standin.Log // what Logger has been told
	Logger *slog.Logger
	// Names are the identifiers that tests and golden files call by name.
	Names *Names

	Store     *store.Store
	Directory *directory.Directory
	Guard     *rbac.Guard
	Keys      *token.Keys
	Audit     *audit.Log

	cfg     Config
	dir     string
	people  *people
	running []run
}

// run is what [Cloud.Run] has started.
type run struct {
	stop  context.CancelFunc
	ended <-chan struct{}
}

// New opens a cloud in which nobody is. It is closed when the test ends.
func New(tb testing.TB, cfg Config) *Cloud {
	tb.Helper()
	if cfg.Azure.Domain == "" {
		cfg.Azure = azure.Cloud{Domain: "lanyard.test", Port: 8443}
	}
	if cfg.Start.IsZero() {
		cfg.Start = standin.Start
	}
	log := &standin.Log{}
	c := &Cloud{
		TB: tb, Azure: cfg.Azure, Clock: standin.NewClock(cfg.Start), Log: log, Names: &Names{},
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		cfg:    cfg, dir: tb.TempDir(), people: &people{},
	}
	tb.Cleanup(c.Close)
	c.Open()
	return c
}

// SealingKey is the key that seals the stores of tests.
func SealingKey() []byte { return bytes.Repeat([]byte{7}, 32) }

// Open opens the parts again after Close, on the same data, as a restart does.
func (c *Cloud) Open() {
	c.TB.Helper()
	// Not the test's context, which ends before its cleanups.
	ctx := context.Background()
	ring, err := store.NewKeyring(SealingKey())
	Must(c.TB, err)
	c.Store, err = store.Open(ctx, store.Config{Dir: filepath.Join(c.dir, "store"), Keyring: ring, Logger: c.Logger})
	Must(c.TB, err)
	var options []directory.Option
	if c.cfg.Strict {
		options = append(options, directory.WithStrict())
	}
	c.Directory, err = directory.Open(ctx, c.Store, c.Azure, c.Clock.Now, options...)
	Must(c.TB, err)
	c.Audit, err = audit.Open(audit.Config{Path: c.auditPath(), Now: c.Clock.Now, Logger: c.Logger})
	Must(c.TB, err)
	c.Guard, err = rbac.NewGuard(ctx, rbac.Config{
		Store: c.Store, Directory: c.Directory, Audit: c.Audit, Now: c.Clock.Now, Logger: c.Logger, Strict: c.cfg.Strict,
	})
	Must(c.TB, err)
	c.Keys, err = token.OpenKeys(ctx, c.Store, c.Clock.Now, c.Logger)
	Must(c.TB, err)
}

// Close stops what runs and closes what is open.
func (c *Cloud) Close() {
	c.TB.Helper()
	for _, r := range c.running {
		r.stop()
		<-r.ended
	}
	c.running = nil
	if c.Audit != nil {
		Must(c.TB, c.Audit.Close())
		c.Audit = nil
	}
	if c.Store != nil {
		Must(c.TB, c.Store.Close())
		c.Store = nil
	}
}

// Run runs f beside the test until stop is called, at the latest until the cloud
// closes. When f has returned, ended is closed; it must not fail, but for the end
// of the store.
func (c *Cloud) Run(f func(context.Context) error) (stop context.CancelFunc, ended <-chan struct{}) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && !errors.Is(err, store.ErrClosed) {
			c.TB.Error(err)
		}
	}()
	c.running = append(c.running, run{stop, done})
	return stop, done
}

// In gives the same cloud to a subtest or the run of a fuzz target, to which its
// failures are told. It is not for closing or running.
func (c *Cloud) In(tb testing.TB) *Cloud {
	tb.Helper()
	same := *c
	same.TB = tb
	return &same
}

// Must fails the test unless err is nil.
func Must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// Update runs a transaction that must succeed.
func (c *Cloud) Update(do func(tx *store.Tx) error) {
	c.TB.Helper()
	_, err := c.Store.Update(context.Background(), do)
	Must(c.TB, err)
}

// Entries gives all keys of the store under a prefix, and what they hold.
func (c *Cloud) Entries(prefix string) map[string]string {
	c.TB.Helper()
	page, err := c.Store.List(context.Background(), prefix, store.ListOptions{})
	Must(c.TB, err)
	entries := map[string]string{}
	for _, e := range page.Entries {
		entries[e.Key] = string(e.Value)
	}
	return entries
}

func (c *Cloud) auditPath() string { return filepath.Join(c.dir, "audit.jsonl") }

// AuditText gives the audit log as it is on disk.
func (c *Cloud) AuditText() string {
	c.TB.Helper()
	Must(c.TB, c.Audit.Flush())
	text, err := os.ReadFile(c.auditPath())
	Must(c.TB, err)
	return string(text)
}

// Records gives the records of the audit log, the oldest first.
func (c *Cloud) Records() []audit.Record {
	c.TB.Helper()
	var all []audit.Record
	for line := range strings.Lines(c.AuditText()) {
		var r audit.Record
		Must(c.TB, json.Unmarshal([]byte(line), &r))
		all = append(all, r)
	}
	return all
}

// Eventually waits until a condition holds, and fails with the log when it does
// not within a minute.
func (c *Cloud) Eventually(what string, condition func() bool) {
	c.TB.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			c.TB.Fatalf("waited in vain for %s; log:\n%s", what, c.Log)
		}
	}
}
